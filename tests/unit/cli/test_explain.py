import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from lunar.abc import Capabilities
from lunar.cli import explanation
from lunar.cli.listing import list_nodes, show_node, show_topic
from lunar.cli.main import main
from lunar.cli.places import HERE, find_place, what_is_here
from lunar.errors import LunarError
from lunar.graph.descriptions import EndpointInfo, NodeInfo
from lunar.graph.routes import Route
from lunar.graph.transports import HOST_ONLY, TransportInfo
from lunar.messages.types import RAW_BYTES
from lunar.qos import QoS

MakeEndpoint = Callable[..., EndpointInfo]
SetGraph = Callable[..., object]

ZMQ = TransportInfo("zmq", Capabilities("network", reliable=True, encrypted=True))
SMALL = Capabilities("network", reliable=True, largest_message_bytes=9)
XDP = TransportInfo("xdp", Capabilities("network", reliable=True, kernel_bypass=True))
DDS_MISSING = TransportInfo("dds", None, "cyclonedds is not installed")
ACROSS = "the two ends are on different hosts, and it reaches only its own"
ON_ONE_HOST = "the two ends are on one host, and it serves only those on different hosts"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation, "installed_transports", lambda _settings: [*HOST_ONLY, ZMQ, DDS_MISSING])


@pytest.fixture
def on(make_endpoint: MakeEndpoint) -> Callable[..., NodeInfo]:
    """``on(host, kind, qos, *transports)``: a node with one end on a host; "" is this one."""

    def make(host: str, kind: str, qos: QoS | None = None, *transports: TransportInfo) -> NodeInfo:
        name = f"{'talker' if kind == 'publisher' else 'listener'}{'_on_' + host if host else ''}"
        end = make_endpoint(kind, qos, node_name=f"/{name}", type_hash=RAW_BYTES.hash)
        end = replace(end, host=host, id=hashlib.md5(name.encode()).hexdigest())
        key = f"{sum(host.encode()):032x}" if host else ""
        return NodeInfo(name, "/", 12, 1000, (end,), host, key, (*HOST_ONLY, *transports))

    return make


@pytest.fixture
def chatter(on: Callable[..., NodeInfo], set_graph: SetGraph) -> None:
    """A talker here, a listener here, one on mars, and one on venus that asks for too much."""
    set_graph(
        on("", "publisher", None, ZMQ),
        on("", "subscription"),
        on("mars", "subscription", None, ZMQ, DDS_MISSING),
        on("venus", "subscription", QoS(durability="transient_local"), ZMQ),
    )


@pytest.mark.usefixtures("chatter")
def test_each_pair_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "chatter"]) == 0
    captured = capsys.readouterr()
    here, mars, venus = captured.out.split("\n\n")
    assert here.splitlines() == [
        "/talker (pid 12, this host) -> /listener (pid 12, this host)",
        "  offered    reliable, volatile, keep_last(10)",
        "  requested  reliable, volatile, keep_last(10)",
        "  match over shm",
        "    shm  chosen: carries messages without a copy, reach host",
        f"    zmq  {ON_ONE_HOST}",
        "    dds  the publisher's process does not have it; "
        "the subscription's process does not have it (it stays on its host)",
    ]
    assert mars.splitlines()[0].endswith("-> /listener_on_mars (pid 12, mars)")
    assert mars.splitlines()[3:] == [
        "  match over zmq",
        "    zmq  chosen: carries messages with a copy, reach network, encrypted",
        "    dds  the publisher's process does not have it; "
        "the subscription's process cannot use it: cyclonedds is not installed",
        f"    shm  {ACROSS}",
    ]
    assert venus.splitlines()[3].startswith("  no match: incompatible QoS between ")
    assert "the transport dds is installed, but cyclonedds is not installed" in captured.err


@pytest.mark.usefixtures("chatter")
def test_json_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "/chatter", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"topic", "imagined", "pairs", "installed"}
    assert (told["topic"], told["imagined"]) == ("/chatter", False)
    assert [info["name"] for info in told["installed"]] == ["shm", "zmq", "dds"]
    pairs = told["pairs"]
    keys = {
        "publisher",
        "subscription",
        "matched",
        "disagreement",
        "pending",
        "transport",
        "selected",
        "reasons",
        "route",
        "remarks",
    }
    assert set(pairs[0]) == keys
    assert [(pair["matched"], pair["transport"], pair["selected"]) for pair in pairs] == [
        (True, "shm", "shm"),
        (True, "zmq", "zmq"),
        (False, None, "zmq"),
    ]
    assert [EndpointInfo.from_dict(pair["subscription"], host=None).host for pair in pairs] == ["", "mars", "venus"]
    assert [bool(pair["disagreement"]) for pair in pairs] == [False, False, True]


