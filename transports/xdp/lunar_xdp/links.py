"""What this host's interfaces offer: asked for by netlink, and by ethtool's ioctls what netlink does not tell.

Nothing is read from /sys/class/net: that belongs to the network namespace in which it was mounted, which need not be
the one that counts.

Sources: linux/if_link.h, linux/netdev.h, linux/ethtool.h.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import socket
import struct
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from lunar_xdp.netlink import GENERIC, NetlinkSocket, attribute, number, read_attributes

__all__ = ["Device", "Link", "Links", "Program", "read_link"]

ProgramMode: TypeAlias = Literal["native", "generic", "offloaded"]

GET_LINK: Final = 18
INFO: Final = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_UP, _LOOPBACK, _RUNNING, _NOARP = 0x1, 0x8, 0x40, 0x80
_ETHERNET: Final = 1
_ETH_P_8021Q: Final = 0x8100

# IFLA_...
_ADDRESS, _NAME, _MTU, _LINK, _LINKINFO, _RX_QUEUES, _LINK_NETNSID, _XDP = 1, 3, 4, 5, 18, 32, 37, 43
_INFO_KIND, _INFO_DATA = 1, 2
_VLAN_ID, _VLAN_PROTOCOL = 1, 5
# IFLA_XDP_ATTACHED says how; with several programs, each of them has an attribute of its own.
_XDP_ATTACHED, _XDP_PROGRAM = 2, 4
_XDP_MODES: Final[dict[int, ProgramMode]] = {1: "native", 2: "generic", 3: "offloaded"}
_XDP_PROGRAMS: Final[dict[int, ProgramMode]] = {5: "native", 6: "generic", 7: "offloaded"}

_SIOCETHTOOL: Final = 0x8946
_GET_DRIVER, _GET_CHANNELS = 0x3, 0x3C

_CONTROL_FAMILY, _GET_FAMILY, _FAMILY_ID, _FAMILY_NAME = 16, 3, 1, 2
_GET_DEVICE, _IFINDEX, _XDP_FEATURES = 1, 1, 3
# enum netdev_xdp_act
_BASIC, _REDIRECT, _ZERO_COPY, _SEGMENTS = 0x1, 0x2, 0x8, 0x20


@dataclass(frozen=True, slots=True)
class Program:
    """An XDP program on an interface.

    Attributes:
        id: The kernel's number for it, which `bpftool prog show id` takes.
        mode: How it is attached.
    """

    id: int
    mode: ProgramMode


@dataclass(frozen=True, slots=True)
class Link:
    """An interface, as one netlink message has it.

    Attributes:
        name: Its name.
        index: Its number, which stays when it is renamed.
        mac: Its MAC address, 6 bytes; empty if it is not Ethernet.
        mtu: The longest IP packet that it takes.
        up: It was set up.
        running: It was set up and has a carrier.
        loopback: It leads nowhere else.
        resolves: Next hops have MAC addresses there, which have to be found out.
        kind: Of one that the kernel makes, such as "veth", "vlan" or "bridge"; "" for a network card.
        vlan: Of a VLAN interface, the id by which its frames are tagged (802.1Q), else 0.
        parent: Of a VLAN interface, the index of the one that its frames leave by, else 0. 0 as well if that one is in
            another network namespace.
        programs: The XDP programs on it.
        queues: Receive queues that it was made with.
    """

    name: str
    index: int
    mac: bytes
    mtu: int
    up: bool
    running: bool
    loopback: bool
    resolves: bool
    kind: str
    vlan: int
    parent: int
    programs: tuple[Program, ...]
    queues: int


@dataclass(frozen=True, slots=True)
class Device:
    """What AF_XDP finds where an interface's frames leave.

    Attributes:
        link: That interface: of a VLAN interface the one below it.
        vlan: The id by which frames are tagged, 0 for no tag.
        driver: Name of its driver, "" if it does not tell.
        rx_queues: Receive queues in use.
        native: Whether its driver runs XDP programs that redirect; None if the kernel (before 6.3) does not tell.
        zero_copy: Whether its driver puts frames into AF_XDP's memory itself; likewise.
        multi_buffer: Whether a program may take frames that are longer than one buffer; likewise.
    """

    link: Link
    vlan: int
    driver: str
    rx_queues: int
    native: bool | None
    zero_copy: bool | None
    multi_buffer: bool | None


def read_link(body: bytes) -> Link | None:
    """Reads the body of RTM_NEWLINK or RTM_DELLINK; None if it is none, or of a bridge's view of its port."""
    if len(body) < INFO.size:
        return None
    family, hardware, index, flags, _ = INFO.unpack_from(body)
    if family != socket.AF_UNSPEC:
        return None
    found = read_attributes(body, INFO.size)
    ethernet = hardware == _ETHERNET
    vlan, parent = _tag(found)
    kind = read_attributes(found.get(_LINKINFO, b"")).get(_INFO_KIND, b"")
    return Link(
        name=_text(found.get(_NAME, b"")),
        index=index,
        mac=found.get(_ADDRESS, b"")[:6] if ethernet else b"",
        mtu=number(found, _MTU),
        up=bool(flags & _UP),
        running=bool(flags & _UP and flags & _RUNNING),
        loopback=bool(flags & _LOOPBACK),
        resolves=ethernet and not flags & _NOARP,
        kind=_text(kind),
        vlan=vlan,
        parent=parent,
        programs=_programs(read_attributes(found.get(_XDP, b""))),
        queues=number(found, _RX_QUEUES, 1),
    )


