"""What Lunar itself says of a run: over which transport two ends met, and why; and which losses it counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import lunar
from lunar.graph.descriptions import EndpointInfo, GraphSnapshot, NodeInfo
from lunar.selection import Match, Selection, select
from lunar_perf.meter import Meter
from lunar_perf.peer import NoMatch


@contextmanager
def matching(meter: Meter, topic: str) -> Iterator[None]:
    """Wait for a match within the block; at its end take down how the samples of the topic go.

    That is found out as `lunar explain` does it, from what both processes announce, and blocks for as long as a look at
    the graph takes: it belongs before what is measured.

    Args:
        meter: gets the transport and the reasons.
        topic: name of the topic that is waited for, without the leading slash.

    Raises:
        NoMatch: instead of a `lunar.TimeoutError`.
    """
    try:
        yield
    except lunar.TimeoutError as error:
        selection = _selection(topic)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in (selection.reasons if selection else {}).items())
        unseen = "the other side is not seen at all: run `lunar doctor` on both hosts"
        raise NoMatch(f"{error}; {reasons or unseen}") from error
    selection = _selection(topic)
    if selection is not None:
        meter.transport, meter.reasons = selection.choice or "", dict(selection.reasons)


def _selection(topic: str) -> Selection | None:
    """Of the first publisher and the first subscription of a topic; None if one of them is not seen."""
    graph = lunar.graph_snapshot()
    publisher, subscription = (_end(graph, kind, f"/{topic}") for kind in ("publisher", "subscription"))
    if publisher is None or subscription is None:
        return None
    (sender, sent), (receiver, received) = publisher, subscription
    same_host = (sender.host, sender.host_key) == (receiver.host, receiver.host_key)
    return select(Match(sent, received, same_host), sender.transports, receiver.transports)


def note_losses(meter: Meter, subscription: lunar.Subscription[memoryview]) -> None:
    """Take down what a subscription says that it lost, by cause; from its beginning, so the warm-up is in it."""
    counts = subscription.statistics()
    meter.lost_by_cause = {
        "overwritten": counts.lost_overwritten,
        "held": counts.lost_held,
        "expired": counts.lost_expired,
        "network": counts.lost_network,
        "invalid": counts.lost_invalid,
    }


def _end(graph: GraphSnapshot, kind: str, topic: str) -> tuple[NodeInfo, EndpointInfo] | None:
    found = ((node, end) for node in graph.nodes for end in node.endpoints if (end.kind, end.topic) == (kind, topic))
    return next(found, None)
