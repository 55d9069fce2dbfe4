import json
from collections.abc import Callable

import pytest

from lunar.cli.listing import list_nodes, list_topics, show_node, show_topic
from lunar.graph.descriptions import EndpointInfo, NodeInfo
from lunar.messages.types import RAW_BYTES
from lunar.qos import QoS

MakeEndpoint = Callable[..., EndpointInfo]
SetGraph = Callable[..., object]


def node(name: str, *endpoints: EndpointInfo, pid: int = 12) -> NodeInfo:
    return NodeInfo(name, "/", pid, 1000, endpoints)


@pytest.fixture
def chatter(make_endpoint: MakeEndpoint, set_graph: SetGraph) -> None:
    """A talker, and a listener that requests more than the talker offers."""
    set_graph(
        node("talker", make_endpoint("publisher", QoS(reliability="best_effort"), type_hash=RAW_BYTES.hash), pid=1),
        node(
            "listener",
            make_endpoint("subscription", node_name="/listener", pid=2, type_hash=RAW_BYTES.hash),
            pid=2,
        ),
        unreachable=["the process with pid 3 did not answer within 1 s"],
    )


@pytest.mark.usefixtures("chatter")
def test_topics_are_listed_and_what_is_wrong_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_topics(verbose=False, hidden=False, as_json=False) == 0
    captured = capsys.readouterr()
    assert captured.out.split() == ["TOPIC", "TYPE", "PUBLISHERS", "SUBSCRIPTIONS", "/chatter", "bytes", "1", "1"]
    assert "pid 3 did not answer" in captured.err
    assert "incompatible QoS" in captured.err


@pytest.mark.usefixtures("chatter")
def test_verbose_lists_every_end(capsys: pytest.CaptureFixture[str]) -> None:
    list_topics(verbose=True, hidden=False, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:5] == ["/chatter", "publisher", "/talker", "12", "bytes"]
    assert lines[2].split()[:5] == ["/chatter", "subscription", "/listener", "2", "bytes"]


@pytest.mark.usefixtures("chatter")
def test_json_goes_to_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    list_topics(verbose=False, hidden=False, as_json=True)
    (topic,) = json.loads(capsys.readouterr().out)
    assert set(topic) == {"topic", "types", "publishers", "subscriptions"}
    list_nodes(verbose=False, hidden=False, as_json=True)
    nodes = json.loads(capsys.readouterr().out)
    assert [NodeInfo.from_dict(item).full_name for item in nodes] == ["/listener", "/talker"]


@pytest.mark.usefixtures("chatter")
def test_a_topic_is_shown_with_its_mismatches(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_topic("chatter", verbose=False, as_json=False) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("/chatter (bytes)\n1 publisher\n")
    assert "/listener" in captured.out
    assert "incompatible QoS" in captured.err
    show_topic("chatter", verbose=False, as_json=True)
    (explanation,) = json.loads(capsys.readouterr().out)["mismatches"]
    assert "best_effort" in explanation


@pytest.mark.usefixtures("chatter")
def test_what_is_not_there_is_not_found_and_similar_names_are_offered(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_topic("/chater", verbose=False, as_json=False) == 1
    assert show_node("/listner", verbose=False, as_json=False) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "did you mean /chatter?" in captured.err
    assert "did you mean /listener?" in captured.err


@pytest.mark.usefixtures("chatter")
def test_nodes_are_listed_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert list_nodes(verbose=False, hidden=False, as_json=False) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["/listener", "2"],
        ["/talker", "1"],
    ]
    assert show_node("talker", verbose=True, as_json=False) == 0
    out = capsys.readouterr().out
    assert "/talker (pid 1, uid 1000)" in out
    assert "01" * 16 in out
    list_nodes(verbose=True, hidden=False, as_json=False)
    assert "0 publishers\n1 subscription\n" in capsys.readouterr().out


def test_nodes_of_one_name_are_all_shown(set_graph: SetGraph, capsys: pytest.CaptureFixture[str]) -> None:
    set_graph(node("twin", pid=1), node("twin", pid=2))
    show_node("twin", verbose=False, as_json=True)
    assert [item["pid"] for item in json.loads(capsys.readouterr().out)] == [1, 2]


def test_an_empty_graph_is_no_error(set_graph: SetGraph, capsys: pytest.CaptureFixture[str]) -> None:
    set_graph()
    assert list_topics(verbose=False, hidden=False, as_json=False) == 0
    assert list_nodes(verbose=False, hidden=False, as_json=False) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "lunar: no topics\nlunar: no nodes\n"
    assert list_topics(verbose=False, hidden=False, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == []
