import copy
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar.abc import Capabilities
from lunar.errors import PeerFault
from lunar.graph.descriptions import EndpointInfo, GraphSnapshot, NodeInfo, PeerInfo
from lunar.graph.transports import HOST_ONLY, TransportInfo
from lunar.qos import SENSOR_DATA, QoS

TALKS = EndpointInfo("01" * 16, "publisher", "/robot/chatter", "bytes", "ab" * 16, QoS(depth=3), "/robot/talker", 12)
LISTENS = replace(TALKS, id="02" * 16, kind="subscription", qos=SENSOR_DATA)
NODE = NodeInfo("talker", "/robot", 12, 1000, (TALKS, LISTENS))
ZMQ = TransportInfo("zmq", Capabilities("network", reliable=True, encrypted=True, largest_message_bytes=2**32 - 1))
DDS = TransportInfo("dds", None, "cyclonedds is not installed")
OTHER_NODE = NodeInfo("idle", "/", 12, 1000, transports=(*HOST_ONLY, ZMQ, DDS))
PEER = PeerInfo("0f" * 16, 7, 12, 1000, (NODE, OTHER_NODE))
SNAPSHOT = GraphSnapshot((NODE, OTHER_NODE), ("pid 13 did not answer within 1 s",))

# What a JSON decoder may return.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)

Read = Callable[[object], object]


def _sent(described: EndpointInfo | NodeInfo | PeerInfo | GraphSnapshot) -> object:
    return json.loads(json.dumps(described.to_dict()))


@pytest.mark.parametrize("described", [TALKS, LISTENS, NODE, OTHER_NODE, PEER, SNAPSHOT, GraphSnapshot()])
def test_the_wire_form_reads_back(described: EndpointInfo | NodeInfo | PeerInfo | GraphSnapshot) -> None:
    assert type(described).from_dict(_sent(described)) == described


def test_an_endpoint_reads_as_a_sentence() -> None:
    assert str(TALKS) == "publisher of /robot/chatter in node /robot/talker (pid 12)"


def test_full_name_and_endpoints_are_derived() -> None:
    assert (NODE.full_name, OTHER_NODE.full_name) == ("/robot/talker", "/idle")
    assert PEER.endpoints == SNAPSHOT.endpoints == (TALKS, LISTENS)


def test_where_a_node_is_is_not_its_own_word_but_a_snapshot_tells_it() -> None:
    elsewhere = replace(
        NODE,
        endpoints=tuple(replace(endpoint, host="mars") for endpoint in NODE.endpoints),
        host="mars",
        host_key="0a" * 16,
    )
    assert NodeInfo.from_dict(_sent(elsewhere)) == NODE
    snapshot = GraphSnapshot((elsewhere, OTHER_NODE))
    assert GraphSnapshot.from_dict(_sent(snapshot)) == snapshot
    for key, value in (("host", "\x1b[2J"), ("host", 1), ("host", "x" * 256), ("host_key", "mars"), ("host_key", None)):
        with pytest.raises(PeerFault, match=f"its node has a bad '{key}'"):
            GraphSnapshot.from_dict({"nodes": [{**elsewhere.to_dict(), key: value}], "unreachable": []})


def test_who_tells_nothing_of_transports_has_the_one_within_its_host() -> None:
    told = {key: value for key, value in OTHER_NODE.to_dict().items() if key != "transports"}
    assert [each.name for each in NodeInfo.from_dict(told).transports] == ["shm"]


def test_what_a_newer_version_adds_is_ignored() -> None:
    assert EndpointInfo.from_dict({**TALKS.to_dict(), "colour": "blue", "": None}) == TALKS


def test_the_kernels_ids_replace_the_peers_own() -> None:
    """A process in another pid namespace does not know its pid here, and a hostile one lies about it."""
    claims = copy.deepcopy(PEER.to_dict())
    claims["pid"] = "not even a number"
    claims.pop("uid")
    peer = PeerInfo.from_dict(claims, pid=99, uid=5)
    assert (peer.pid, peer.uid) == (99, 5)
    assert [(node.pid, node.uid) for node in peer.nodes] == [(99, 5), (99, 5)]
    assert [endpoint.pid for endpoint in peer.endpoints] == [99, 99]
    assert EndpointInfo.from_dict(TALKS.to_dict(), pid=99).pid == 99


