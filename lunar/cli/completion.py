"""Completion of topic, node and type names in the shell, from the graph as it is when the user presses Tab.

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


def complete_types(incomplete: str) -> list[tuple[str, str]]:
    """Offers the message types that begin like this, by full or last name, and schema files; each with its origin."""
    from contextlib import suppress
    from glob import escape, glob

    from lunar import graph_snapshot
    from lunar.cli.type_lookup import graph_types, standard_types
    from lunar.errors import LunarError

    found = [*standard_types().values()]
    with suppress(LunarError, OSError):
        found += graph_types(graph_snapshot(timeout_s=_TIMEOUT_S))
    offers = [(each.name, each.origin) for each in found if each.is_message]
    if incomplete and "." not in incomplete:
        offers += [(name.rpartition(".")[2], f"{name} of {origin}") for name, origin in offers]
    files = [(path, "schema file") for path in sorted(glob(f"{escape(incomplete)}*.fbs"))]
    return [(name, remark) for name, remark in dict(offers + files).items() if name.startswith(incomplete)]


def _matching(offers: Iterable[tuple[str, str]], incomplete: str) -> list[tuple[str, str]]:
    relative = bool(incomplete) and not incomplete.startswith("/")
    names = ((name.removeprefix("/") if relative else name, remark) for name, remark in offers)
    return [(name, remark) for name, remark in dict(names).items() if name.startswith(incomplete)]
