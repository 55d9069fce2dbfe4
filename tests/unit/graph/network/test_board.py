"""What other hosts have posted: taken in whatever its order, and refused where it is nonsense."""

import json
import random
import time
from collections import deque
from collections.abc import Callable

import pytest

from lunar import __version__
from lunar.abc import Capabilities, Discovery, News
from lunar.graph.descriptions import EndpointInfo, NodeInfo
from lunar.graph.matchmaker import Matchmaker
from lunar.graph.network.board import Board
from lunar.graph.network.remote import RemoteProcess
from lunar.graph.routes import Route
from lunar.graph.schemas import OwnSchemas
from lunar.graph.transports import TransportInfo
from lunar.qos import QoS

OURS, HERE = "0a" * 16, "0b" * 16
THEIRS, THERE = "1a" * 16, "1b" * 16

ZMQ = TransportInfo("zmq", Capabilities(reach="network", reliable=True))


class Script(Discovery):
    """News as a test says."""

    def __init__(self) -> None:
        self.news: deque[News] = deque()
        self.posted: dict[bytes, dict[str, object]] = {}

    def post(self, key: bytes, body: bytes) -> None:
        self.posted[key] = json.loads(body)

    def withdraw(self, key: bytes) -> None:
        self.posted.pop(key, None)

    def fileno(self) -> int:
        return -1

    def take(self) -> list[News]:
        taken = list(self.news)
        self.news.clear()
        return taken

    def close(self) -> None:
        self.posted.clear()

    def close_after_fork(self) -> None:
        """Nothing is open."""


class Surroundings:
    """A board, and what it was heard to say."""

    def __init__(self) -> None:
        self.gone: list[RemoteProcess] = []
        self.faults: list[str] = []
        self.refusals: list[str] = []
        self.changed: list[RemoteProcess] = []
        self.script = Script()
        self.schemas = OwnSchemas()
        self.later: list[Callable[[], object]] = []
        self.matchmaker = Matchmaker(self._links, lambda: None, lambda _s, _f: None)
        self.board = Board(
            self.script,
            {"id": OURS, "host": "here", "host_key": HERE, "pid": 1, "uid": 1, "transports": [], "addresses": {}},
            self.matchmaker,
            self.schemas,
            lambda _delay_s, function: self.later.append(function),
            self.gone.append,
            lambda _name, reason: self.faults.append(reason),
            lambda _process, _by, _of, reason: self.refusals.append(reason),
            self.changed.append,
        )

    def _links(self) -> list[RemoteProcess]:
        return list(self.board.processes.values())

    def hear(self, key: bytes, record: object, source: int = 1) -> None:
        body = record if isinstance(record, bytes) else json.dumps(record).encode()
        self.script.news.append(News(source, key, body))
        self.board.serve()

    def lose(self, key: bytes, source: int = 1) -> None:
        self.script.news.append(News(source, key, None))
        self.board.serve()

    @property
    def endpoints(self) -> list[EndpointInfo]:
        return [each for process in self.board.processes.values() for each in process.endpoints.values()]


@pytest.fixture
def around() -> Surroundings:
    return Surroundings()


def process(**changes: object) -> dict[str, object]:
    record = {"kind": "process", "id": THEIRS, "host": "there", "host_key": THERE, "pid": 7, "uid": 3}
    return {**record, "transports": [ZMQ.to_dict()], "addresses": {"zmq": {"port": 1}}, **changes}


def endpoint(number: int = 2) -> dict[str, object]:
    info = EndpointInfo(f"{number:02x}" * 16, "publisher", "/t", "bytes", "ab" * 16, QoS(), "/n", 7)
    return {"kind": "endpoint", "endpoint": info.to_dict()}


