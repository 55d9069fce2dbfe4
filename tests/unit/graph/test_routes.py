"""What is told of matches' transports, and what of it is refused."""

import pytest

from lunar.errors import PeerFault
from lunar.graph.descriptions import NodeInfo
from lunar.graph.routes import MAX_ROUTES, Route

ROUTE = Route("01" * 16, "02" * 16, "dds", {"zmq": "the cable is out"}, "zmq", "it has failed", 0.25, 10**18)
NODE = NodeInfo("n", "/", 7, 3, routes=(ROUTE, Route("01" * 16, "03" * 16, "dds")))


def test_it_is_read_as_it_was_told() -> None:
    assert NodeInfo.from_dict(NODE.to_dict()) == NODE


def test_who_tells_nothing_has_none() -> None:
    told = NODE.to_dict()
    del told["routes"]
    assert NodeInfo.from_dict(told).routes == ()


def test_reasons_are_told_as_they_can_be_read() -> None:
    odd = Route("01" * 16, "02" * 16, "dds", {"zmq": "a\nb" + "x" * 1000}, "zmq", "\x1b[31m" + "y" * 1000)
    [read] = NodeInfo.from_dict(NodeInfo("n", "/", 7, 3, routes=(odd,)).to_dict()).routes
    assert read.unreachable["zmq"].startswith("a bxxx")
    assert read.reason.startswith("[31my")


@pytest.mark.parametrize(
    "changes",
    [
        {"publisher_id": 1},
        {"transport": "\x1b"},
        {"before": None},
        {"reason": "x" * 201},
        {"gap_s": -1.0},
        {"gap_s": float("nan")},
        {"gap_s": "1"},
        {"changed_at_ns": -1},
        {"changed_at_ns": 2**63},
        {"changed_at_ns": 1.5},
        {"unreachable": []},
        {"unreachable": {"../zmq": "x"}},
        {"unreachable": {"zmq": "\n"}},
        {"unreachable": {f"t{number}": "x" for number in range(17)}},
    ],
)
def test_nonsense_is_refused(changes: dict[str, object]) -> None:
    told = {**NODE.to_dict(), "routes": [{**ROUTE.to_dict(), **changes}]}
    with pytest.raises(PeerFault, match="routes"):
        NodeInfo.from_dict(told)


@pytest.mark.parametrize("routes", [1, [1], [ROUTE.to_dict()] * (MAX_ROUTES + 1)])
def test_what_is_no_list_of_them_is_refused(routes: object) -> None:
    with pytest.raises(PeerFault, match="routes"):
        NodeInfo.from_dict({**NODE.to_dict(), "routes": routes})
