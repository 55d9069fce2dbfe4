"""The network interfaces of this host, and which of them a node of range `network` uses."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lunar.errors import ConfigError

__all__ = ["Interface", "interfaces", "usable"]

# linux/if.h
_IFF_UP: Final = 0x1
_IFF_LOOPBACK: Final = 0x8
_IFF_RUNNING: Final = 0x40
_IFF_MULTICAST: Final = 0x1000


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of an interface.

    Attributes:
        name: The interface's name.
        address: IPv4 or IPv6, the latter with `%name` if it is link-local; "" if the interface has none.
        up: It was set up, and has a carrier.
        loopback: It leads nowhere else.
        multicast: It carries multicast.
    """

    name: str
    address: str
    up: bool = True
    loopback: bool = False
    multicast: bool = False


class _IfAddrs(ctypes.Structure):
    """`struct ifaddrs`, getifaddrs(3)."""


_IfAddrs._fields_ = [
    ("next", ctypes.POINTER(_IfAddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("netmask", ctypes.c_void_p),
    ("broadcast", ctypes.c_void_p),
    ("data", ctypes.c_void_p),
]


def interfaces() -> list[Interface]:
    """Lists the interfaces of this host (of the calling thread's network namespace), one entry an address.

    In the kernel's order, IPv4 before IPv6; an interface without an address has one entry with an empty one.

    Raises:
        OSError: The kernel does not tell.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    first = ctypes.POINTER(_IfAddrs)()
    if libc.getifaddrs(ctypes.byref(first)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"listing the network interfaces: {os.strerror(code)}")
    try:
        found = list(_entries(first))
    finally:
        libc.freeifaddrs(first)
    addressed = {each.name for each in found if each.address}
    # Each interface also has an entry of the link layer, which is no address of ours.
    return [each for each in found if each.address or each.name not in addressed]


def _entries(entry: ctypes._Pointer[_IfAddrs]) -> Iterator[Interface]:
    seen = set()
    while entry:  # type: ignore[truthy-bool]  # a null pointer is false
        raw = entry.contents
        name = os.fsdecode(raw.name)
        address = _address(raw.address, name)
        if (name, address) not in seen:
            seen.add((name, address))
            up = raw.flags & _IFF_UP and raw.flags & _IFF_RUNNING
            loopback, multicast = raw.flags & _IFF_LOOPBACK, raw.flags & _IFF_MULTICAST
            yield Interface(name, address, bool(up), bool(loopback), bool(multicast))
        entry = raw.next


def _address(pointer: int | None, name: str) -> str:
    """Reads a `struct sockaddr`: family, then what the family has."""
    if not pointer:
        return ""
    family = ctypes.c_ushort.from_address(pointer).value
    if family == socket.AF_INET:
        return str(ipaddress.IPv4Address(ctypes.string_at(pointer + 4, 4)))
    if family == socket.AF_INET6:
        address = ipaddress.IPv6Address(ctypes.string_at(pointer + 8, 16))
        return f"{address}%{name}" if address.is_link_local else str(address)
    return ""


def usable(wanted: Sequence[str], present: Iterable[Interface] | None = None) -> tuple[Interface, ...]:
    """Chooses the interfaces to use, in the order in which they are wanted.

    An interface that is named is used with its first address, IPv4 if it has one.

    Args:
        wanted: Names or addresses; none stands for all that are up and have an address, but the loopback interface.
            That one is used only if nothing else is wanted.
        present: What there is; None stands for this host's.

    Raises:
        ConfigError: One of those that are wanted cannot be used, or there is none; with what was tried and why not.
        OSError: The kernel does not tell which there are.
    """
    there = list(interfaces() if present is None else present)
    names = list(dict.fromkeys(wanted)) or list(dict.fromkeys(each.name for each in there))
    chosen: list[Interface] = []
    refused: list[str] = []
    for name in names:
        found = _find(name, there)
        why = _unusable(found, alone=len(wanted) == 1)
        if why is None and found is not None:
            chosen.append(found)
        else:
            refused.append(f"{name} ({why})")
    if not chosen or (wanted and refused):
        raise ConfigError("LUNAR_INTERFACES", ",".join(wanted), _remedy(refused, there if wanted else []))
    return tuple(chosen)


def _find(wanted: str, there: list[Interface]) -> Interface | None:
    of_name = [each for each in there if each.name == wanted]
    if of_name:
        # IPv4 first, link-local IPv6 last.
        return min(of_name, key=lambda each: (not each.address, ":" in each.address, "%" in each.address))
    return next((each for each in there if wanted and wanted in (each.address, each.address.partition("%")[0])), None)


def _unusable(found: Interface | None, *, alone: bool) -> str | None:
    if found is None:
        return "there is no such interface or address"
    if found.loopback and not alone:
        return "loopback, which is used only if it is the only one named"
    if not found.up:
        return "down, or without a carrier"
    return None if found.address else "without an address"


def _remedy(refused: list[str], there: list[Interface]) -> str:
    tried = ", ".join(refused) or "nothing, there are no interfaces"
    has = ", ".join(f"{each.name} {each.address}".strip() for each in there)
    return f"interfaces that are up and have an address; tried: {tried}" + (f"; this host has {has}" if has else "")