def test_a_process_and_what_it_has_become_known(around: Surroundings) -> None:
    around.hear(b"p", process())
    around.hear(b"n", {"kind": "node", "node": NodeInfo("n", "/", 7, 3).to_dict()})
    around.hear(b"e", endpoint())
    [known] = around.board.processes.values()
    assert (known.id, known.host, known.addresses) == (THEIRS, "there", {"zmq": {"port": 1}})
    assert [(node.full_name, node.host) for node in known.nodes.values()] == [("/n", "there")]
    assert [(each.topic, each.host, each.pid) for each in around.endpoints] == [("/t", "there", 7)]


def test_what_comes_before_its_process_waits_for_it(around: Surroundings) -> None:
    around.hear(b"e", endpoint())
    assert not around.board.processes
    around.hear(b"p", process())
    assert len(around.endpoints) == 1


def test_what_is_withdrawn_is_gone(around: Surroundings) -> None:
    around.hear(b"p", process())
    around.hear(b"e", endpoint(2))
    around.hear(b"f", endpoint(3))
    around.lose(b"e")
    assert [each.id for each in around.endpoints] == ["03" * 16]
    around.lose(b"p")
    assert not around.board.processes
    assert [each.id for each in around.gone] == [THEIRS]


def test_a_lost_process_may_come_again(around: Surroundings) -> None:
    for _ in range(3):
        around.hear(b"p", process())
        around.hear(b"e", endpoint())
        assert len(around.endpoints) == 1
        around.lose(b"")
        assert not around.board.processes
    assert len(around.gone) == 3
    assert not around.faults


def test_processes_of_this_host_are_left_to_their_links(around: Surroundings) -> None:
    around.hear(b"p", process(host_key=HERE))
    around.hear(b"e", endpoint())
    around.hear(b"q", process(id=OURS), source=2)
    assert not around.board.processes
    assert not around.faults


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\xff",
        b'{"kind":"process"}' + b" " * (1 << 20),
        {"kind": "process"},
        {"kind": ["process"]},
        {"kind": {}},
        {},
        process(id="x"),
        process(pid=-1),
        process(host="\x1b[31m"),
        process(version="\x1b[31m"),
        process(version=1),
        process(host_key=None),
        process(transports={}),
        process(addresses={}),
        process(addresses={"zmq": 1}),
        process(addresses={str(number): {} for number in range(17)}),
    ],
)
def test_who_posts_nonsense_is_left_alone(around: Surroundings, record: object) -> None:
    around.hear(b"p", record)
    assert len(around.faults) == 1
    around.hear(b"p", process())
    assert not around.board.processes
    around.hear(b"p", process(), source=2)
    assert len(around.board.processes) == 1


@pytest.mark.parametrize(
    "record",
    [
        {"kind": "node", "node": 1},
        {"kind": "endpoint", "endpoint": {}},
        {"kind": "endpoint"},
        {"kind": "schema", "hash": 1},
        {"kind": "refusal"},
        {"kind": "sign"},
        {"kind": "sign", "publisher": "1" * 32, "age_ns": -1},
        {"kind": []},
        {"kind": "want"},
        {"kind": "want", "process": OURS, "hash": "AB" * 16},
        {"kind": "want", "process": 1, "hash": "ab" * 16},
        {"kind": "unreachable"},
        {"kind": "unreachable", "process": OURS, "transport": "zmq", "reason": "x", "out_for_ms": -1},
        {"kind": "unreachable", "process": OURS, "transport": "../zmq", "reason": "x", "out_for_ms": 1},
        {"kind": "unreachable", "process": OURS, "transport": "zmq", "reason": "\x1b", "out_for_ms": 1},
        process(transports=1),
        process(id="2a" * 16),
        process(host_key="2b" * 16),
    ],
)
def test_who_posts_nonsense_later_is_gone(around: Surroundings, record: object) -> None:
    around.hear(b"p", process())
    around.hear(b"e", endpoint())
    around.hear(b"x", record)
    assert len(around.faults) == 1
    assert not around.board.processes
    assert [each.id for each in around.gone] == [THEIRS]


