"""Looks at the graph for a command, and says on stderr what could not be seen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import lunar
from lunar.cli.graph_view import TopicView, view_topics
from lunar.cli.output import write_warning

if TYPE_CHECKING:
    from collections.abc import Collection

    from lunar.graph.descriptions import GraphSnapshot

_LOOK_EVERY_S = 0.1
"""How often the graph is looked at while somebody is waited for; our node is there, so it costs no connection."""


def look_at_graph(types_of: Collection[str] | None = ()) -> GraphSnapshot:
    """Takes a snapshot of the graph, and warns of every process that did not answer.

    Args:
        types_of: See `lunar.graph_snapshot`.
    """
    snapshot = lunar.graph_snapshot(types_of=types_of)
    for reason in snapshot.unreachable:
        write_warning(f"not all is shown: {reason}")
    return snapshot


def look_at_topic(name: str) -> TopicView:
    """Looks at one topic.

    Args:
        name: Its absolute name.

    Returns:
        The topic; without endpoints if there is none of that name.
    """
    return _topic(look_at_graph((name,)), name)


async def wait_for_publisher(name: str) -> TopicView:
    """Looks at one topic until somebody publishes on it. Does not block the loop.

    Args:
        name: Its absolute name.

    Returns:
        The topic, with a publisher.
    """
    while True:
        # An endpoint of ours would hear of a publisher at once, but without its type there cannot be one: it would be
        # told of a mismatch, and so would the user of the publisher.
        topic = _topic(await asyncio.to_thread(lunar.graph_snapshot, types_of=(name,)), name)
        if topic.publishers:
            return topic
        await asyncio.sleep(_LOOK_EVERY_S)


def _topic(snapshot: GraphSnapshot, name: str) -> TopicView:
    for topic in view_topics(snapshot, hidden=True):
        if topic.name == name:
            return topic
    return TopicView(name, (), ())
