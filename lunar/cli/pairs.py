"""Each publisher and subscription of a topic, whether they match, and over what. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from lunar.cli.graph_view import TopicView, disagreement, open_question
from lunar.graph.descriptions import EndpointInfo, NodeInfo
from lunar.messages.types import RAW_BYTES
from lunar.selection import Match, Selection, select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lunar.cli.places import Place
    from lunar.graph.descriptions import EndpointKind
    from lunar.graph.routes import Route
    from lunar.graph.transports import TransportInfo
    from lunar.qos import QoS


@dataclass(frozen=True)
class Pair:
    """A publisher and a subscription of one topic.

    Attributes:
        publisher: The end that sends.
        subscription: The end that receives.
        disagreement: Why they do not agree on type and QoS; "" if they do.
        selection: Which transport serves them, or would if they agreed.
        pending: Why it is not known yet whether they agree; "" if it is.
        route: What their processes tell of how they came to their transport; None if there is nothing to tell.
        remarks: What the publisher's and the subscription's process have to say of that transport, "" for nothing.
    """

    publisher: EndpointInfo
    subscription: EndpointInfo
    disagreement: str
    selection: Selection
    route: Route | None = None
    pending: str = ""
    remarks: tuple[str, str] = ("", "")

    @property
    def transport(self) -> str | None:
        """The transport that serves them; None if they do not match."""
        if self.disagreement or self.pending:
            return None
        return self.selection.choice if self.route is None else self.route.transport

    def to_dict(self) -> dict[str, object]:
        """Returns JSON-ready values."""
        return {
            "publisher": self.publisher.to_dict(),
            "subscription": self.subscription.to_dict(),
            "matched": self.transport is not None,
            "disagreement": self.disagreement or None,
            "pending": self.pending or None,
            "transport": self.transport,
            "selected": self.selection.choice,
            "reasons": dict(self.selection.reasons),
            "route": None if self.route is None else self.route.to_dict(),
            "remarks": dict(zip(("publisher", "subscription"), self.remarks, strict=True)),
        }


def pairs_of(
    topic: TopicView, known: Sequence[TransportInfo] = (), message_bytes: int | None = None
) -> tuple[Pair, ...]:
    """Judges each pair of ends of a topic as their processes do.

    Args:
        topic: The topic, as the graph has it.
        known: Transports to give a reason for even if no process has announced them.
        message_bytes: Size of the messages, if it is known.
    """
    return tuple(_pair(topic, *ends, known, message_bytes) for ends in product(topic.publishers, topic.subscriptions))


def _pair(
    topic: TopicView,
    publisher: EndpointInfo,
    subscription: EndpointInfo,
    known: Sequence[TransportInfo],
    message_bytes: int | None,
) -> Pair:
    sender, receiver = topic.nodes[publisher.id], topic.nodes[subscription.id]
    same_host = (sender.host, sender.host_key) == (receiver.host, receiver.host_key)
    match = Match(publisher, subscription, same_host, message_bytes)
    route = _route(publisher, subscription, sender, receiver)
    unreachable = {} if route is None else route.unreachable
    selection = select(match, sender.transports, receiver.transports, known, unreachable)
    ends = (publisher, subscription)
    pair = Pair(*ends, disagreement(topic, *ends), selection, route, open_question(topic, *ends))
    return replace(pair, remarks=(_remark(sender, pair.transport), _remark(receiver, pair.transport)))


def _remark(node: NodeInfo, transport: str | None) -> str:
    return next((each.remark for each in node.transports if each.name == transport), "")


def _route(publisher: EndpointInfo, subscription: EndpointInfo, sender: NodeInfo, receiver: NodeInfo) -> Route | None:
    """What the two processes tell; of two accounts the later one."""
    told = [
        route
        for route in (*sender.routes, *receiver.routes)
        if (route.publisher_id, route.subscription_id) == (publisher.id, subscription.id)
    ]
    return max(told, key=lambda route: route.changed_at_ns, default=None)


def imagine(
    topic_name: str, offered: QoS, requested: QoS, places: tuple[Place, Place], message_bytes: int | None = None
) -> Pair:
    """Judges two ends that do not exist.

    Args:
        topic_name: The topic's absolute name.
        offered: The publisher's profile.
        requested: The subscription's profile.
        places: Where they are: the publisher, then the subscription.
        message_bytes: Size of the messages, if it is known.
    """
    sends, receives = places
    publisher, sender = _imagined_end("publisher", topic_name, offered, sends)
    subscription, receiver = _imagined_end("subscription", topic_name, requested, receives)
    nodes = {publisher.id: sender, subscription.id: receiver}
    return pairs_of(TopicView(topic_name, (publisher,), (subscription,), nodes=nodes), (), message_bytes)[0]


def _imagined_end(kind: EndpointKind, topic: str, qos: QoS, place: Place) -> tuple[EndpointInfo, NodeInfo]:
    identity = ("0" if kind == "publisher" else "1") * 32
    node = NodeInfo(f"imagined_{kind}", "/", 0, 0, (), place.host, place.key, place.transports)
    end = EndpointInfo(identity, kind, topic, "bytes", RAW_BYTES.hash, qos, node.full_name, 0, place.host)
    return end, replace(node, endpoints=(end,))


def transports_in_use(topic: TopicView) -> dict[str, list[str]]:
    """Tells for each endpoint of a topic, by id, over which transports it is matched."""
    found: dict[str, set[str]] = {end.id: set() for end in topic.endpoints}
    for pair in pairs_of(topic):
        if pair.transport is not None:
            found[pair.publisher.id].add(pair.transport)
            found[pair.subscription.id].add(pair.transport)
    return {identity: sorted(names) for identity, names in found.items()}
