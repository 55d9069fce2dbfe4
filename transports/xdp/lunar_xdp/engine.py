"""XdpEngine: one process's end of the accelerated path: a port, the protocol over it, and who is where."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, cast

from lunar import abc
from lunar.errors import ClosedError, PeerFault, ResourceExhausted, TransportUnavailable, from_errno
from lunar_xdp import _xdp
from lunar_xdp.links import Links
from lunar_xdp.requirements import judge, look
from lunar_xdp.settings import Address, Backend, Endpoint, Settings, announce, read_address
from lunar_xdp.ways import Ways

__all__ = ["XdpEngine"]

# How long closing waits for what is on its way.
_LINGER_S: Final = 0.1
# Who was not heard, and has no streams here any more, counts as silent for so long. Within that time the kernel finds
# out whether the next hop is there: it asks after 5 s, three times.
_SILENT_S: Final = 9.0


class XdpEngine(abc.Engine):
    """All streams of one process in one domain.

    Args:
        site: The process and its network.
        settings: What the configuration says.

    Attributes:
        backend: What carries the datagrams.
        fallen_back: Why it is not AF_XDP though that would do; "" if it is, or was not wanted.

    Raises:
        TransportUnavailable: AF_XDP is wanted, and cannot be had.
        ResourceExhausted: A limit was reached; nothing was started.
    """

    def __init__(self, site: abc.Site, settings: Settings) -> None:
        self._me = bytes.fromhex(site.participant_id)
        self._interface, self._ip = site.interfaces[0], ipaddress.ip_address(site.addresses[0])
        self._key = secrets.token_bytes(16)
        self._epoch = int.from_bytes(secrets.token_bytes(8), "little")
        self._ends: dict[str, list[_xdp.Outgoing | _xdp.Incoming]] = {}
        self._silent_since_s: dict[str, float] = {}
        self._closed = False
        self.fallen_back = ""
        self._reserved: socket.socket | None = None
        self._port, self.backend = self._open_port(settings)
        try:
            self._mtu = _mtu_of(self._interface)
            self._native = _xdp.Engine(
                self._port, self._key, window=settings.window, message_bytes=settings.largest_message_bytes
            )
        except BaseException:
            self._port.close()
            self._release_number()
            raise
        try:
            self._ways = Ways(self._native, self._interface if self.backend == "af_xdp" else "", self._mtu)
        except OSError as error:
            self._native.close()
            self._release_number()
            raise from_errno(-(error.errno or 5), "opening a netlink socket") from error

    def _open_port(self, settings: Settings) -> tuple[_xdp.Port, Backend]:
        if settings.backend != "udp":
            try:
                return self._open_xsk(settings), "af_xdp"
            except OSError as error:
                self._release_number()
                if settings.backend == "af_xdp":
                    why = self._why_not(settings, error.strerror or str(error))
                    raise TransportUnavailable("xdp", why, 'set backend = "auto"') from error
                self.fallen_back = self._why_not(settings, error.strerror or str(error))
        try:
            return _xdp.open_socket(self._ip.packed, settings.port), "udp"
        except OSError as error:
            raise from_errno(-(error.errno or 5), f"binding a UDP socket to {self._ip}") from error

    def _why_not(self, settings: Settings, refusal: str) -> str:
        """What is missing and what to do about it; if nothing is found, what was refused."""
        links = Links()
        try:
            device = links.device(self._interface)
        except OSError:
            return refusal
        finally:
            links.close()
        missing = judge(replace(settings, backend="auto"), look(), device, self._interface).shortfalls
        return f"{refusal}: {'. '.join(map(str, missing))}" if missing else refusal

    def _open_xsk(self, settings: Settings) -> _xdp.Port:
        # It takes what comes for that number before the kernel sees it; this keeps others from getting it.
        self._reserved = socket.socket(socket.AF_INET if self._ip.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        self._reserved.bind((str(self._ip), settings.port))
        number = cast("int", self._reserved.getsockname()[1])
        return _xdp.open_xsk(
            socket.if_nametoindex(self._interface),
            number,
            ipv4=self._ip.packed if self._ip.version == 4 else b"",
            ipv6=self._ip.packed if self._ip.version == 6 else b"",
            mode=settings.mode,
        )

    def _release_number(self) -> None:
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    # What others see

    @property
    def address(self) -> Mapping[str, object]:
        """Where it receives, its key and epoch."""
        endpoint = Endpoint(str(self._ip), self._port.number, self._mtu, self.backend)
        return announce(Address(self._epoch, self._key, (endpoint,)))

    @property
    def remark(self) -> str:
        """Why it goes over sockets, if it does and was not told to."""
        return f"over UDP sockets, since {self.fallen_back}" if self.fallen_back else ""

    @property
    def native(self) -> object:
        """By which who waits works it without Python."""
        return self._native.native

    def fileno(self) -> int:
        """Readable when something has come or is due."""
        return self._native.fileno()

    def work(self) -> float | None:
        """Takes in and sends, and follows ways that change. What else is due later makes the descriptor readable."""
        return self._ways.follow() if self._native.work() else self._ways.retry()

    def statistics(self) -> dict[str, int]:
        """What the protocol, the port and the filter have counted, by name."""
        return {**self._native.statistics(), **self._port.counters()}

    # Streams

    def open_outgoing(self, stream: abc.Stream, handler: abc.OutgoingHandler) -> abc.Outgoing:
        """Opens the sending end of a stream."""
        address = self._read(stream)
        publisher, remote = bytes.fromhex(stream.publisher_id), bytes.fromhex(stream.remote_id)
        try:
            end = self._native.open_outgoing(
                publisher, remote, stream.reliable, self._destination(address, stream), handler
            )
        except OSError as error:
            raise _failure(error) from error
        self._ends.setdefault(stream.remote_id, []).append(end)
        return cast("abc.Outgoing", end)

    def open_incoming(self, stream: abc.Stream, handler: abc.IncomingHandler) -> abc.Incoming:
        """Opens the receiving end of a stream."""
        address = self._read(stream)
        publisher, destination = bytes.fromhex(stream.publisher_id), self._destination(address, stream)
        try:
            end = self._native.open_incoming(publisher, self._me, stream.reliable, address.key, destination, handler)
        except OSError as error:
            raise _failure(error) from error
        self._ends.setdefault(stream.remote_id, []).append(end)
        return cast("abc.Incoming", end)

    def _read(self, stream: abc.Stream) -> Address:
        if self._closed:
            raise ClosedError("the engine is closed")
        return read_address(stream.address)

    def _destination(self, address: Address, stream: abc.Stream) -> _xdp.Destination:
        for endpoint in address.endpoints:
            ip = ipaddress.ip_address(endpoint.address)
            if ip.version == self._ip.version:
                break
        else:
            raise PeerFault(f"it has no IPv{self._ip.version} address")
        return self._ways.to(endpoint.address, (endpoint.port, endpoint.mtu, stream.qos.priority), stream.remote_id)

    def cut_off_s(self, remote_id: str) -> float:
        """How long there has been no way to that process, or nothing was heard of it though something should."""
        now_s = time.monotonic()
        since_s = [self._ways.lost_since_s(remote_id), self._silent_at_s(remote_id, now_s)]
        return max((max(now_s - at_s, 1e-9) for at_s in since_s if at_s is not None), default=0.0)

    def _silent_at_s(self, remote_id: str, now_s: float) -> float | None:
        ends = [end for end in self._ends.get(remote_id, ()) if isinstance(end, _xdp.Outgoing) and end.is_open]
        silent = any(end.is_cut_off for end in ends)
        if silent and remote_id not in self._silent_since_s:
            self._silent_since_s[remote_id] = now_s
            self._ways.doubt(remote_id)
        # Streams that went elsewhere say nothing any more; it is not taken to be there again just for that.
        since_s = self._silent_since_s.get(remote_id)
        if since_s is not None and not silent and (ends or now_s - since_s > _SILENT_S):
            del self._silent_since_s[remote_id]
            return None
        return since_s

    def forget(self, remote_id: str) -> None:
        """Closes what is left of its streams."""
        self._silent_since_s.pop(remote_id, None)
        for end in self._ends.pop(remote_id, ()):
            end.close()
        self._ways.forget(remote_id)

    # The end

    def close(self) -> None:
        """Closes everything, after what is on its way was acknowledged, 100 ms at most."""
        if self._closed:
            return
        self._closed = True
        until_s = time.monotonic() + _LINGER_S
        with contextlib.suppress(OSError):
            while self._has_unacknowledged() and time.monotonic() < until_s:
                self._native.work()
        for ends in self._ends.values():
            for end in ends:
                end.close()
        self._ends.clear()
        self._native.close()
        self._ways.close()
        self._release_number()

    def _has_unacknowledged(self) -> bool:
        return any(
            isinstance(end, _xdp.Outgoing) and end.unacknowledged for ends in self._ends.values() for end in ends
        )

    def close_after_fork(self) -> None:
        """In a child process: closes its copies of the descriptors."""
        if not self._closed:
            self._closed = True
            self._native.abandon()
            self._ways.close()
            self._release_number()


def _mtu_of(interface: str) -> int:
    links = Links()
    try:
        return min(links.link(interface).mtu, 65535)
    finally:
        links.close()


def _failure(error: OSError) -> Exception:
    import errno

    if error.errno == errno.EINVAL:
        return PeerFault("its MTU is too small")
    return ResourceExhausted(f"opening a stream: {error}", "use fewer streams")


abc.Outgoing.register(_xdp.Outgoing)
abc.Incoming.register(_xdp.Incoming)
