"""The transport as the entry-point group `lunar.network_transports` finds it. Imports what is native only when used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lunar import abc
from lunar_xdp.settings import LARGEST_MESSAGE_BYTES, read_settings

if TYPE_CHECKING:
    from lunar_xdp.engine import XdpEngine

__all__ = ["Transport"]


class Transport(abc.NetworkTransport):
    """Streams over AF_XDP, or over plain UDP where that cannot be."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Its name, "xdp"."""
        return "xdp"

    @property
    def capabilities(self) -> abc.Capabilities:
        """Between hosts, reliable, past the kernel's stack, not encrypted."""
        return _up_to(LARGEST_MESSAGE_BYTES)

    def capabilities_under(self, settings: Mapping[str, object]) -> abc.Capabilities:
        """Up to the size that the configuration says."""
        return _up_to(read_settings(settings).largest_message_bytes)

    def probe(self) -> abc.Probe:
        """UDP sockets are everywhere."""
        return abc.Probe(True)

    def open(self, site: abc.Site) -> XdpEngine:
        """Starts to take part: attaches to the first of the site's interfaces, or binds a socket."""
        from lunar_xdp.engine import XdpEngine

        return XdpEngine(site, read_settings(site.settings))


def _up_to(size_bytes: int) -> abc.Capabilities:
    return abc.Capabilities(reach="network", reliable=True, largest_message_bytes=size_bytes, kernel_bypass=True)
