"""Completion of topic and node names in the shell, from the graph as it is when the user presses Tab.

Completion must never print an error into the user's line, nor make them wait: whatever goes wrong, there is nothing to
offer.
"""

from __future__ import annotations

from collections.abc import Iterable

_TIMEOUT_S = 0.3
"""How long a peer that does not answer may hold up a completion."""


def complete_topics(incomplete: str) -> list[tuple[str, str]]:
    """Offers the topics that begin like this, each with its type.

    Args:
        incomplete: What the user has typed so far; without a leading `/` the offers have none either.
    """
    from lunar import graph_snapshot
    from lunar.cli.graph_view import view_topics
    from lunar.errors import LunarError

    try:
        topics = view_topics(graph_snapshot(timeout_s=_TIMEOUT_S))
    except (LunarError, OSError):
        return []
    return _matching(((topic.name, ", ".join(topic.type_names)) for topic in topics), incomplete)


def complete_nodes(incomplete: str) -> list[tuple[str, str]]:
    """Offers the nodes that begin like this, each with its process.

    Args:
        incomplete: What the user has typed so far; without a leading `/` the offers have none either.
    """
    from lunar import graph_snapshot
    from lunar.cli.graph_view import view_nodes
    from lunar.errors import LunarError

    try:
        nodes = view_nodes(graph_snapshot(timeout_s=_TIMEOUT_S))
    except (LunarError, OSError):
        return []
    return _matching(((node.full_name, f"pid {node.pid}") for node in nodes), incomplete)


def _matching(offers: Iterable[tuple[str, str]], incomplete: str) -> list[tuple[str, str]]:
    relative = bool(incomplete) and not incomplete.startswith("/")
    names = ((name.removeprefix("/") if relative else name, remark) for name, remark in offers)
    return [(name, remark) for name, remark in dict(names).items() if name.startswith(incomplete)]