def _tag(found: dict[int, bytes]) -> tuple[int, int]:
    info = read_attributes(found.get(_LINKINFO, b""))
    data = read_attributes(info.get(_INFO_DATA, b""))
    if _text(info.get(_INFO_KIND, b"")) != "vlan" or _LINK_NETNSID in found:
        return 0, 0
    # Only tags of customers' networks: a provider's (802.1ad) would be another Ethernet type.
    if int.from_bytes(data.get(_VLAN_PROTOCOL, b"\x81\x00")) != _ETH_P_8021Q:
        return 0, 0
    return number(data, _VLAN_ID), number(found, _LINK)


def _programs(found: dict[int, bytes]) -> tuple[Program, ...]:
    several = tuple(Program(number(found, kind), mode) for kind, mode in _XDP_PROGRAMS.items() if kind in found)
    mode = _XDP_MODES.get(number(found, _XDP_ATTACHED))
    if several or mode is None:
        return several
    return (Program(number(found, _XDP_PROGRAM), mode),)


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode(errors="replace")


class Links:
    """Asks about the interfaces of the network namespace of the thread that makes it.

    Raises:
        OSError: The kernel refuses a socket.
    """

    def __init__(self) -> None:
        self._netlink = NetlinkSocket()
        self._generic: NetlinkSocket | None = None
        with contextlib.suppress(OSError):  # a kernel without it, which does not tell what drivers do
            self._generic = NetlinkSocket(GENERIC)
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def link(self, which: str | int) -> Link:
        """Returns an interface as it is now.

        Args:
            which: Its name or index.

        Raises:
            OSError: There is none (ENODEV).
        """
        index = which if isinstance(which, int) else 0
        if isinstance(which, str) and not 0 < len(which.encode()) < 16:  # IFNAMSIZ
            raise OSError(errno.ENODEV, f"no interface can have the name {which!r:.40}")
        name = attribute(_NAME, which.encode() + b"\0") if isinstance(which, str) else b""
        answer = self._netlink.ask(GET_LINK, INFO.pack(socket.AF_UNSPEC, 0, index, 0, 0) + name)
        link = read_link(answer.body)
        if link is None:
            raise OSError(errno.EBADMSG, f"the kernel's answer about interface {which}")
        return link

    def below(self, link: Link) -> tuple[Link, int]:
        """Returns the interface by which a link's frames leave and how they are tagged: itself and 0 but for VLANs.

        A VLAN within a VLAN would need two tags, so nothing is below that one. Raises as `link`.
        """
        if not link.parent:
            return link, 0
        parent = self.link(link.parent)
        return (link, 0) if parent.kind == "vlan" else (parent, link.vlan)

    def device(self, which: str | int) -> Device:
        """Returns what AF_XDP finds where an interface's frames leave; raises as `link`."""
        link, vlan = self.below(self.link(which))
        features = self._features(link)
        if features is None:
            native = zero_copy = multi_buffer = None
        else:
            native = features & (_BASIC | _REDIRECT) == _BASIC | _REDIRECT
            zero_copy, multi_buffer = bool(features & _ZERO_COPY), bool(features & _SEGMENTS)
        driver = self._ethtool(link, _GET_DRIVER, 196)
        channels = self._ethtool(link, _GET_CHANNELS, 36)
        queues = link.queues
        if channels is not None:
            # Four limits, then what is in use: receive, transmit, other, and combined of both directions.
            _, _, _, _, _, receive, _, _, combined = struct.unpack("=9I", channels)
            queues = receive + combined or queues
        return Device(link, vlan, _text(driver[4:36]) if driver else "", queues, native, zero_copy, multi_buffer)

    def _features(self, link: Link) -> int | None:
        if self._generic is None:
            return None
        try:
            body = struct.pack("=BBH", _GET_FAMILY, 1, 0) + attribute(_FAMILY_NAME, b"netdev\0")
            family = number(read_attributes(self._generic.ask(_CONTROL_FAMILY, body).body, 4), _FAMILY_ID)
            body = struct.pack("=BBH", _GET_DEVICE, 1, 0) + attribute(_IFINDEX, struct.pack("=I", link.index))
            found = read_attributes(self._generic.ask(family, body).body, 4)
        except OSError:  # the kernel has no such family yet
            return None
        return number(found, _XDP_FEATURES) if _XDP_FEATURES in found else None

    def _ethtool(self, link: Link, command: int, size: int) -> bytes | None:
        """Asks the driver; None if it has no answer."""
        value = array.array("B", struct.pack("=I", command) + bytes(size - 4))
        request = struct.pack("16sP16x", link.name.encode(), value.buffer_info()[0])
        try:
            fcntl.ioctl(self._control, _SIOCETHTOOL, request)
        except OSError:
            return None
        return value.tobytes()

    def close(self) -> None:
        """Closes its sockets; a second call does nothing."""
        self._netlink.close()
        self._control.close()
        if self._generic is not None:
            self._generic.close()
