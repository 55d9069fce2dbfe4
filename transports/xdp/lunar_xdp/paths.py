"""The way to a remote address, as the kernel's routing has it: interface, source, next hop and its MAC address, MTU.

AF_XDP goes past the kernel's stack but not past its decisions. What it needs for a frame's header is asked for once a
peer. The next hop's MAC address is found out by the kernel alone, as for any other sender: an empty datagram to the
discard port (RFC 863) makes it ask, and the answer comes as an event (see `watching`). No entry is ever written into
its tables, so none can be left behind.

Sources: linux/rtnetlink.h, linux/neighbour.h.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from lunar.errors import LunarError
from lunar_xdp.links import Link, Links
from lunar_xdp.netlink import NetlinkSocket, attribute, number, read_attributes

__all__ = ["Neighbour", "Path", "Paths", "Route", "Unreachable", "parse_remote", "read_neighbour", "read_route"]

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_GET_ROUTE, _GET_NEIGHBOUR = 26, 30
_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # struct rtmsg; the third last is the type, the last the flags
_NEIGHBOUR: Final = struct.Struct("=B3xiHBB")  # struct ndmsg: family, index, state, flags, type
_DST, _OIF, _GATEWAY, _PREFSRC, _METRICS, _VIA, _ENCAP = 1, 4, 5, 7, 8, 18, 22
_METRIC_MTU: Final = 2
_UNICAST, _LOCAL = 1, 2
_TYPES: Final = {3: "a broadcast", 5: "a multicast group", 6: "a black hole", 7: "unreachable", 8: "prohibited"}
_NDA_DST, _NDA_LLADDR = 1, 2
# NUD_REACHABLE, STALE, DELAY, PROBE, PERMANENT: there is a MAC address, however old.
_NUD_KNOWN: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
_NUD_FAILED: Final = 0x20
_DISCARD_PORT: Final = 9


class Unreachable(LunarError):
    """There is no way to a remote address now.

    Attributes:
        remote: The address.
        reason: Why not, and what was tried.
    """

    def __init__(self, remote: str, reason: str) -> None:
        super().__init__(remote, reason)
        self.remote = remote
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.remote} cannot be reached: {self.reason}"


@dataclass(frozen=True, slots=True)
class Path:
    """The way to a remote address.

    Attributes:
        remote: The address.
        interface: The interface by which the kernel's routing sends there.
        index: Its number.
        source: The address that this host has there, in the kernel's opinion.
        next_hop: The address to which frames go: a router's, or the remote one itself.
        mac: The next hop's MAC address, 6 bytes; empty if it is not known yet or if there is none.
        resolving: The kernel does not know the MAC address yet.
        mtu: IP packets are no longer.
        device: The interface that AF_XDP has to use: of a VLAN interface the one below it.
        device_index: Its number.
        vlan: The id by which frames have to be tagged there, 0 for no tag.
        local: The address is this host's own.
    """

    remote: str
    interface: str
    index: int
    source: str
    next_hop: str
    mac: bytes
    resolving: bool
    mtu: int
    device: str
    device_index: int
    vlan: int = 0
    local: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """The kernel's answer to where an address is, or a route that came or went.

    Attributes:
        to: The addresses that it leads to.
        kind: Of RTN_UNICAST and so on.
        index: Of the interface, 0 if there is none.
        next_hop: A router's address, or None if there is none in between.
        source: The preferred address of this host, or None.
        mtu: What the route or an ICMP message says, else 0.
        tunnelled: Packets are wrapped on their way out (MPLS, SRv6 and the like).
    """

    to: ipaddress.IPv4Network | ipaddress.IPv6Network
    kind: int
    index: int
    next_hop: IpAddress | None
    source: IpAddress | None
    mtu: int
    tunnelled: bool


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An entry of the kernel's table of neighbours.

    Attributes:
        index: Of the interface.
        address: The neighbour's IP address.
        mac: Its MAC address; empty if it is not known.
        failed: It was asked for, and nobody answered.
    """

    index: int
    address: IpAddress
    mac: bytes
    failed: bool


def read_route(body: bytes) -> Route | None:
    """Reads the body of RTM_NEWROUTE or RTM_DELROUTE; None if it is none."""
    if len(body) < _ROUTE.size:
        return None
    family, length, _, _, _, _, _, kind, _ = _ROUTE.unpack_from(body)
    size = {socket.AF_INET: 4, socket.AF_INET6: 16}.get(family)
    found = read_attributes(body, _ROUTE.size)
    if size is None or length > 8 * size or len(to := found.get(_DST, bytes(size))) != size:
        return None
    via = found.get(_VIA, b"")[2:]  # IPv4 by an IPv6 router (RFC 5549): a family stands before the address
    return Route(
        ipaddress.IPv4Network((to, length), False) if size == 4 else ipaddress.IPv6Network((to, length), False),
        kind,
        number(found, _OIF),
        _address(found.get(_GATEWAY, via)),
        _address(found.get(_PREFSRC, b"")),
        number(read_attributes(found.get(_METRICS, b"")), _METRIC_MTU),
        _ENCAP in found,
    )


