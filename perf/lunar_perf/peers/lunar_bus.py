"""Lunar itself. How it waits decides the API: ``spin`` is the blocking one, ``adaptive`` and ``sleep`` are asyncio."""

from __future__ import annotations

from array import array
from threading import Event

from lunar_perf.meter import Meter
from lunar_perf.peer import Peer
from lunar_perf.peers.lunar_asyncio import LunarAsyncio
from lunar_perf.peers.lunar_blocking import LunarBlocking
from lunar_perf.peers.lunar_typed import Streams, TypedAsyncioStreams, TypedBlockingStreams
from lunar_perf.sequence import Tally
from lunar_perf.work import Work


class LunarBus:
    """See :class:`lunar_perf.peer.Peer`."""

    def ping(self, work: Work, meter: Meter) -> array[int]:
        """As the API for ``work.wait`` does it."""
        return _api(work).ping(work, meter)

    def pong(self, work: Work, meter: Meter, done: Event) -> None:
        """As the API for ``work.wait`` does it."""
        _api(work).pong(work, meter, done)

    def send(self, work: Work, meter: Meter, done: Event) -> int:
        """As the API for ``work.wait`` does it."""
        return _streams(work).send(work, meter, done)

    def receive(self, work: Work, meter: Meter) -> Tally:
        """As the API for ``work.wait`` does it."""
        return _streams(work).receive(work, meter)


def _api(work: Work) -> Peer:
    return LunarBlocking() if work.wait == "spin" else LunarAsyncio()


def _streams(work: Work) -> Streams:
    if not work.message:
        return _api(work)
    return TypedBlockingStreams() if work.wait == "spin" else TypedAsyncioStreams()


def open_peer(name: str) -> Peer:
    """The peer of that name; there is one."""
    return LunarBus()
