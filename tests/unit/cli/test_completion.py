from collections.abc import Callable

import pytest

import lunar
from lunar.cli.completion import complete_nodes, complete_topics
from lunar.errors import ConfigError
from lunar.graph.descriptions import EndpointInfo, NodeInfo

SetGraph = Callable[..., object]


@pytest.fixture
def camera(make_endpoint: Callable[..., EndpointInfo], set_graph: SetGraph) -> None:
    image = make_endpoint("publisher", topic="/camera/image", node_name="/camera")
    info = make_endpoint("publisher", topic="/camera/info", node_name="/camera")
    set_graph(NodeInfo("camera", "/", 5, 1000, (image, info)), NodeInfo("_lunar_echo_9", "/", 9, 1000))


@pytest.mark.usefixtures("camera")
def test_topics_are_offered_as_the_user_began_them() -> None:
    assert complete_topics("") == [("/camera/image", "bytes"), ("/camera/info", "bytes")]
    assert complete_topics("/camera/im") == [("/camera/image", "bytes")]
    assert complete_topics("cam") == [("camera/image", "bytes"), ("camera/info", "bytes")]
    assert complete_topics("x") == []


@pytest.mark.usefixtures("camera")
def test_nodes_are_offered_without_our_own() -> None:
    assert complete_nodes("") == [("/camera", "pid 5")]
    assert complete_nodes("c") == [("camera", "pid 5")]


def test_errors_offer_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(timeout_s: float) -> None:
        raise ConfigError("LUNAR_DOMAIN", "x", "a number")

    monkeypatch.setattr(lunar, "graph_snapshot", refuse, raising=False)
    assert complete_topics("") == []
    assert complete_nodes("") == []