def read_neighbour(body: bytes) -> Neighbour | None:
    """Reads the body of RTM_NEWNEIGH or RTM_DELNEIGH; None if it is none, or of a bridge's table."""
    if len(body) < _NEIGHBOUR.size:
        return None
    family, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
    found = read_attributes(body, _NEIGHBOUR.size)
    address = _address(found.get(_NDA_DST, b""))
    if family not in (socket.AF_INET, socket.AF_INET6) or address is None:
        return None
    mac = found.get(_NDA_LLADDR, b"") if state & _NUD_KNOWN else b""
    return Neighbour(index, address, mac if len(mac) == 6 else b"", bool(state & _NUD_FAILED))


def _address(value: bytes) -> IpAddress | None:
    return ipaddress.ip_address(value) if len(value) in (4, 16) else None


class Paths:
    """Asks for ways, in the network namespace of the thread that makes it. Nothing here waits.

    Raises:
        OSError: The kernel refuses a socket.
    """

    def __init__(self) -> None:
        self._sockets = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            self.links = Links()
            stack.callback(self.links.close)
            self._netlink = NetlinkSocket()
            stack.callback(self._netlink.close)
            self._senders = {4: stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))}
            with contextlib.suppress(OSError):  # no IPv6 in this kernel
                self._senders[6] = stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
            for sender in self._senders.values():
                sender.setblocking(False)
            self._sockets = stack.pop_all()

    def look_up(self, remote: str, interface: str = "") -> Path:
        """Returns the way to an address as it is now; it may be still `resolving`.

        Args:
            remote: IPv4 or IPv6. A link-local address needs an interface.
            interface: Leave by this one; "" for the one that the kernel chooses.

        Raises:
            Unreachable: There is none.
            ValueError: That is no address.
        """
        address = parse_remote(remote)
        try:
            index = self.links.link(interface).index if interface else 0
            route = self._route(address, index)
            link = self.links.link(route.index)
            device, vlan = self.links.below(link)
        except OSError as error:
            by = f" by {interface}" if interface else ""
            raise Unreachable(remote, f"asking the kernel for a route{by}: {error.strerror}") from None
        _check(remote, route, link)
        next_hop = route.next_hop or address
        local = route.kind == _LOCAL
        neighbour = None if local or not link.resolves else self._neighbour(link.index, next_hop)
        mac = neighbour.mac if neighbour else b""
        return Path(
            remote=str(address),
            interface=link.name,
            index=link.index,
            source=str(route.source or ""),
            next_hop=str(next_hop),
            mac=mac,
            resolving=link.resolves and not local and not mac,
            mtu=min(route.mtu or link.mtu, link.mtu, 65535),
            device=device.name,
            device_index=device.index,
            vlan=vlan,
            local=local,
        )

    def resolve(self, path: Path) -> None:
        """Makes the kernel find out, or confirm, the MAC address of a path's next hop; returns at once.

        A datagram on its way to the remote address does that. It has no payload, and goes to the discard port.

        Raises:
            Unreachable: The kernel does not even try.
        """
        address = parse_remote(path.remote)
        sender = self._senders.get(address.version)
        try:
            if sender is None:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            # By number, so that it is the same interface though it be renamed. This option needs no privilege.
            if address.version == 4:
                sender.setsockopt(socket.IPPROTO_IP, 50, struct.pack("!I", path.index))  # IP_UNICAST_IF
                sender.sendto(b"", (path.remote, _DISCARD_PORT))
            else:
                sender.setsockopt(socket.IPPROTO_IPV6, 76, struct.pack("!I", path.index))  # IPV6_UNICAST_IF
                scope = path.index if address.is_link_local else 0
                sender.sendto(b"", (path.remote, _DISCARD_PORT, 0, scope))
        except BlockingIOError:
            return  # what fills its buffer waits for that very neighbour
        except OSError as error:
            reason = f"sending a datagram by {path.interface} to find out the MAC address of {path.next_hop}: "
            raise Unreachable(path.remote, reason + str(error.strerror)) from None

    def _route(self, address: IpAddress, index: int) -> Route:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        body = _ROUTE.pack(family, 8 * len(address.packed), 0, 0, 0, 0, 0, 0, 0) + attribute(_DST, address.packed)
        if index:
            body += attribute(_OIF, struct.pack("=I", index))
        route = read_route(self._netlink.ask(_GET_ROUTE, body).body)
        if route is None:
            raise OSError(errno.EBADMSG, "an answer that is no route")
        return route

    def _neighbour(self, index: int, address: IpAddress) -> Neighbour | None:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        body = _NEIGHBOUR.pack(family, index, 0, 0, 0) + attribute(_NDA_DST, address.packed)
        try:
            return read_neighbour(self._netlink.ask(_GET_NEIGHBOUR, body).body)
        except OSError:  # ENOENT: nobody has asked for it yet
            return None

    def close(self) -> None:
        """Closes its sockets; a second call does nothing."""
        self._sockets.close()


def parse_remote(remote: str) -> IpAddress:
    """Returns an address as `look_up` takes it; raises ValueError if it is none."""
    if "%" in remote:
        raise ValueError(f"{remote!r:.60} has a scope; name the interface instead")
    return ipaddress.ip_address(remote)


def _check(remote: str, route: Route, link: Link) -> None:
    if route.kind not in (_UNICAST, _LOCAL):
        raise Unreachable(remote, f"the kernel's routing says that it is {_TYPES.get(route.kind, 'no host')}")
    if route.tunnelled:
        raise Unreachable(remote, f"its route by {link.name} wraps packets, which is the kernel's alone to do")
    if not link.running:
        raise Unreachable(remote, f"{link.name} {'has no carrier' if link.up else 'is down'}")
