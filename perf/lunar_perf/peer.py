"""The contract of a measured library, and the list of them. A peer is loaded only in the process that measures it."""

from __future__ import annotations

import importlib
import importlib.util
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Protocol, cast

from lunar_perf import floor_programs
from lunar_perf.meter import Meter
from lunar_perf.sequence import Tally
from lunar_perf.work import Work

REMEDY = "pip install lunar-mom[compare]"


class NoMatch(RuntimeError):
    """The two sides of a run did not match in time. The message says what is known of why."""


class Peer(Protocol):
    """One side of a measurement, in a process of its own.

    Each method opens its endpoints under ``work.channel``, waits until the other side is matched, does
    ``work.warmup`` messages unmeasured, calls ``meter.start()``, does the work, and calls ``meter.stop()``. Whatever
    it opened is closed before it returns. It may block as long as it likes: the starting process has the time-out.

    A pong or a sender keeps its endpoints open until ``done`` is set, which happens when all pings or receivers have
    reported: not every library delivers what was still queued when an endpoint closes.
    """

    def ping(self, work: Work, meter: Meter) -> array[int]:
        """Send, wait for the echo, ``work.count`` times; the first echo is compared with what was sent.

        Returns:
            Each round trip's time in nanoseconds, in order: from before the send until the payload is readable.
        """
        ...

    def pong(self, work: Work, meter: Meter, done: Event) -> None:
        """Echo ``work.warmup + work.count`` messages: the payload that came, or with ``work.loan`` a new loan."""
        ...

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """Send stamped messages for ``work.duration_s`` (see :mod:`lunar_perf.sequence`).

        Returns:
            How many measured messages were sent.
        """
        ...

    def receive(self, work: Work, meter: Meter) -> Tally:
        """Receive until the end marker, checking every sequence number."""
        ...


@dataclass(frozen=True, slots=True)
class PeerEntry:
    """A library that can be measured.

    Attributes:
        name: how the command line calls it.
        module: where its :class:`Peer` is; the module has ``def open_peer(name: str) -> Peer``.
        requires: modules that must be importable.
        idiom: how it is used here, for the report.
        check: looks for what else it needs, and says why it cannot be had, or None.
        remedy: what makes a missing one available.
    """

    name: str
    module: str
    requires: tuple[str, ...]
    idiom: str
    check: Callable[[], str | None] = lambda: None
    remedy: str = REMEDY

    def missing(self) -> str | None:
        """Why this peer cannot run here, or None. Looks for the modules without importing them."""
        absent = [name for name in self.requires if not _is_installed(name)]
        return f"{', '.join(absent)} not installed" if absent else self.check()


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in is not there
        return False


PEERS: dict[str, PeerEntry] = {
    entry.name: entry
    for entry in (
        PeerEntry("lunar", "lunar_perf.peers.lunar_bus", ("lunar",), "this project"),
        PeerEntry("iceoryx2", "lunar_perf.peers.iceoryx", ("iceoryx2",), "busy loop over receive(), loaned slices"),
        PeerEntry(
            "pyzmq", "lunar_perf.peers.pyzmq_blocking", ("zmq",), "ipc, blocking; DEALER there and back, PUSH to PULL"
        ),
        PeerEntry("pyzmq-asyncio", "lunar_perf.peers.pyzmq_asyncio", ("zmq",), "the same with zmq.asyncio on asyncio"),
        PeerEntry(
            "pyzmq-uvloop", "lunar_perf.peers.pyzmq_asyncio", ("zmq", "uvloop"), "the same with zmq.asyncio on uvloop"
        ),
        PeerEntry("zenoh", "lunar_perf.peers.zenoh_callback", ("zenoh",), "Unix socket and shared memory, callbacks"),
        PeerEntry(
            "cyclonedds", "lunar_perf.peers.cyclone", ("cyclonedds",), "loopback, reliable keep-all, WaitSet and take"
        ),
    )
}

LINK_PEERS: dict[str, PeerEntry] = {
    entry.name: entry
    for entry in (
        PeerEntry("lunar", "lunar_perf.peers.lunar_bus", ("lunar",), "this project"),
        PeerEntry("pyzmq", "lunar_perf.peers.pyzmq_blocking", ("zmq",), "tcp, blocking; PUSH to PULL; no CURVE"),
        PeerEntry(
            "pyzmq-xpub", "lunar_perf.peers.pyzmq_blocking", ("zmq",), "tcp, blocking; XPUB without drops to SUB"
        ),
        PeerEntry("pyzmq-asyncio", "lunar_perf.peers.pyzmq_asyncio", ("zmq",), "tcp, zmq.asyncio on asyncio; no CURVE"),
        PeerEntry(
            *("cyclonedds", "lunar_perf.peers.cyclone", ("cyclonedds",)),
            "array of octets; reliable keep-all, blocking WaitSet and take",
        ),
        PeerEntry(
            *("cyclonedds-sequence", "lunar_perf.peers.cyclone", ("cyclonedds",)),
            "sequence of octets, Lunar's own type there; the same otherwise",
        ),
        PeerEntry("udp", "lunar_perf.peers.udp_blocking", (), "bare datagrams, blocking: the floor of dds"),
        *(
            PeerEntry(
                *(name, "lunar_perf.peers.floor_program", (), idiom),
                check=floor_programs.missing,
                remedy=floor_programs.REMEDY,
            )
            for name, idiom in (
                ("af_xdp-raw", "AF_XDP in C, both sides busy, frames made before: the floor of xdp"),
                ("udp-polled", "a connected UDP socket in C, both sides busy: the floor of xdp over UDP"),
            )
        ),
    )
}
"""What is measured between hosts, and how."""


def remedy_of(name: str) -> str:
    """What to do about a missing peer, or codec, of that name."""
    entry = LINK_PEERS.get(name)
    return REMEDY if entry is None else entry.remedy


def load(name: str) -> Peer:
    """The peer of that name, its library imported.

    Raises:
        KeyError: no such peer.
        ImportError: its library is not installed or does not load.
    """
    module = importlib.import_module({**LINK_PEERS, **PEERS}[name].module)
    open_peer = cast("Callable[[str], Peer]", module.open_peer)
    return open_peer(name)