def test_a_process_may_have_other_transports_than_before(around: Surroundings) -> None:
    around.hear(b"p", process())
    around.hear(b"n", {"kind": "node", "node": NodeInfo("n", "/", 7, 3).to_dict()})
    around.hear(b"e", endpoint())
    around.hear(b"p", process())
    assert around.changed == []
    failed = TransportInfo("zmq", ZMQ.capabilities, "it has failed")
    around.hear(b"p", process(transports=[failed.to_dict()], addresses={}))
    [known] = around.board.processes.values()
    assert around.changed == [known]
    assert (known.transports, known.addresses, known.renewed) == ((failed,), {}, set())
    assert known.nodes["/n"].transports == (failed,)
    assert len(around.endpoints) == 1
    around.hear(b"p", process(addresses={"zmq": {"port": 2}}))
    assert around.changed == [known, known]
    assert (known.addresses, known.renewed) == ({"zmq": {"port": 2}}, {"zmq"})
    known.renewed.clear()
    around.hear(b"p", process(addresses={"zmq": {"port": 3}}))
    assert known.renewed == {"zmq"}


def test_a_process_may_say_that_it_does_not_reach_us(around: Surroundings) -> None:
    cut = {"kind": "unreachable", "process": OURS, "transport": "zmq", "reason": "the cable is out", "out_for_ms": 1500}
    around.hear(b"u", cut)
    around.hear(b"p", process())
    [known] = around.board.processes.values()
    assert known.unreachable == {"zmq": "the cable is out"}
    assert 1.5 <= time.monotonic() - known.out_since_s["zmq"] < 60
    around.hear(b"v", {**cut, "process": "3a" * 16, "transport": "dds"})
    assert known.unreachable == {"zmq": "the cable is out"}
    assert around.changed == [known]
    around.lose(b"v")
    around.lose(b"u")
    assert (known.unreachable, known.out_since_s) == ({}, {})
    assert around.changed == [known, known]


def want(number: int) -> dict[str, object]:
    return {"kind": "want", "process": OURS, "hash": f"{number:032x}"}


def test_a_type_is_posted_when_somebody_wants_it_and_stays(around: Surroundings) -> None:
    around.schemas.add(None, f"{7:032x}")
    around.hear(b"w", want(7))  # asked before it is known who asks
    assert not around.script.posted
    around.hear(b"p", process())
    assert list(around.script.posted.values()) == [{"kind": "schema", "hash": f"{7:032x}", "text": ""}]
    around.hear(b"w", want(7))
    around.lose(b"w")
    around.lose(b"p")
    assert len(around.script.posted) == 1


@pytest.mark.hostile
def test_wants_are_counted_and_those_taken_back_are_not(around: Surroundings) -> None:
    around.hear(b"p", process())
    for number in range(5000):
        around.hear(b"%d" % (number % 2000), want(number))
        if number % 2000 >= 1000:
            around.lose(b"%d" % (number % 2000))
    [known] = around.board.processes.values()
    assert known.wants == 1000
    for number in range(10_000, 11_049):
        around.hear(b"%d" % number, want(number))
    assert around.faults == ["it asks for more than 2048 schemas at a time"]
    assert not around.board.processes


def test_a_node_may_be_posted_again(around: Surroundings) -> None:
    route = Route("02" * 16, "03" * 16, "dds", {"zmq": "the cable is out"}, "zmq", "the cable is out", 0.5, 1)
    around.hear(b"p", process())
    for node in (NodeInfo("n", "/", 7, 3), NodeInfo("n", "/", 7, 3, routes=(route,))):
        around.hear(b"n", {"kind": "node", "node": node.to_dict()})
    [known] = around.board.processes.values()
    assert [node.routes for node in known.nodes.values()] == [(route,)]


