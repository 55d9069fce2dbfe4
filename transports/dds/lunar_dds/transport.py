"""The transport as the entry-point group `lunar.network_transports` finds it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

from lunar import abc
from lunar.errors import ConfigError, TransportUnavailable
from lunar_dds.cyclone import library
from lunar_dds.domains import DEFAULT_LEASE_S, Setup
from lunar_dds.engine import Engine

__all__ = ["Transport"]

_SETTINGS: Final = ("lease_s", "multicast", "peers")


class Transport(abc.NetworkTransport):
    """Cyclone DDS: RTPS over UDP, multicast where the network has it.

    Settings: "peers", a list of addresses to look for others at; "multicast", whether to use it; "lease_s", how long
    after its last sign of life a process is taken for gone. Without any the engine takes part as discovery does.
    """

    __slots__ = ()

    @property
    def name(self) -> str:
        """Its name, "dds"."""
        return "dds"

    @property
    def capabilities(self) -> abc.Capabilities:
        """Reliable, with copies; one transmission serves many processes."""
        return abc.Capabilities(reach="network", reliable=True, multicast=True, largest_message_bytes=2**30)

    def probe(self) -> abc.Probe:
        """Loads the library."""
        try:
            library()
        except TransportUnavailable as error:
            return abc.Probe(False, error.reason, error.remedy)
        return abc.Probe(True)

    def open(self, site: abc.Site) -> Engine:
        """Starts to take part, as soon as there is a stream."""
        library()
        settings = site.settings
        for name in settings:
            if name not in _SETTINGS:
                raise ConfigError(f"dds.{name}", settings[name], f"no such setting; there are {', '.join(_SETTINGS)}")
        setup = None
        if "peers" in settings or "multicast" in settings:
            setup = Setup(site.addresses, _peers(settings), _multicast(settings))
        return Engine(site, setup, _lease_s(settings))


def _peers(settings: Mapping[str, object]) -> tuple[str, ...]:
    given = settings.get("peers", ())
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError("dds.peers", given, "a list of IP addresses")
    for each in given:
        try:
            ipaddress.ip_address(each)
        except ValueError as error:
            raise ConfigError("dds.peers", given, "a list of IP addresses") from error
    return tuple(given)


def _multicast(settings: Mapping[str, object]) -> bool:
    given = settings.get("multicast", True)
    if not isinstance(given, bool):
        raise ConfigError("dds.multicast", given, "true or false")
    return given


def _lease_s(settings: Mapping[str, object]) -> float:
    given = settings.get("lease_s", DEFAULT_LEASE_S)
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0.1 <= given <= 3600:
        raise ConfigError("dds.lease_s", given, "seconds from 0.1 to 3600")
    return float(given)
