"""What two hosts of a run may say to each other, and what not."""

import dataclasses
import inspect
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lunar_perf.checked_fields import WireError
from lunar_perf.host_facts import HostFacts
from lunar_perf.outcome import Outcome
from lunar_perf.sequence import Tally
from lunar_perf.wire import (
    DEFAULT_PORT,
    LONGEST_LINE_BYTES,
    LONGEST_REASON,
    PROTOCOL,
    Beat,
    Done,
    Failed,
    Hello,
    Message,
    Order,
    Refused,
    Report,
    Started,
    Welcome,
    decode,
    encode,
    presentable,
)
from lunar_perf.work import Work

from lunar.cli.perf import serve

HOST = HostFacts("robot", "1.2.3", "Linux 6.18", "CPython 3.11.7")
WORK = Work(64, count=10, warmup=2, transport="zmq", message="Imu", loan=True, wait="spin", loop="uvloop")
STREAM = Work(
    8,
    transport="xdp",
    backend="udp",
    duration_s=0.5,
    subscribers=3,
    receive="burst",
    reliability="best_effort",
    depth=4,
    batch=16,
)


@pytest.mark.parametrize(
    "message",
    [
        Hello(PROTOCOL, HOST),
        Welcome(PROTOCOL, HOST, 7),
        Refused(PROTOCOL, HOST, "no"),
        Order("pong", WORK),
        Order("receive", STREAM),
        Started((1, 2), "shared"),
        Report(2, Outcome(1.5, 2.5, tally=Tally(6, 7, 8, 9, 10), lost_by_cause={"network": 3})),
        Failed("it broke"),
        Done(),
        Beat(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_is_said_is_understood(message: Message) -> None:
    line = encode(message)
    assert decode(line) == message
    assert line.count(b"\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n",
        b"[]\n",
        b'"hello"\n',
        b"\xff\xfe\n",
        b"[" * 9000 + b"\n",
        b'{"say": "hello"}\n',
        b'{"say": "import os"}\n',
        b'{"say": ["hello"]}\n',
        b'{"say": "hello", "protocol": 1, "host": "robot"}\n',
        b'{"say": "hello", "protocol": true, "host": {}}\n',
        b'{"say": "hello", "protocol": 1e0, "host": {}}\n',
        b'{"say": "hello", "protocol": NaN, "host": {}}\n',
        b'{"say": "failed", "reason": ' + b"9" * 5000 + b"}\n",
        b'{"say": "beat", "padding": "' + b"x" * LONGEST_LINE_BYTES + b'"}\n',
    ],
)
def test_what_is_not_a_message_is_refused(line: bytes) -> None:
    with pytest.raises(WireError):
        decode(line)


def altered(message: Message, **changes: object) -> bytes:
    """The line of a message with other values, one level down if they are a dictionary."""
    fields = json.loads(encode(message))
    for name, value in changes.items():
        fields[name] = {**fields[name], **value} if isinstance(value, dict) else value
    return json.dumps(fields).encode() + b"\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"role": "ping"},
        {"role": "../../bin/sh"},
        {"work": 5},
        {"work": {"size_bytes": 0}},
        {"work": {"size_bytes": 1 << 27}},
        {"work": {"size_bytes": True}},
        {"work": {"size_bytes": "64"}},
        {"work": {"size_bytes": None}},
        {"work": {"count": -1}},
        {"work": {"count": 0}},
        {"work": {"count": 10_000_001}},
        {"work": {"warmup": 1e3}},
        {"work": {"duration_s": 3601}},
        {"work": {"duration_s": -0.1}},
        {"work": {"batch": 0}},
        {"work": {"depth": 1 << 17}},
        {"work": {"subscribers": 2}},
        {"work": {"subscribers": 17}},
        {"work": {"loan": 1}},
        {"work": {"wait": "forever"}},
        {"work": {"backend": "/dev/sda"}},
        {"work": {"loop": "os.system"}},
        {"work": {"receive": ""}},
        {"work": {"reliability": "some"}},
        {"work": {"transport": "zmq; rm"}},
        {"work": {"transport": "x" * 33}},
        {"work": {"message": "/etc/passwd:State"}},
        {"work": {"message": "robot.fbs:State"}},
        {"work": {"message": "__class__"}},
        {"work": {"channel": "chatter"}},
        {"work": {"channel": "perf_0123456789ab/../x"}},
        {"work": {"channel": "perf_0123456789ab\n"}},
        {"work": {"address": "192.0.2.1"}},
        {"work": {"command": "x"}},
    ],
    ids=str,
)
def test_an_order_is_for_measuring_within_limits_and_nothing_else(changes: dict[str, object]) -> None:
    assert isinstance(decode(altered(Order("pong", WORK))), Order)
    with pytest.raises(WireError):
        decode(altered(Order("pong", WORK), **changes))


