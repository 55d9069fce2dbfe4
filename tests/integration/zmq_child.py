"""Another process with an engine of the transport `zmq`, driven by a plain asyncio loop.

Usage: zmq_child.py PARTICIPANT_ID OTHER_ID.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping

from lunar_zmq import Transport

from lunar.testing import serve
from tests.integration.zmq_ends import Listener, Talker, site, stream


class ZmqChild:
    """The commands, by the names of the methods."""

    def __init__(self, me: str, other: str) -> None:
        self._other = other
        self._engine = Transport().open(site(me))
        self._talker, self._listener = Talker(), Listener()
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._engine.fileno(), self._work)
        self._work()

    def _work(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait_s = self._engine.work()
        self._timer = None if wait_s is None else self._loop.call_later(wait_s, self._work)
        self._changed.set()

    def address(self) -> Mapping[str, object]:
        return self._engine.address

    def talk(self, address: Mapping[str, object]) -> None:
        self._talker.end = self._engine.open_outgoing(stream(self._other, address), self._talker)

    def listen(self, address: Mapping[str, object]) -> None:
        self._listener.end = self._engine.open_incoming(stream(self._other, address), self._listener)

    async def send(self, count: int, size: int) -> int:
        """Sends so many, and waits until all of them are acknowledged; returns the last sequence number."""
        for number in range(count):
            while not self._talker.send(number.to_bytes(4, "little") * (size // 4)):
                await self._change()
        while self._talker.end.unacknowledged:
            await self._change()
        return self._talker.sequence

    async def receive(self, count: int) -> list[int]:
        """Waits for so many, and returns all numbers that have come."""
        async with asyncio.timeout(20):
            while len(self._listener.numbers) < count:
                await self._change()
        return self._listener.numbers

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def fork(self) -> int:
        """Forks a child that lets go of the engine and lives on until it is killed; returns its pid."""
        pid = os.fork()
        if pid == 0:
            self._engine.close_after_fork()
            self._engine.close()
            assert self._engine.work() is None
            os.close(0)
            os.close(1)
            signal.pause()
            os._exit(0)
        return pid

    def close(self) -> None:
        self._loop.remove_reader(self._engine.fileno())
        if self._timer is not None:
            self._timer.cancel()
        self._engine.close()


async def main() -> None:
    child = ZmqChild(sys.argv[1], sys.argv[2])
    names = ("address", "talk", "listen", "send", "receive", "fork", "close")
    await serve({name: getattr(child, name) for name in names})


asyncio.run(main())
