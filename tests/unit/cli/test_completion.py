from collections.abc import Callable

import pytest

import lunar
from lunar.cli.completion import (
    complete_hosts,
    complete_nodes,
    complete_qos,
    complete_remotes,
    complete_topics,
    complete_transports,
)
from lunar.errors import ConfigError
from lunar.graph.descriptions import EndpointInfo, NodeInfo

SetGraph = Callable[..., object]


@pytest.fixture
def camera(make_endpoint: Callable[..., EndpointInfo], set_graph: SetGraph) -> None:
    image = make_endpoint("publisher", topic="/camera/image", node_name="/camera")
    info = make_endpoint("publisher", topic="/camera/info", node_name="/camera")
    set_graph(NodeInfo("camera", "/", 5, 1000, (image, info)), NodeInfo("_lunar_echo_9", "/", 9, 1000, host="mars"))


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


@pytest.mark.usefixtures("camera")
def test_places_and_hosts_are_offered() -> None:
    assert [name for name, _ in complete_hosts("")] == ["host", "network", "here", "mars"]
    assert complete_hosts("m") == [("mars", "host")]


@pytest.mark.usefixtures("camera")
def test_remote_hosts_are_those_of_the_graph_and_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNAR_PEERS", "192.0.2.7,venus")
    assert complete_remotes("") == [("mars", "host"), ("192.0.2.7", "peer"), ("venus", "peer")]
    assert complete_remotes("v") == [("venus", "peer")]


def test_profiles_are_offered_part_by_part() -> None:
    assert complete_qos("sens") == [("sensor_data", "preset")]
    assert complete_qos("sensor_data,dep") == [("sensor_data,depth=", "field")]
    assert complete_qos("depth=3,datap") == [("depth=3,datapath=", "field")]


def test_installed_transports_are_offered() -> None:
    assert next(name for name, _ in complete_transports("")) == "shm"
    assert [name for name, _ in complete_transports("z")] == ["zmq"]


def test_errors_offer_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(timeout_s: float) -> None:
        raise ConfigError("LUNAR_DOMAIN", "x", "a number")

    monkeypatch.setattr(lunar, "graph_snapshot", refuse, raising=False)
    assert complete_topics("") == []
    assert complete_nodes("") == []
    assert [name for name, _ in complete_hosts("")] == ["host", "network", "here"]
    assert complete_remotes("") == []