def test_what_we_say_of_ourselves_can_be_changed(around: Surroundings) -> None:
    around.board.introduce()
    around.board.introduce_again({"transports": [ZMQ.to_dict()]})
    [told] = around.script.posted.values()
    assert (told["kind"], told["id"], told["transports"]) == ("process", OURS, [ZMQ.to_dict()])
    around.board.post_unreachable(THEIRS, "zmq", "the cable\nis out", 1.5)
    assert around.script.posted[list(around.script.posted)[1]]["reason"] == "the cable is out"
    around.board.post_unreachable(THEIRS, "zmq", "", 0.0)
    assert len(around.script.posted) == 1


def test_an_endpoint_is_announced_once(around: Surroundings) -> None:
    around.hear(b"p", process())
    around.hear(b"e", endpoint())
    around.hear(b"e", endpoint())  # posted again: nothing new
    assert not around.faults
    around.hear(b"f", endpoint())
    assert around.faults == ["it announces an endpoint twice"]


def test_news_that_a_newer_version_may_post_are_skipped(around: Surroundings) -> None:
    around.hear(b"p", process(more=1))
    around.hear(b"x", {"kind": "something new"})
    assert len(around.board.processes) == 1
    assert not around.faults


def test_what_breaks_us_does_not_keep_others_waiting(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> None:
        raise RuntimeError("a mistake of ours")

    around.hear(b"p", process())
    with monkeypatch.context() as patched:
        patched.setattr(around.matchmaker, "remote_added", broken)
        around.script.news.append(News(1, b"e", json.dumps(endpoint()).encode()))
        around.hear(b"p", process(id="2a" * 16), source=2)
    assert [each.id for each in around.board.processes.values()] == ["2a" * 16]
    assert "a mistake of ours" in around.faults[0]


@pytest.mark.parametrize("number", [0, 2, -1, True, None, "1", [1], 10**400, 1.5])
def test_a_format_that_is_not_ours_is_refused_with_both_versions(around: Surroundings, number: object) -> None:
    around.hear(b"p", {**process(format=number), "version": "9.1", "id": "in another way"})
    [reason] = around.faults
    assert "Lunar 9.1 on there" in reason
    assert f"Lunar {__version__}" in reason
    around.hear(b"e", endpoint())
    assert not around.board.processes
    assert not around.endpoints


def test_another_version_with_our_format_is_welcome(around: Surroundings) -> None:
    around.hear(b"p", process(format=1, version="9.1", news={"of": ["a", "newer", "version"]}))
    assert [each.version for each in around.board.processes.values()] == ["9.1"]
    assert not around.faults


@pytest.mark.hostile
def test_random_records_harm_nobody(around: Surroundings) -> None:
    chance = random.Random(3)
    around.hear(b"p", process())
    around.hear(b"e", endpoint())
    good = [json.dumps(each).encode() for each in (process(id="2a" * 16, host_key="2b" * 16), endpoint(9))]
    for number in range(2000):
        spoilt = bytearray(chance.choice(good))
        for _ in range(chance.randrange(4)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        around.hear(
            bytes([chance.randrange(4)]), bytes(spoilt[: chance.randrange(len(spoilt)) or None]), source=2 + number
        )
    assert [each.id for each in around.board.processes[1].endpoints.values()] == ["02" * 16]


def test_what_is_posted_can_be_read_back(around: Surroundings) -> None:
    around.board.introduce()
    around.board.post_node(NodeInfo("n", "/", 7, 3))
    info = EndpointInfo.from_dict(endpoint()["endpoint"])
    around.board.post_endpoint(info)
    posted = list(around.script.posted.values())
    assert [record["kind"] for record in posted] == ["process", "node", "endpoint"]
    other = Surroundings()
    other.board._record = {**other.board._record, "id": THEIRS, "host_key": THERE}  # elsewhere
    for key, record in around.script.posted.items():
        other.hear(key, record)
    assert [each.id for each in other.endpoints] == [info.id]
    around.board.withdraw_endpoint(info.id)
    around.board.withdraw_node("/n")
    assert [record["kind"] for record in around.script.posted.values()] == ["process"]