def test_a_pair_whose_types_are_not_known_yet_is_pending(
    on: Callable[..., NodeInfo], set_graph: SetGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    talker, listener = on("", "publisher", None, ZMQ), on("mars", "subscription", None, ZMQ)
    talker, listener = (
        replace(node, endpoints=(replace(node.endpoints[0], type_name="shop.Pose", type_hash=letter * 32),))
        for node, letter in ((talker, "1"), (listener, "2"))
    )
    set_graph(talker, listener, awaited=["2" * 32])
    assert main(["explain", "chatter"]) == 0
    line = capsys.readouterr().out.splitlines()[3]
    assert line.startswith("  pending: not known yet whether publisher of /chatter in node /talker (pid 12) and ")
    assert line.endswith("the schema of shop.Pose (22222222) is awaited")
    assert main(["explain", "chatter", "--json"]) == 0
    [pair] = json.loads(capsys.readouterr().out)["pairs"]
    assert (pair["matched"], pair["disagreement"], pair["transport"]) == (False, None, None)
    assert pair["pending"].startswith("not known yet whether ")
    assert show_topic("chatter", verbose=False, as_json=False) == 0
    assert "is awaited" in capsys.readouterr().err
    assert show_topic("chatter", verbose=True, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["mismatches"], len(told["pending"])) == ([], 1)
    set_graph(talker, listener)  # nobody is asked any more: then it is known that they do not
    assert main(["explain", "chatter"]) == 0
    assert capsys.readouterr().out.splitlines()[3].startswith("  no match: type mismatch between ")


def test_a_change_of_transport_is_told(
    on: Callable[..., NodeInfo], set_graph: SetGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    dds = TransportInfo("dds", Capabilities("network", reliable=True))
    talker, listener = on("", "publisher", None, ZMQ, dds), on("mars", "subscription", None, ZMQ, dds)
    ids = (talker.endpoints[0].id, listener.endpoints[0].id)
    cut = {"zmq": "the connection was lost"}
    earlier = Route(*ids, "zmq", {}, "dds", "zmq is as good and preferred", 0.001, 10**18)
    later = Route(*ids, "dds", cut, "zmq", "unreachable: the connection was lost", 0.25, 10**18 + 1)
    set_graph(replace(talker, routes=(later,)), replace(listener, routes=(earlier,)))
    assert main(["explain", "chatter"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == "  match over dds"
    assert re.fullmatch(
        r"  changed from zmq at [0-9:]{8}, 0.250 s without service: zmq: unreachable: the connection was lost", lines[4]
    )
    assert "    zmq  unreachable: the connection was lost" in lines
    assert main(["explain", "chatter", "--json"]) == 0
    [pair] = json.loads(capsys.readouterr().out)["pairs"]
    assert pair["route"] == later.to_dict()
    assert (pair["transport"], pair["selected"]) == ("dds", "dds")


def test_ends_that_name_different_transports_have_none(
    on: Callable[..., NodeInfo], set_graph: SetGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    set_graph(
        on("", "publisher", QoS(transport="zmq"), ZMQ, XDP),
        on("mars", "subscription", QoS(transport="xdp"), ZMQ, XDP),
    )
    assert main(["explain", "chatter"]) == 0
    out = capsys.readouterr().out
    assert "  no match: no transport can serve them\n" in out
    assert "    xdp  the publisher asks for zmq and the subscription for xdp\n" in out


def test_two_other_hosts_of_one_name_are_two(
    on: Callable[..., NodeInfo], set_graph: SetGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = on("moon", "publisher", None, ZMQ), replace(on("moon", "subscription", None, ZMQ), host_key="ab" * 16)
    set_graph(one, two)
    assert main(["explain", "chatter", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"][0]["transport"] == "zmq"
    assert find_place("abab", [one, two], ()).key == "ab" * 16
    with pytest.raises(LunarError, match="2 hosts are called moon; say which: "):
        find_place("moon", [one, two], ())


@pytest.mark.usefixtures("chatter")
def test_a_topic_that_is_not_there_is_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "chater"]) == 1
    assert "did you mean /chatter?" in capsys.readouterr().err
    assert main(["explain", "x"]) == 1
    assert "imagine its ends with --qos and --between" in capsys.readouterr().err


def test_a_topic_with_one_side_has_no_pairs(
    on: Callable[..., NodeInfo], set_graph: SetGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    set_graph(on("", "publisher"))
    assert main(["explain", "chatter", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["pairs"] == []
    assert "nobody subscribes /chatter" in captured.err


# ---- imagined ends --------------------------------------------------------------------------------------------------


def imagined(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str | None]:
    """The transport of each imagined pair."""
    assert main(["explain", "nothing", *arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["imagined"] is True
    return [pair["transport"] for pair in told["pairs"]]


@pytest.mark.usefixtures("chatter")
def test_ends_can_be_imagined(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert imagined(capsys, "--qos", "default") == ["shm", "zmq"]
    assert imagined(capsys, "--between", "host") == ["shm"]
    assert imagined(capsys, "--between", "network", "--qos", "transport=dds") == [None]
    assert imagined(capsys, "--between", "here", "mars") == ["zmq"]
    assert imagined(capsys, "--qos", "datapath=fast", "--between", "mars", "mars") == ["shm"]
    monkeypatch.setattr(explanation, "installed_transports", lambda _settings: [replace(ZMQ, capabilities=SMALL)])
    assert imagined(capsys, "--between", "network", "--size", "9") == ["zmq"]
    assert imagined(capsys, "--between", "network", "--size", "10") == [None]


def test_what_this_process_has_tried_itself_counts_for_more_than_what_is_installed() -> None:
    no_key = replace(ZMQ, missing="there is no key")
    assert what_is_here([*HOST_ONLY, no_key], [*HOST_ONLY, ZMQ, DDS_MISSING]) == [*HOST_ONLY, no_key, DDS_MISSING]
    assert what_is_here([], [*HOST_ONLY, ZMQ]) == [*HOST_ONLY, ZMQ]


@pytest.mark.usefixtures("chatter")
def test_a_second_profile_is_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "x", "--qos", "sensor_data", "--qos", "default", "--between", "network"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("a publisher on this host -> a subscription on another host\n  offered    best_effort")
    assert "reliability is offered as best_effort but requested as reliable" in out


def test_without_a_profile_those_of_the_topic_are_taken(
    on: Callable[..., NodeInfo], set_graph: SetGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    set_graph(on("", "publisher", QoS(depth=3)), on("", "subscription", QoS(depth=4)))
    assert main(["explain", "chatter", "--between", "network"]) == 0
    out = capsys.readouterr().out
    assert "  offered    reliable, volatile, keep_last(3)\n  requested  reliable, volatile, keep_last(4)\n" in out


@pytest.mark.usefixtures("chatter")
@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--between", "pluto", "mars"], 1, "no node is on a host pluto"),
        (["--between", "here", "mras"], 1, "did you mean mars?"),
        (["--between", "mars"], 2, "--between takes two hosts"),
        (["--qos", "quick"], 2, "FIELD=VALUE"),
        (["--qos", "default", "--qos", "default", "--qos", "default"], 2, "--qos may stand twice"),
    ],
)
def test_what_cannot_be_imagined_is_refused(
    arguments: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "chatter", *arguments]) == code
    assert text in capsys.readouterr().err


def test_a_host_has_what_any_process_on_it_can_use(on: Callable[..., NodeInfo]) -> None:
    gone = replace(ZMQ, missing="no cable")
    nodes = [on("mars", "publisher", None, gone, DDS_MISSING), on("mars", "subscription", None, ZMQ, XDP)]
    for order in (nodes, nodes[::-1]):
        found = find_place("mars", order, ())
        assert {info.name: info.missing for info in found.transports} == {
            "shm": "",
            "zmq": "",
            "xdp": "",
            "dds": "cyclonedds is not installed",
        }
    assert find_place(HERE, nodes, (ZMQ,)).transports == (ZMQ,)


# ---- in the lists ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("chatter")
def test_the_lists_show_hosts_and_transports(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_topic("chatter", verbose=True, as_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    talker = next(line for line in lines if line.startswith("/talker"))
    assert "  this host  shm, zmq  " in talker
    assert f"  {RAW_BYTES.hash}  " in talker
    assert "  mars       zmq        " in next(line for line in lines if line.startswith("/listener_on_mars"))
    assert "  venus      -          " in next(line for line in lines if line.startswith("/listener_on_venus"))
    assert show_topic("chatter", verbose=False, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["transports"][told["publishers"][0]["id"]] == ["shm", "zmq"]
    assert list_nodes(verbose=False, hidden=False, as_json=False) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["NODE", "PID", "UID", "HOST", "PUBLISHERS", "SUBSCRIPTIONS"]
    assert rows[1].split() == ["/listener_on_mars", "12", "1000", "mars", "0", "1"]
    assert show_node("listener_on_mars", verbose=True, as_json=False) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [
        "/listener_on_mars (pid 12, uid 1000, on mars)",
        "transport shm: usable",
        "transport zmq: usable",
        "transport dds: cyclonedds is not installed",
    ]
