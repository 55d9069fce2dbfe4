"""Completion of names in the shell: topics, nodes, hosts and types from the graph as it is when the user presses Tab.

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
        found += graph_types(graph_snapshot(timeout_s=_TIMEOUT_S, types_of=None))
    offers = [(each.name, each.origin) for each in found if each.is_message]
    if incomplete and "." not in incomplete:
        offers += [(name.rpartition(".")[2], f"{name} of {origin}") for name, origin in offers]
    files = [(path, "schema file") for path in sorted(glob(f"{escape(incomplete)}*.fbs"))]
    return [(name, remark) for name, remark in dict(offers + files).items() if name.startswith(incomplete)]


def complete_transports(incomplete: str) -> list[tuple[str, str]]:
    """Offers the installed transports that begin like this."""
    from lunar.cli.installed import transport_entries

    return [(entry.name, entry.value) for entry in transport_entries() if entry.name.startswith(incomplete)]


def complete_hosts(incomplete: str) -> list[tuple[str, str]]:
    """Offers what `--between` takes: the two places, and the hosts of the graph."""
    from lunar.cli.places import HERE

    offers = [("host", "both on one host"), ("network", "on two hosts like this one"), (HERE, "this host")]
    offers += _other_hosts()
    return [(name, remark) for name, remark in dict(offers).items() if name.startswith(incomplete)]


def complete_remotes(incomplete: str) -> list[tuple[str, str]]:
    """Offers other hosts: those of the graph, and those that the settings name."""
    from contextlib import suppress

    from lunar.config import Config
    from lunar.errors import LunarError

    offers = _other_hosts()
    with suppress(LunarError, OSError):
        offers += [(peer, "peer") for peer in Config.from_environment().peers]
    return [(name, remark) for name, remark in dict(offers).items() if name.startswith(incomplete)]


def _other_hosts() -> list[tuple[str, str]]:
    from lunar import graph_snapshot
    from lunar.errors import LunarError

    try:
        return [(node.host, "host") for node in graph_snapshot(timeout_s=_TIMEOUT_S).nodes if node.host]
    except (LunarError, OSError):
        return []


def complete_qos(incomplete: str) -> list[tuple[str, str]]:
    """Offers presets and fields of a profile, for the part after the last comma."""
    from lunar.qos import PRESETS, QoS

    before, comma, last = incomplete.rpartition(",")
    offers = [(name, "preset") for name in PRESETS] + [(f"{name}=", "field") for name in QoS().to_dict()]
    return [(f"{before}{comma}{name}", remark) for name, remark in offers if name.startswith(last)]


def complete_key_transports(incomplete: str) -> list[str]:
    """Offers the transports that have keys."""
    from lunar.cli.key_listing import key_rings
    from lunar.errors import LunarError

    try:
        return [name for name in sorted(key_rings()) if name.startswith(incomplete)]
    except (LunarError, OSError):
        return []


def _matching(offers: Iterable[tuple[str, str]], incomplete: str) -> list[tuple[str, str]]:
    relative = bool(incomplete) and not incomplete.startswith("/")
    names = ((name.removeprefix("/") if relative else name, remark) for name, remark in offers)
    return [(name, remark) for name, remark in dict(names).items() if name.startswith(incomplete)]
