"""What a reader of the figures has to know of each host of a run."""

from __future__ import annotations

import platform
import socket
from dataclasses import dataclass

from lunar._version import __version__


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One host.

    Attributes:
        name: its host name.
        lunar: version of Lunar there.
        kernel: name and release.
        python: implementation and version.
    """

    name: str
    lunar: str
    kernel: str
    python: str

    @classmethod
    def here(cls) -> HostFacts:
        """Of this host."""
        return cls(
            name=socket.gethostname() or "?",
            lunar=__version__,
            kernel=f"{platform.system()} {platform.release()}",
            python=f"{platform.python_implementation()} {platform.python_version()}",
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where one side of a run was.

    Attributes:
        side: what it did: ping, pong, send or receive.
        host: the host.
        address: what the other side reaches it at; empty within one host.
    """

    side: str
    host: HostFacts
    address: str = ""
