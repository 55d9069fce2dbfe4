"""Finds libzmq's connections among this process's descriptors, for a child that must let go of them.

libzmq has no call for that: its context must not be touched in a child. But a connection that a child holds open stays
open when its parent is killed, and the other side would not be told. So the sockets are known by their addresses.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Collection

__all__ = ["close_sockets_of"]


def close_sockets_of(listening: Collection[str], connected: Collection[str]) -> None:
    """Closes the sockets that listen or were accepted on some endpoints, and those connected to others.

    Args:
        listening: Endpoints of this process, as ZeroMQ writes them.
        connected: Endpoints of other processes.
    """
    own, others = set(map(_place, listening)), set(map(_place, connected))
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        here, there = _places(fd)
        if here in own or there in others:
            os.close(fd)


def _place(endpoint: str) -> str:
    """Returns what of an endpoint a socket shows too: a port, for an address may be written in several ways; a path."""
    return endpoint.removeprefix("ipc://") if endpoint.startswith("ipc://") else endpoint.rpartition(":")[2]


def _places(fd: int) -> tuple[str, str]:
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return "", ""
        connection = socket.socket(fileno=fd)
    except OSError:
        return "", ""
    try:
        if connection.type != socket.SOCK_STREAM:
            return "", ""
        return _name(connection.getsockname()), _peer(connection)
    except OSError:
        return "", ""
    finally:
        connection.detach()


def _peer(connection: socket.socket) -> str:
    try:
        return _name(connection.getpeername())
    except OSError:
        return ""  # it listens


def _name(address: object) -> str:
    match address:
        case str():
            return address
        case (str(), int(port), *_):
            return str(port)
    return ""
