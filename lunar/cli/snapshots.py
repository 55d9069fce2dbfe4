"""Looks at the graph for a command, and says on stderr what could not be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lunar
from lunar.cli.graph_view import TopicView, view_topics
from lunar.cli.output import write_warning

if TYPE_CHECKING:
    from lunar.graph.descriptions import GraphSnapshot


def look_at_graph() -> GraphSnapshot:
    """Takes a snapshot of the graph, and warns of every process that did not answer."""
    snapshot = lunar.graph_snapshot()
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
    for topic in view_topics(look_at_graph(), hidden=True):
        if topic.name == name:
            return topic
    return TopicView(name, (), ())
