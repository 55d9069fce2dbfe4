"""Questions: which schemas of other hosts' types a look at the graph needs, and that they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lunar.graph.schemas import known_schema, version_key
from lunar.messages.types import RAW_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from lunar.graph.descriptions import EndpointInfo
    from lunar.graph.network.remote import RemoteProcess
    from lunar.graph.network.wants import Wants
    from lunar.graph.schemas import SchemaTexts

__all__ = ["ask_types"]


def ask_types(
    wants: Wants,
    processes: Sequence[RemoteProcess],
    here: Iterable[EndpointInfo],
    known: Sequence[SchemaTexts],
    topics: Collection[str] | None,
) -> set[str]:
    """Asks for the schemas that are not known of the types of some topics, and of those with versions of one type.

    Args:
        wants: Where they are asked for.
        processes: Those of other hosts.
        here: The endpoints on this host.
        known: What has been told so far, by anybody.
        topics: Names; None: all.

    Returns:
        The hashes of those that may still come soon.
    """
    ends = [*here, *(end for process in processes for end in process.endpoints.values())]
    versions: dict[tuple[str, str], set[str]] = {}
    for end in ends:
        versions.setdefault(_version_of(end), set()).add(end.type_hash)
    holders: dict[str, dict[RemoteProcess, None]] = {}
    for process in processes:
        for end in process.endpoints.values():
            if topics is None or end.topic in topics or len(versions[_version_of(end)]) > 1:
                holders.setdefault(end.type_hash, {})[process] = None
    holders.pop(RAW_BYTES.hash, None)
    awaited = set()
    for type_hash, those in holders.items():
        if known_schema(known, type_hash) is None:
            for process in those:  # all are named, one is asked
                wants.request(process, type_hash)
            if wants.is_pending(type_hash):
                awaited.add(type_hash)
    return awaited


def _version_of(end: EndpointInfo) -> tuple[str, str]:
    return end.topic, version_key(end.type_name)
