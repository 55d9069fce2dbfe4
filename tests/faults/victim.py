"""The victim: a real node in the test's own process, and an honest peer that must be served whatever else happens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import lunar
from lunar import events
from tests.faults import honest
from tests.faults.hostile import Hostile

T = TypeVar("T")
PATIENCE_S = 30.0


class Victim:
    """A node under attack, and its exchange with the honest peer.

    Attributes:
        node: The node.
        directory: Where the sockets of its domain are.
        faults: Each PeerFaulted that no test has asked for yet.
    """

    def __init__(self, node: lunar.Node, runtime_dir: Path) -> None:
        self.node = node
        self.directory = runtime_dir / "0"
        self.socket_name = node._participant._rendezvous.name
        self.faults: list[events.PeerFaulted] = []
        self._others: list[events.Event] = []
        self._changed = asyncio.Event()
        self._exchanged = 0
        self._down = node.create_publisher(bytes, honest.DOWN, qos=honest.LOSSLESS)
        self._up = node.create_subscription(bytes, honest.UP, qos=honest.LOSSLESS)

    async def meet(self) -> None:
        await self._down.wait_for_subscribers(1, PATIENCE_S)
        await self._up.wait_for_publishers(1, PATIENCE_S)

    def hostile(self) -> Hostile:
        """A hostile peer that has connected, and said nothing yet."""
        return Hostile.connect(self.directory, self.socket_name)

    async def watch(self) -> None:
        async for event in self.node.events():
            if isinstance(event, events.PeerFaulted):
                self.faults.append(event)
            else:
                self._others.append(event)
            self._changed.set()

    async def fault(self, reason: str = "") -> events.PeerFaulted:
        """Waits until a peer of this process was disconnected for a reason that matches the pattern."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.faults:
                self._changed.clear()
                await self._changed.wait()
        event = self.faults.pop(0)
        assert event.pid == os.getpid(), f"an honest peer was disconnected: {event}"
        assert re.search(reason, event.reason), f"{event.reason!r} does not match {reason!r}"
        return event

    async def event(self, wanted: Callable[[events.Event], bool]) -> None:
        """Waits for an event, from now on."""
        self._others.clear()
        async with asyncio.timeout(PATIENCE_S):
            while not any(wanted(event) for event in self._others):
                self._changed.clear()
                await self._changed.wait()

    async def disconnects(self, hostile: Hostile, reason: str = "") -> events.PeerFaulted:
        """As `fault`; then the hostile end sees the connection closed, and the honest peer is served on."""
        event = await self.fault(reason)
        hostile.wait_until_disconnected()
        await self.serves()
        return event

    async def serves(self, count: int = 8) -> None:
        """Exchanges messages with the honest peer: each comes back, once, in order and whole."""
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(count):
                self._exchanged += 1
                chance = random.Random(self._exchanged)
                payload = self._exchanged.to_bytes(8, "little") + chance.randbytes(chance.randrange(3000))
                message = payload + zlib.crc32(payload).to_bytes(4, "little")
                await self._down.publish(message)
                echo = await self._up.receive()
                assert bytes(echo) == message
                del echo

    async def settle(self) -> None:
        """Returns when the control thread has done what was asked of it before, and its events are here."""
        # Twice: the first may be asked for after the thread has looked at its sockets.
        for _ in range(2):
            done = threading.Event()
            self.node._participant.post(done.set)
            assert done.wait(PATIENCE_S)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Serves the honest peer until something holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await self.serves(1)

    async def outlive(self, duration_s: float) -> None:
        """Serves the honest peer for a while."""
        end = time.monotonic() + duration_s
        await self.until(lambda: time.monotonic() >= end)

    def spawn(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Runs a coroutine beside the attack; the test awaits it."""
        return asyncio.get_running_loop().create_task(coroutine)

    def is_unharmed(self) -> bool:
        """Nobody was disconnected unexpectedly, and nothing was lost between the honest two."""
        return (
            not self.faults
            and self._down.subscriber_count == self._up.publisher_count == 1
            and self._down.statistics().lost == self._up.statistics().lost == 0
        )

    async def dismiss(self) -> None:
        await self._down.publish(b"")


@contextlib.asynccontextmanager
async def attacked(runtime_dir: Path) -> AsyncIterator[Victim]:
    """A victim and its honest peer; at the end, proves that the two have come through it."""
    async with lunar.Node("victim") as node:
        victim = Victim(node, runtime_dir)
        watching = asyncio.create_task(victim.watch())
        child = _start_honest()
        try:
            await victim.meet()
            yield victim
            await victim.serves()
            assert victim.is_unharmed(), victim.faults
            await victim.dismiss()
            assert _ended(child) == 0
        finally:
            watching.cancel()
            child.kill()
            _ended(child)


def _start_honest() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-P", honest.__file__])


def _ended(child: subprocess.Popen[bytes]) -> int:
    return child.wait(PATIENCE_S)


def run(attack: Coroutine[object, object, T]) -> T:
    """Runs an attack in a loop of its own, so that nothing of the loop is left when leaks are counted."""
    return lunar.run(attack)
