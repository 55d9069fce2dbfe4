from collections.abc import Callable

import pytest

from lunar.cli.graph_view import (
    absolute_name,
    absolute_node_name,
    is_hidden,
    mismatches,
    summarize_qos,
    view_nodes,
    view_topics,
)
from lunar.errors import InvalidName
from lunar.graph.descriptions import EndpointInfo, GraphSnapshot, NodeInfo
from lunar.qos import QoS

MakeEndpoint = Callable[..., EndpointInfo]


def graph(*endpoints: EndpointInfo) -> GraphSnapshot:
    """One node for each endpoint."""
    nodes = [NodeInfo(end.node_name.rpartition("/")[2], "/", end.pid, 1000, (end,)) for end in endpoints]
    return GraphSnapshot(tuple(nodes))


def test_topics_are_sorted_and_have_their_ends(make_endpoint: MakeEndpoint) -> None:
    late = make_endpoint("publisher", node_name="/b", pid=2)
    early = make_endpoint("publisher", node_name="/a", pid=1)
    reader = make_endpoint("subscription", node_name="/c", pid=3)
    other = make_endpoint("subscription", topic="/a_topic", node_name="/c", pid=3)
    topics = view_topics(graph(late, reader, other, early))
    assert [topic.name for topic in topics] == ["/a_topic", "/chatter"]
    assert (topics[1].publishers, topics[1].subscriptions) == ((early, late), (reader,))
    assert topics[0].publishers == ()


def test_hidden_names_are_shown_on_request_only(make_endpoint: MakeEndpoint) -> None:
    ours = make_endpoint("subscription", node_name="/_lunar_hz_1")
    private = make_endpoint("publisher", topic="/robot/_private/state")
    plain = make_endpoint("publisher")
    snapshot = graph(ours, private, plain)
    assert [(topic.name, len(topic.subscriptions)) for topic in view_topics(snapshot)] == [("/chatter", 1)]
    assert [topic.name for topic in view_topics(snapshot, hidden=True)] == ["/chatter", "/robot/_private/state"]
    assert [node.full_name for node in view_nodes(snapshot)] == ["/talker", "/talker"]
    assert len(view_nodes(snapshot, hidden=True)) == 3
    assert not is_hidden("/a_b/c_")


def test_a_topic_describes_itself_for_json(make_endpoint: MakeEndpoint) -> None:
    publisher = make_endpoint("publisher")
    (topic,) = view_topics(graph(publisher))
    assert topic.to_dict() == {
        "topic": "/chatter",
        "types": ["bytes"],
        "publishers": [publisher.to_dict()],
        "subscriptions": [],
    }


def test_each_pair_that_does_not_match_is_explained(make_endpoint: MakeEndpoint) -> None:
    weak = make_endpoint("publisher", QoS(reliability="best_effort"), node_name="/weak")
    foreign = make_endpoint("publisher", type_name="Image", type_hash="cd" * 16, node_name="/foreign")
    fine = make_endpoint("publisher", node_name="/fine")
    reader = make_endpoint("subscription", node_name="/reader")
    (topic,) = view_topics(graph(weak, foreign, fine, reader))
    texts = mismatches(topic)
    assert len(texts) == 2
    assert "/foreign" in texts[0]
    assert "type" in texts[0]
    assert "/weak" in texts[1]
    assert "reliability" in texts[1]
    assert all("/reader" in text for text in texts)
    assert topic.type_names == ("Image", "bytes")


def test_names_from_the_command_line_may_be_relative() -> None:
    assert absolute_name("chatter") == absolute_name("/chatter") == "/chatter"
    assert absolute_node_name("robot/arm") == absolute_node_name("/robot/arm") == "/robot/arm"


@pytest.mark.parametrize("name", ["", "/", "a b", "a//b", "1st"])
def test_invalid_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        absolute_name(name)
    with pytest.raises(InvalidName):
        absolute_node_name(name)


def test_qos_is_summarized_with_what_differs_from_the_default() -> None:
    assert summarize_qos(QoS()) == "reliable, volatile, keep_last(10)"
    unusual = QoS(deadline_s=0.1, lifespan_s=2, liveliness="manual_by_topic", lease_s=1, priority=3)
    assert summarize_qos(unusual) == (
        "reliable, volatile, keep_last(10), deadline 0.1 s, lifespan 2 s, manual_by_topic, lease 1 s, priority 3"
    )
