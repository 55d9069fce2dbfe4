"""Where imagined ends are: hosts of the graph by name, or hosts like this one."""

from __future__ import annotations

import difflib
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lunar.cli.graph_view import host_name
from lunar.errors import LunarError
from lunar.graph.transports import TransportInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lunar.graph.descriptions import NodeInfo

HERE = "here"
PLACES = ("host", "network")


@dataclass(frozen=True)
class Place:
    """A host, and what a process on it can carry samples with.

    Attributes:
        host: Its name for people, "" for this one.
        key: What tells it from all others.
        transports: As its processes announce them.
    """

    host: str
    key: str
    transports: tuple[TransportInfo, ...]


def what_is_here(own: Iterable[TransportInfo], installed: Iterable[TransportInfo]) -> list[TransportInfo]:
    """What a process of this host could use.

    Args:
        own: What this process itself has announced: it has tried, with the settings of its environment.
        installed: What could be tried if its range were the network.
    """
    tried = {info.name: info for info in own}
    return [*tried.values(), *(info for info in installed if info.name not in tried)]


def like_here(place: str, here: Sequence[TransportInfo]) -> tuple[Place, Place]:
    """Makes up two places with the transports of this one: on one host, or on two ("network")."""
    first = Place("", "", tuple(here))
    return first, first if place == "host" else Place("another host", "another", first.transports)


def find_place(name: str, nodes: Iterable[NodeInfo], here: Sequence[TransportInfo]) -> Place:
    """Finds a host of the graph.

    Args:
        name: Its name, the beginning of its key where several have that name, or "here".
        nodes: The nodes of the graph.
        here: The transports of this host.

    Raises:
        LunarError: No node is on such a host, or several hosts are called so.
    """
    places = {"": Place("", "", tuple(here))}
    for node in nodes:
        if node.host_key or node.host:
            key = node.host_key or node.host
            known = places.get(key)
            places[key] = Place(node.host, key, _either(known.transports if known else (), node.transports))
    found = [place for place in places.values() if _is_called(place, name)]
    if not found:
        near = difflib.get_close_matches(name, [HERE, *(place.host for place in places.values())], n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise LunarError(f"no node is on a host {name}{hint}")
    if len(found) > 1:
        names = ", ".join(place.key[:12] or HERE for place in found)
        raise LunarError(f"{len(found)} hosts are called {name}; say which: {names}")
    return found[0]


def _is_called(place: Place, name: str) -> bool:
    if not place.key:
        return name in (HERE, socket.gethostname(), host_name(""))
    return place.host == name or (len(name) >= 4 and place.key.startswith(name))


def _either(one: Iterable[TransportInfo], two: Iterable[TransportInfo]) -> tuple[TransportInfo, ...]:
    """What one process or another on a host can use."""
    found = {info.name: info for info in one}
    for info in two:
        if info.name not in found or found[info.name].missing:
            found[info.name] = info
    return tuple(found.values())
