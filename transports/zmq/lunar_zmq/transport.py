"""The transport as the entry-point group `lunar.network_transports` finds it. Imports pyzmq only when used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from lunar import abc
from lunar.errors import TransportUnavailable
from lunar_zmq.settings import read_settings

if TYPE_CHECKING:
    from lunar_zmq.engine import ZmqEngine
    from lunar_zmq.keys import Keys

__all__ = ["Transport"]

LARGEST_MESSAGE_BYTES: Final = (1 << 32) - 1


class Transport(abc.NetworkTransport):
    """Streams over ZeroMQ: TCP between hosts, or Unix sockets."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Its name, "zmq"."""
        return "zmq"

    @property
    def capabilities(self) -> abc.Capabilities:
        """Between hosts, reliable, encrypted unless the configuration says otherwise."""
        return _with_encryption(True)

    def capabilities_under(self, settings: Mapping[str, object]) -> abc.Capabilities:
        """Encrypted only if CURVE is on."""
        return _with_encryption(read_settings(settings).curve)

    def probe(self) -> abc.Probe:
        """Looks whether pyzmq is here, and can encrypt."""
        try:
            import zmq
        except ImportError as error:
            return abc.Probe(False, f"pyzmq cannot be imported: {error}", "pip install 'lunar-mom[zmq]'")
        if zmq.zmq_version_info() < (4, 3) or not zmq.has("curve"):
            reason = f"libzmq {zmq.zmq_version()} is too old, or was built without CURVE"
            return abc.Probe(False, reason, "pip install 'pyzmq>=27', whose wheel brings a libzmq that has it")
        return abc.Probe(True)

    def open(self, site: abc.Site) -> ZmqEngine:
        """Starts to take part: binds a socket on the site's addresses."""
        settings = read_settings(site.settings)
        probe = self.probe()
        if not probe.ok:
            raise TransportUnavailable("zmq", probe.reason, probe.remedy)
        from lunar_zmq.engine import ZmqEngine

        return ZmqEngine(site, settings)

    def key_ring(self, settings: Mapping[str, object]) -> Keys:
        """Returns the CURVE keys of this user; see `lunar.abc.HasKeys`."""
        from lunar_zmq.keys import Keys

        return Keys(read_settings(settings))


def _with_encryption(encrypted: bool) -> abc.Capabilities:
    return abc.Capabilities(
        reach="network", reliable=True, largest_message_bytes=LARGEST_MESSAGE_BYTES, encrypted=encrypted
    )
