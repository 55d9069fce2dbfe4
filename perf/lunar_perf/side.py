"""Where a measured process runs: on this host as it is, or on a host of a lab, and with which settings."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

NAMESPACE = "LUNAR_PERF_NAMESPACE"
"""The file of the network namespace that a measured process enters first of all."""

INTERFACE = "LUNAR_PERF_INTERFACE"
"""The network interface that a peer is to use; not set: the loopback one."""

_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True, slots=True)
class Side:
    """A host, and what a process there finds in its environment.

    Attributes:
        name: for people.
        address: what other hosts reach it at; empty: it is not reached.
        environment: variables to set, :data:`NAMESPACE` among them in a lab.
    """

    name: str = "here"
    address: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


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
