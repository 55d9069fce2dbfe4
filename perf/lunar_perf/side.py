"""Where a measured process runs: on this host as it is, on a host of a lab, or on another machine."""

from __future__ import annotations

import ctypes
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

NAMESPACE = "LUNAR_PERF_NAMESPACE"
"""The file of the network namespace that a measured process enters first of all."""

INTERFACE = "LUNAR_PERF_INTERFACE"
"""The network interface that a peer is to use; not set: the loopback one."""

_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Server:
    """Where a ``lunar perf serve`` listens.

    Attributes:
        host: name or address.
        port: its TCP port.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, default_port: int) -> Server:
        """Read ``host``, ``host:port``, ``2001:db8::1`` or ``[2001:db8::1]:port``.

        Raises:
            ValueError: it is none of these.
        """
        if _is_ipv6(text):
            return cls(text, default_port)
        found = re.fullmatch(r"\[([^\[\]\s]+)\](?::([0-9]{1,5}))?|([^:\[\]\s]+)(?::([0-9]{1,5}))?", text, re.ASCII)
        if found is None:
            raise ValueError(f"{text!r}: expected HOST, HOST:PORT or [IPV6]:PORT")
        port = int(found[2] or found[4] or default_port)
        if not 1 <= port <= 65535:
            raise ValueError(f"port {port}: expected 1 to 65535")
        return cls(found[1] or found[3], port)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Side:
    """A host, and what a process there finds in its environment.

    Attributes:
        name: for people.
        address: what other hosts reach it at; empty: it is not reached.
        environment: variables to set, :data:`NAMESPACE` among them in a lab.
        server: what starts the processes there, if it is another machine; the other attributes are then the server's
            to know.
    """

    name: str = "here"
    address: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    server: Server | None = None


HERE = Side()


def enter() -> None:
    """Move this thread, and all threads that it starts, to the network that the environment names.

    Raises:
        OSError: there is no such namespace, or this process may not enter it.
    """
    path = os.environ.get(NAMESPACE, "")
    if not path:
        return
    # os.setns is there from Python 3.12 on.
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"entering {path}: {os.strerror(code)}")
    finally:
        os.close(fd)
