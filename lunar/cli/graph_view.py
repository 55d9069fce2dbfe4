"""The graph as the commands show it: topics and nodes out of a snapshot. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from lunar.errors import VerificationError
from lunar.graph.matching import IncompatibleQoS, TypeMismatch, match
from lunar.graph.schemas import version_key
from lunar.names import expand_topic, split_full_node_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lunar.graph.descriptions import EndpointInfo, GraphSnapshot, NodeInfo
    from lunar.graph.schemas import Described, TypeVerdict
    from lunar.qos import QoS

HIDDEN_PREFIX = "_"
"""A name with a token that starts so is not shown unless asked for, as in ROS 2; our own nodes have such names."""


@dataclass(frozen=True)
class TopicView:
    """Everything known of one topic.

    Attributes:
        name: Its absolute name.
        publishers: Its publishers, by node name.
        subscriptions: Its subscriptions, by node name.
        schemas: What the peers have told of their types, by hash: JSON text, not checked.
        nodes: The node of each endpoint, by the endpoint's id.
        awaited: Hashes of types whose schemas were asked for and had not come.
    """

    name: str
    publishers: tuple[EndpointInfo, ...]
    subscriptions: tuple[EndpointInfo, ...]
    schemas: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    nodes: Mapping[str, NodeInfo] = field(default_factory=dict, compare=False, repr=False)
    awaited: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    @property
    def endpoints(self) -> tuple[EndpointInfo, ...]:
        """Its publishers, then its subscriptions."""
        return (*self.publishers, *self.subscriptions)

    @property
    def type_names(self) -> tuple[str, ...]:
        """The message types in use; more than one means that some ends do not match."""
        return tuple(sorted({endpoint.type_name for endpoint in self.endpoints}))

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values."""
        return {
            "topic": self.name,
            "types": list(self.type_names),
            "publishers": [endpoint.to_dict() for endpoint in self.publishers],
            "subscriptions": [endpoint.to_dict() for endpoint in self.subscriptions],
        }


def is_hidden(name: str) -> bool:
    """Says whether a topic or node name is hidden, as those of this command line's own nodes are."""
    return any(token.startswith(HIDDEN_PREFIX) for token in name.split("/"))


def absolute_name(name: str) -> str:
    """Makes a topic name from the command line absolute: `chatter` means `/chatter`.

    Raises:
        InvalidName: It breaks a rule for names.
    """
    return expand_topic(name, "_lunar", "/")


def absolute_node_name(name: str) -> str:
    """Makes a node name from the command line absolute: `talker` means `/talker`.

    Raises:
        InvalidName: It breaks a rule for names.
    """
    absolute = name if name.startswith("/") else f"/{name}"
    split_full_node_name(absolute)
    return absolute


def view_topics(snapshot: GraphSnapshot, *, hidden: bool = False) -> list[TopicView]:
    """Lists the topics that have an endpoint, by name.

    Args:
        snapshot: The graph.
        hidden: Include hidden topics. The endpoints of hidden nodes are always there: they publish and receive too.
    """
    endpoints: dict[str, tuple[list[EndpointInfo], list[EndpointInfo]]] = {}
    for endpoint in snapshot.endpoints:
        if hidden or not is_hidden(endpoint.topic):
            ends = endpoints.setdefault(endpoint.topic, ([], []))
            ends[endpoint.kind == "subscription"].append(endpoint)
    nodes = {endpoint.id: node for node in snapshot.nodes for endpoint in node.endpoints}
    return [
        TopicView(name, _by_node(publishers), _by_node(subscriptions), snapshot.schemas, nodes, snapshot.awaited)
        for name, (publishers, subscriptions) in sorted(endpoints.items())
    ]


def view_nodes(snapshot: GraphSnapshot, *, hidden: bool = False) -> list[NodeInfo]:
    """Lists the nodes, by name and process.

    Args:
        snapshot: The graph.
        hidden: Include hidden nodes.
    """
    nodes = (node for node in snapshot.nodes if hidden or not is_hidden(node.full_name))
    return sorted(nodes, key=lambda node: (node.full_name, node.pid))


def _by_node(endpoints: Sequence[EndpointInfo]) -> tuple[EndpointInfo, ...]:
    return tuple(sorted(endpoints, key=lambda endpoint: (endpoint.node_name, endpoint.pid, endpoint.id)))


def mismatches(topic: TopicView) -> list[str]:
    """Explains each pair of a publisher and a subscription on a topic that does not match, naming both."""
    reasons = (disagreement(topic, *pair) for pair in product(topic.publishers, topic.subscriptions))
    return [reason for reason in reasons if reason]


def disagreement(topic: TopicView, publisher: EndpointInfo, subscription: EndpointInfo) -> str:
    """Explains why a publisher and a subscription of a topic do not agree on type and QoS; "" if they do.

    Where that is not known yet it is "" as well: see `open_question`.
    """
    if open_question(topic, publisher, subscription):
        return ""
    decision = match(publisher, subscription, _verdict(topic, publisher.type_hash, subscription.type_hash))
    return decision.text if isinstance(decision, TypeMismatch | IncompatibleQoS) else ""


def open_questions(topic: TopicView) -> list[str]:
    """Names each pair of a topic of which it is not known yet whether the two match, and says what is missing."""
    reasons = (open_question(topic, *pair) for pair in product(topic.publishers, topic.subscriptions))
    return [reason for reason in reasons if reason]


def open_question(topic: TopicView, publisher: EndpointInfo, subscription: EndpointInfo) -> str:
    """Says why it is not known yet whether two ends of a topic match; "" if it is known."""
    if publisher.type_hash == subscription.type_hash or version_key(publisher.type_name) != version_key(
        subscription.type_name
    ):
        return ""
    missing = [
        f"{end.type_name} ({end.type_hash[:8]})" for end in (publisher, subscription) if end.type_hash in topic.awaited
    ]
    if not missing:
        return ""
    return (
        f"not known yet whether {publisher} and {subscription} match: the schema of {' and '.join(missing)} is awaited"
    )


def host_name(host: str) -> str:
    """Names the host of a node or an endpoint, for people."""
    return host or "this host"


def _verdict(topic: TopicView, published: str, subscribed: str) -> TypeVerdict | None:
    """On two types, by hash, as the ends themselves judge them; None where there is nothing to judge."""
    if published == subscribed:
        return None
    from lunar.graph.schemas import judge

    return judge(_described(topic, published), _described(topic, subscribed))


def _described(topic: TopicView, type_hash: str) -> Described | None:
    if type_hash not in topic.schemas:
        return None
    from lunar.graph.schemas import parse

    try:
        return parse(topic.schemas[type_hash], type_hash)
    except VerificationError:
        return None


def summarize_qos(qos: QoS) -> str:
    """Describes a profile in a few words: the basic policies, and the others where they differ from the default."""
    parts = [qos.reliability, qos.durability, f"{qos.history}({qos.depth})"]
    if qos.deadline_s is not None:
        parts.append(f"deadline {qos.deadline_s:g} s")
    if qos.lifespan_s is not None:
        parts.append(f"lifespan {qos.lifespan_s:g} s")
    if qos.liveliness != "automatic":
        parts.append(qos.liveliness)
    if qos.lease_s is not None:
        parts.append(f"lease {qos.lease_s:g} s")
    if qos.priority:
        parts.append(f"priority {qos.priority}")
    if qos.datapath != "auto":
        parts.append(f"datapath {qos.datapath}")
    if qos.transport is not None:
        parts.append(f"transport {qos.transport}")
    return ", ".join(parts)
