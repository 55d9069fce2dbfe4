"""The cables of a lab: bridges, veth pairs and addresses, by netlink (pyroute2), and what is off on a device.

Every function acts in the network namespace of the thread that calls it; see `namespaces.call_in`.
"""

from __future__ import annotations

import array
import fcntl
import ipaddress
import socket
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lunar import errors
from lunar.testing import namespaces

if TYPE_CHECKING:
    from pyroute2 import IPRoute

__all__ = [
    "add_address",
    "add_bridge",
    "add_cable",
    "add_multicast_route",
    "enslave",
    "mtu_of",
    "remove_link",
    "send_whole_frames",
    "set_mtu",
    "set_up",
    "skip_address_probing",
    "wait_until_up",
]

_MULTICAST: Final = "224.0.0.0/4"
_UP_WITHIN_S: Final = 5.0
_BR_STATE_FORWARDING: Final = 3
_SIOCGIFMTU: Final = 0x8921
_SIOCETHTOOL: Final = 0x8946
# ETHTOOL_STXCSUM, ETHTOOL_SSG, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SGRO of linux/ethtool.h
_OFFLOADS: Final = (0x17, 0x19, 0x1F, 0x24, 0x2C)


def _netlink() -> IPRoute:
    from pyroute2 import IPRoute

    return IPRoute()


def add_bridge(name: str) -> None:
    """Makes a bridge that is up, passes every multicast packet and needs no time to learn."""
    with _netlink() as netlink:
        netlink.link(
            "add", ifname=name, kind="bridge", br_stp_state=0, br_forward_delay=0, br_mcast_snooping=0, state="up"
        )


def add_cable(name: str, far_name: str, far_namespace: str | None = None) -> None:
    """Makes a veth pair: one end here, the other one here or in another namespace."""
    with _netlink() as netlink:
        if far_namespace is None:
            netlink.link("add", ifname=name, kind="veth", peer={"ifname": far_name})
            return
        with namespaces.path_of(far_namespace).open() as far:
            netlink.link("add", ifname=name, kind="veth", peer={"ifname": far_name, "net_ns_fd": far.fileno()})


def add_address(link: str, address: ipaddress.IPv4Interface, *, multicast: bool) -> None:
    """Gives a link that is up an IPv4 address.

    Args:
        link: Its name.
        address: With the network's prefix.
        multicast: Whether multicast to everywhere leaves by this link.
    """
    with _netlink() as netlink:
        index = _index(link)
        netlink.addr("add", index=index, address=str(address.ip), prefixlen=address.network.prefixlen)
    if multicast:
        add_multicast_route(link)


def add_multicast_route(link: str) -> None:
    """Has multicast to everywhere leave by a link that is up."""
    with _netlink() as netlink:
        netlink.route("add", dst=_MULTICAST, oif=_index(link))


def enslave(link: str, bridge: str | None) -> None:
    """Puts a link's end into a bridge, or takes it out of the one it is in."""
    with _netlink() as netlink:
        netlink.link("set", index=_index(link), master=0 if bridge is None else _index(bridge))


def set_up(link: str, up: bool = True) -> None:
    """Sets a link up or down."""
    with _netlink() as netlink:
        netlink.link("set", index=_index(link), state="up" if up else "down")


def wait_until_up(link: str) -> None:
    """Waits until a link carries frames: it has a carrier, and if it is in a bridge, that forwards them.

    The kernel sees to both in the background; a packet sent before would be lost.

    Raises:
        TimeoutError: It did not within 5 s.
    """
    give_up_at = time.monotonic() + _UP_WITHIN_S
    with _netlink() as netlink:
        index = _index(link)
        while True:
            (message,) = netlink.get_links(index)
            port = message.get_nested("IFLA_LINKINFO", "IFLA_INFO_SLAVE_DATA", "IFLA_BRPORT_STATE")
            if message.get_attr("IFLA_OPERSTATE") == "UP" and port in (None, _BR_STATE_FORWARDING):
                return
            if time.monotonic() > give_up_at:
                raise errors.TimeoutError(f"{link} is not up after {_UP_WITHIN_S} s")
            time.sleep(0.001)


def set_mtu(link: str, mtu_bytes: int) -> None:
    """Sets the longest IP packet that a link carries.

    Raises:
        OSError: The kernel refuses the size. (pyroute2's NetlinkError is no OSError.)
    """
    from pyroute2.netlink.exceptions import NetlinkError

    with _netlink() as netlink:
        try:
            netlink.link("set", index=_index(link), mtu=mtu_bytes)
        except NetlinkError as error:
            raise OSError(error.code, f"an MTU of {mtu_bytes} bytes on {link}: {error}") from error


def mtu_of(link: str) -> int:
    """The longest IP packet that a link carries, in bytes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, _SIOCGIFMTU, struct.pack("16s24x", link.encode()))
    return int(struct.unpack_from("i", answer, 16)[0])


def remove_link(link: str) -> None:
    """Removes a link; of a veth pair both ends."""
    with _netlink() as netlink:
        netlink.link("del", index=_index(link))


def skip_address_probing() -> None:
    """Lets the namespace's future links use their IPv6 addresses at once, not after a second of probing."""
    switch = Path("/proc/sys/net/ipv6/conf/default/accept_dad")
    if switch.exists():  # no IPv6 in this kernel otherwise
        switch.write_text("0")


def send_whole_frames(link: str) -> None:
    """Lets a veth end send what a cable carries: frames no longer than the MTU with their checksums in them.

    Otherwise it hands on up to 64 KiB at once, to be cut and summed by a network card that there is none of.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in _OFFLOADS:
            value = array.array("B", struct.pack("=II", command, 0))
            request = struct.pack("16sP16x", link.encode(), value.buffer_info()[0])
            fcntl.ioctl(control, _SIOCETHTOOL, request)


def _index(link: str) -> int:
    return socket.if_nametoindex(link)