@pytest.mark.parametrize("read", [EndpointInfo.from_dict, NodeInfo.from_dict, PeerInfo.from_dict])
@pytest.mark.parametrize("data", [None, 1, "x", [], [{}], True])
def test_refuses_what_is_no_mapping(read: Read, data: object) -> None:
    with pytest.raises(PeerFault, match="it must be a mapping"):
        read(data)


def test_refuses_a_snapshot_that_is_no_mapping() -> None:
    with pytest.raises(PeerFault, match="its snapshot is of type list; it must be a mapping"):
        GraphSnapshot.from_dict([])


@pytest.mark.parametrize("described", [TALKS, NODE, PEER, SNAPSHOT])
def test_refuses_a_missing_field(described: EndpointInfo | NodeInfo | PeerInfo | GraphSnapshot) -> None:
    # QoS has defaults for all of its fields, full_name is derived, and who says nothing of transports, routes and
    # hosts has what every process has; everything else is needed.
    for key in described.to_dict().keys() - {"full_name", "host", "host_key", "transports", "routes"}:
        data = {name: value for name, value in described.to_dict().items() if name != key}
        with pytest.raises(PeerFault, match=f"'{key}'"):
            type(described).from_dict(data)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("id", 1, "it is of type int, but a string is needed"),
        ("id", "", "0 characters, but 1 to 32 are allowed"),
        ("id", "01" * 17, "34 characters, but 1 to 32 are allowed"),
        ("id", "01" * 15, "32 lower-case hex digits are needed"),
        ("id", "0G" * 16, "32 lower-case hex digits are needed"),
        ("id", "AB" * 16, "32 lower-case hex digits are needed"),
        ("id", "\u0660\u0661" * 16, "32 lower-case hex digits are needed"),
        ("id", "01" * 15 + "0\n", "cannot be printed"),
        ("kind", "service", "it must be one of publisher, subscription"),
        ("kind", ["publisher"], "it must be one of publisher, subscription"),
        ("topic", 1, "it is of type int, but a string is needed"),
        ("topic", "chatter", "must be absolute"),
        ("topic", "~/chatter", "must be absolute"),
        ("topic", "/", "must not end with '/'"),
        ("topic", "/a//b", "'/' must not follow '/'"),
        ("topic", "/" + "x" * 255, "at most 255 are allowed"),
        ("topic", "/\ud800", "is not allowed"),
        ("type_name", "", "0 characters, but 1 to 255 are allowed"),
        ("type_name", "x" * 256, "256 characters, but 1 to 255 are allowed"),
        ("type_name", "\x1b[2Jbytes", "cannot be printed"),
        ("type_name", "\ud800", "cannot be printed"),
        ("type_name", "a b", "only ASCII letters"),
        ("type_name", "9a", "only ASCII letters"),
        ("type_hash", "ab", "32 lower-case hex digits are needed"),
        ("qos", [], "QoS profile"),
        ("qos", {"depth": 0}, "QoS depth=0 is not valid"),
        ("node_name", "talker", "must be absolute"),
        ("node_name", "/robot/", "must not be empty"),
        ("node_name", "//talker", "'/' must not follow '/'"),
        ("node_name", "/" + "x" * 256, "at most 255 are allowed"),
        ("pid", -1, "outside of 0 to 2147483647"),
        ("pid", 2**31, "outside of 0 to 2147483647"),
        ("pid", 1.0, "it is of type float, but a whole number is needed"),
        ("pid", True, "it is of type bool, but a whole number is needed"),
        ("pid", "12", "it is of type str, but a whole number is needed"),
    ],
)
def test_refuses_an_endpoint_and_says_why(key: str, value: object, reason: str) -> None:
    with pytest.raises(PeerFault) as caught:
        EndpointInfo.from_dict({**TALKS.to_dict(), key: value})
    assert f"its endpoint has a bad '{key}'" in caught.value.reason
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("name", "a/b", "invalid node name"),
        ("name", "", "must not be empty"),
        ("namespace", "robot", "must be absolute"),
        ("namespace", "/robot/", "must not end with '/'"),
        ("uid", -1, "outside of 0 to 4294967295"),
        ("uid", 2**32, "outside of 0 to 4294967295"),
        ("endpoints", None, "it is missing, but a list is needed"),
        ("endpoints", {}, "it is of type dict, but a list is needed"),
        ("endpoints", [TALKS.to_dict(), TALKS.to_dict()], "two have the same id"),
        ("endpoints", [{**TALKS.to_dict(), "node_name": "/other"}], "one belongs to /other, not to /robot/talker"),
        ("endpoints", [None] * 10_001, "10001 items, but at most 10000 are allowed"),
    ],
)
def test_refuses_a_node_and_says_why(key: str, value: object, reason: str) -> None:
    with pytest.raises(PeerFault) as caught:
        NodeInfo.from_dict({**NODE.to_dict(), key: value})
    assert f"its node has a bad '{key}'" in caught.value.reason
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("id", "x", "32 lower-case hex digits"),
        ("domain", 233, "outside of 0 to 232"),
        ("domain", -1, "outside of 0 to 232"),
        ("nodes", "x", "it is of type str, but a list is needed"),
        ("nodes", [NODE.to_dict(), NODE.to_dict()], "two endpoints have the same id"),
    ],
)
def test_refuses_a_peer_and_says_why(key: str, value: object, reason: str) -> None:
    with pytest.raises(PeerFault) as caught:
        PeerInfo.from_dict({**PEER.to_dict(), key: value})
    assert f"its peer has a bad '{key}'" in caught.value.reason
    assert reason in caught.value.reason