def test_a_stamped_message_has_room_for_its_number() -> None:
    with pytest.raises(WireError, match="at least 8"):
        decode(altered(Order("receive", STREAM), work={"size_bytes": 7}))


@pytest.mark.parametrize(
    "changes",
    [
        {"index": 16},
        {"index": -1},
        {"outcome": {"cpu_s": -1}},
        {"outcome": {"elapsed_s": "1"}},
        {"outcome": {"tally": {"next_sequence": 1}}},
        {"outcome": {"lost_by_cause": {"a b": 1}}},
        {"outcome": {"lost_by_cause": {f"c{number}": 1 for number in range(17)}}},
        {"outcome": {"lost_by_cause": {"network": -1}}},
        {"outcome": {"lost_by_cause": [1]}},
    ],
    ids=str,
)
def test_a_report_has_numbers_that_can_be(changes: dict[str, object]) -> None:
    with pytest.raises(WireError):
        decode(altered(Report(0, Outcome()), **changes))


def test_a_report_brings_no_round_trips() -> None:
    """They are measured where the ping is, and a server that sends some is not believed."""
    report = decode(altered(Report(0, Outcome()), outcome={"round_trips_ns": [1], "sent": 5, "transport": "magic"}))
    assert report == Report(0, Outcome())


def test_text_cannot_control_a_terminal() -> None:
    with pytest.raises(WireError, match="printable"):
        decode(altered(Failed("x"), reason="\x1b[2J"))
    with pytest.raises(WireError, match="printable"):
        decode(altered(Hello(PROTOCOL, HOST), host={"name": "a\nb"}))


@given(st.text(max_size=3000))
def test_any_reason_can_be_sent(text: str) -> None:
    reason = presentable(text)
    assert len(reason) <= LONGEST_REASON
    assert decode(encode(Failed(reason))) == Failed(reason)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(line: bytes) -> None:
    with suppress(WireError):
        decode(line)


_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.sampled_from(["hello", "welcome", "refused", "order", "started", "report", "failed", "done", "beat"]),
    st.dictionaries(st.sampled_from(["protocol", "host", "work", "role", "reason", "index", "outcome"]), _ANY_JSON),
)
def test_any_fields_are_a_message_or_refused(say: str, fields: dict[str, object]) -> None:
    with suppress(WireError):
        decode(json.dumps({**fields, "say": say}).encode())


def test_every_field_of_the_work_is_sent_and_checked() -> None:
    fields = json.loads(encode(Order("pong", WORK)))["work"]
    assert set(fields) == {field.name for field in dataclasses.fields(Work)}
    for name in fields:
        less = {key: value for key, value in fields.items() if key != name}
        with pytest.raises(WireError, match=f"no {name}"):
            decode(json.dumps({"say": "order", "role": "pong", "work": less}).encode())


def test_the_command_line_has_the_usual_port() -> None:
    assert inspect.signature(serve).parameters["port"].default == DEFAULT_PORT
