import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar.abc import Capabilities
from lunar.errors import PeerFault
from lunar.graph.transports import HOST_ONLY, TransportInfo, as_announced, read_transports

ZMQ = TransportInfo("zmq", Capabilities("network", reliable=True, encrypted=True, largest_message_bytes=2**32 - 1))
DDS = TransportInfo("dds", None, "cyclonedds is not installed")
UNPLUGGED = TransportInfo("xdp", Capabilities("network", kernel_bypass=True), "no cable")
CAN = {"reach": "network", "reliable": True}
BAD: list[object] = [
    [],
    {},
    {"reach": "moon"},
    {"reach": ["host"]},
    CAN | {"reliable": 1},
    CAN | {"kernel_bypass": None},
    CAN | {"largest_message_bytes": -1},
    CAN | {"largest_message_bytes": 2**63},
    CAN | {"largest_message_bytes": True},
    CAN | {"largest_message_bytes": 1.0},
]


@pytest.mark.parametrize("info", [*HOST_ONLY, ZMQ, DDS, UNPLUGGED, replace(ZMQ, remark="slow, since x")])
def test_the_wire_form_reads_back(info: TransportInfo) -> None:
    assert TransportInfo.from_dict(json.loads(json.dumps(info.to_dict()))) == info


def test_what_a_newer_version_adds_is_ignored_and_what_an_older_one_lacks_is_not_promised() -> None:
    told = {"name": "zmq", "colour": "blue", "capabilities": {**CAN, "speed": 3}}
    assert TransportInfo.from_dict(told) == TransportInfo("zmq", Capabilities("network", reliable=True))


def test_only_what_can_be_used_reaches_beyond_the_host() -> None:
    assert [info.beyond_host for info in (*HOST_ONLY, ZMQ, DDS, UNPLUGGED)] == [False, True, False, False]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "one of its transports is no mapping"),
        ("zmq", "one of its transports is no mapping"),
        ({}, "one of its transports has a bad name"),
        ({"name": "", "capabilities": CAN}, "has a bad name"),
        ({"name": "\x1b[2J", "capabilities": CAN}, "has a bad name"),
        ({"name": "z" * 64, "capabilities": CAN}, "has a bad name"),
        ({"name": 1, "capabilities": CAN}, "has a bad name"),
        ({"name": "zmq"}, "its transport zmq has no capabilities"),
        ({"name": "zmq", "capabilities": None, "missing": ""}, "its transport zmq has no capabilities"),
        ({"name": "zmq", "missing": None}, "its transport zmq has a bad 'missing'"),
        ({"name": "zmq", "missing": "a\x1b[2J"}, "its transport zmq has a bad 'missing'"),
        ({"name": "zmq", "missing": "x" * 501}, "its transport zmq has a bad 'missing'"),
        ({"name": "zmq", "remark": 1}, "its transport zmq has a bad 'remark'"),
        ({"name": "zmq", "remark": "a\x1b[2J"}, "its transport zmq has a bad 'remark'"),
        ({"name": "zmq", "remark": "x" * 501}, "its transport zmq has a bad 'remark'"),
        *(({"name": "zmq", "capabilities": can}, "its transport zmq has bad capabilities") for can in BAD),
    ],
)
def test_refuses_a_transport_and_says_why(data: object, reason: str) -> None:
    with pytest.raises(PeerFault, match=reason) as caught:
        TransportInfo.from_dict(data, pid=99)
    assert caught.value.pid == 99


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "no list of at most 16"),
        ({}, "no list of at most 16"),
        ("zmq", "no list of at most 16"),
        ([ZMQ.to_dict()] * 17, "no list of at most 16"),
        ([ZMQ.to_dict()] * 2, "one transport twice"),
        ([ZMQ.to_dict(), None], "no mapping"),
    ],
)
def test_refuses_a_list_and_says_why(data: object, reason: str) -> None:
    with pytest.raises(PeerFault, match=reason):
        read_transports(data)


texts = st.text(max_size=600)


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=30))
def test_whatever_a_transport_says_is_made_fit_for_telling(reasons: list[str]) -> None:
    found = [TransportInfo(f"t{number}", None, f"no: {reason}") for number, reason in enumerate(reasons)]
    told = as_announced([*found, ZMQ])
    assert ZMQ in told
    assert read_transports([each.to_dict() for each in told]) == told