@pytest.mark.parametrize("value", ["", 1, "\x1b[2J", "x" * 1001])
def test_refuses_a_snapshot_with_a_bad_reason(value: object) -> None:
    with pytest.raises(PeerFault, match="its snapshot has a bad 'unreachable'"):
        GraphSnapshot.from_dict({"nodes": [], "unreachable": [value]})


def test_the_fault_names_the_peer() -> None:
    with pytest.raises(PeerFault) as caught:
        PeerInfo.from_dict({**PEER.to_dict(), "nodes": [{**NODE.to_dict(), "endpoints": [{}]}]}, pid=99)
    assert caught.value.pid == 99
    assert "its endpoint has a bad 'id': it is missing" in str(caught.value)


def test_a_hostile_value_does_not_swell_the_fault() -> None:
    with pytest.raises(PeerFault) as caught:
        EndpointInfo.from_dict({**TALKS.to_dict(), "topic": "/" + "x" * 1_000_000})
    assert len(str(caught.value)) < 1000


@settings(deadline=None)
@given(st.sampled_from(sorted(TALKS.to_dict())), json_values)
def test_any_value_of_an_endpoint_is_read_or_refused(key: str, value: object) -> None:
    _read_or_refuse(EndpointInfo.from_dict, {**TALKS.to_dict(), key: value})


@settings(deadline=None)
@given(st.sampled_from(sorted(NODE.to_dict())), json_values)
def test_any_value_of_a_node_is_read_or_refused(key: str, value: object) -> None:
    _read_or_refuse(NodeInfo.from_dict, {**NODE.to_dict(), key: value})


@settings(deadline=None)
@given(st.sampled_from(sorted(PEER.to_dict())), json_values)
def test_any_value_of_a_peer_is_read_or_refused(key: str, value: object) -> None:
    _read_or_refuse(PeerInfo.from_dict, {**PEER.to_dict(), key: value})


def _read_or_refuse(read: Read, data: object) -> None:
    """Anything but a description that reads back, or a `PeerFault`, fails the test."""
    try:
        described = read(data)
    except PeerFault as error:
        str(error)
        return
    assert isinstance(described, EndpointInfo | NodeInfo | PeerInfo)
    assert read(_sent(described)) == described
