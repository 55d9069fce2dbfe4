"""The transports that are installed, found by their entry points; one that is broken is told of, never fatal."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lunar.abc import NetworkTransport
from lunar.errors import ConfigError, PeerFault
from lunar.graph.transports import TransportInfo, printable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from lunar.abc import Capabilities, Transport

_GROUPS = ("lunar.transports", "lunar.network_transports")


def transport_entries() -> list[EntryPoint]:
    """Lists the entry points of all transports, those within a host first; the first of each name."""
    found: dict[str, EntryPoint] = {}
    for group in _GROUPS:
        for entry in sorted(importlib.metadata.entry_points(group=group), key=lambda entry: entry.name):
            found.setdefault(entry.name, entry)
    return list(found.values())


def installed_transports(settings: Mapping[str, Mapping[str, object]] | None = None) -> list[TransportInfo]:
    """Tells what each installed transport can do and whether it can run here, as a process here would announce it.

    Args:
        settings: What the configuration says for each, by name.
    """
    return [_inspect(entry, (settings or {}).get(entry.name, {})) for entry in transport_entries()]


def _inspect(entry: EntryPoint, settings: Mapping[str, object]) -> TransportInfo:
    try:
        transport: Transport | NetworkTransport = entry.load()()
        probe = transport.probe()
        missing = "" if probe.ok else f"{probe.reason}; remedy: {probe.remedy}"
        can = _capabilities(transport, settings)
        described = TransportInfo(entry.name, can, printable(missing))
        # By the rules that hold for what a peer tells: what does not pass them could not be announced either.
        return TransportInfo.from_dict(described.to_dict())
    except ConfigError as error:
        return TransportInfo(entry.name, None, printable(f"its settings are wrong: {error}"))
    except PeerFault as error:
        return TransportInfo(entry.name, None, printable(f"{entry.value} is broken: {error.reason}"))
    except Exception as error:  # noqa: BLE001 - anybody may have written it
        return TransportInfo(entry.name, None, printable(f"{entry.value} is broken: {type(error).__name__}: {error}"))


def _capabilities(transport: Transport | NetworkTransport, settings: Mapping[str, object]) -> Capabilities:
    return transport.capabilities_under(settings) if isinstance(transport, NetworkTransport) else transport.capabilities
