"""The other end of a run on another machine: asks the `lunar perf serve` there to do it (:mod:`lunar_perf.wire`)."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from lunar_perf.checked_fields import WireError
from lunar_perf.children import START_UP_S, RunFailed
from lunar_perf.host_facts import HostFacts
from lunar_perf.line_stream import SILENCE_S, Gone, LineStream
from lunar_perf.outcome import Outcome
from lunar_perf.side import Server
from lunar_perf.wire import (
    LONGEST_LINE_BYTES,
    PROTOCOL,
    Done,
    Failed,
    Hello,
    Message,
    Order,
    Refused,
    Report,
    Started,
    Welcome,
)
from lunar_perf.work import Role, Work

CONNECT_S: Final = 5.0
_LAST_WORDS_S: Final = 10.0
"""Allowed a report to come after its process ended."""


class NoServer(RunFailed):
    """No `lunar perf serve` that can do the work is there. The message says what was tried, and what to do."""


class RemoteEnd:
    """One process on the other machine; see :class:`lunar_perf.children.End`."""

    def __init__(self, run: RemoteRun, index: int, role: Role) -> None:
        self._run, self._index = run, index
        self._ends_run = role == "receive"

    @property
    def ends_run(self) -> bool:
        """See :class:`lunar_perf.children.End`."""
        return self._ends_run

    async def run(self, reported: asyncio.Event, done: asyncio.Event) -> str:
        """See :class:`lunar_perf.children.End`."""
        telling = asyncio.create_task(self._run.tell_after(done))
        try:
            outcome = await self._run.outcome(self._index)
        finally:
            telling.cancel()
        reported.set()
        return outcome.to_json()


class RemoteRun:
    """A run that the other machine takes part in, from its beginning there; made by `remote_run`.

    Attributes:
        ends: its processes.
        welcome: who it is.
        started: where its processes run.
        addresses: ours and its, as each reaches the other.
    """

    def __init__(self, stream: LineStream, server: Server, order: Order, welcome: Welcome, started: Started) -> None:
        self.welcome, self.started = welcome, started
        self.addresses = (stream.own_address, stream.other_address)
        self._allowed_s = order.work.allowed_s + START_UP_S + _LAST_WORDS_S
        count = order.work.subscribers
        self.ends = [RemoteEnd(self, index, order.role) for index in range(count)]
        self._stream, self._server = stream, server
        loop = asyncio.get_running_loop()
        self._outcomes: list[asyncio.Future[Outcome]] = [loop.create_future() for _ in range(count)]
        self._told = False
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._beat())]

    async def outcome(self, index: int) -> Outcome:
        """What one of its processes reported.

        Raises:
            RunFailed: it did not, and why.
        """
        try:
            async with asyncio.timeout(self._allowed_s):
                return await asyncio.shield(self._outcomes[index])
        except TimeoutError as error:
            raise RunFailed(f"{self._server}: no report within {self._allowed_s:.0f} s") from error

    async def tell_after(self, done: asyncio.Event) -> None:
        """Tell the other machine, once, when our part is over."""
        await done.wait()
        if not self._told:
            self._told = True
            try:
                await self._stream.write(Done())
            except Gone as error:
                self._fail(f"it {error}")

    async def _listen(self) -> None:
        try:
            while not all(each.done() for each in self._outcomes):
                match await self._stream.read():
                    case Report(index, outcome) if index < len(self._outcomes) and not self._outcomes[index].done():
                        self._outcomes[index].set_result(outcome)
                    case Failed(reason):
                        self._fail(reason)
                    case other:
                        self._fail(f"it said {type(other).__name__.lower()} at the wrong time")
        except (Gone, WireError) as error:
            self._fail(f"it {error}" if isinstance(error, Gone) else f"it does not speak as agreed: {error}")

    async def _beat(self) -> None:
        try:
            await self._stream.beat()
        except Gone as error:
            self._fail(f"it {error}")

    def _fail(self, reason: str) -> None:
        for each in self._outcomes:
            if not each.done():
                each.set_exception(RunFailed(f"{self._server}: {reason}"))
                each.exception()  # whoever waits for it is told; the others need not be

    async def stop(self) -> None:
        """Listen no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def remote_run(server: Server, role: Role, work: Work, silence_s: float = SILENCE_S) -> AsyncIterator[RemoteRun]:
    """Have a server start its part of a run; it ends with the block, whatever happens.

    Args:
        server: whom to call.
        role: pong or receive.
        work: what is done; by one pong, or by as many receivers as it has subscribers.
        silence_s: during the run, a server that says nothing for so long is taken for gone.

    Raises:
        NoServer: nobody is there, it is of another version, busy, or will not do it.
    """
    stream = await _reach(server, silence_s)
    try:
        run = await _begin(stream, server, Order(role, work))
        try:
            yield run
        finally:
            await run.stop()
    finally:
        stream.close()


async def _begin(stream: LineStream, server: Server, order: Order) -> RemoteRun:
    try:
        await stream.write(Hello(PROTOCOL, HostFacts.here()))
        welcome = _welcomed(server, await stream.answer())
        await stream.write(order)
        started = await stream.answer()
        if isinstance(started, Refused):
            raise NoServer(f"{server} refuses: {started.reason}")
        if not isinstance(started, Started) or len(started.cores) != order.work.subscribers:
            raise WireError("neither a start nor a refusal")
    except Gone as error:
        raise NoServer(f"{server} {error}: is that a `lunar perf serve`?") from error
    except WireError as error:
        raise NoServer(f"{server} does not speak as a `lunar perf serve` does: {error}") from error
    return RemoteRun(stream, server, order, welcome, started)


async def _reach(server: Server, silence_s: float) -> LineStream:
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(server.host, server.port, limit=LONGEST_LINE_BYTES)
    except TimeoutError as error:
        raise NoServer(_remedy(server, f"no answer within {CONNECT_S:g} s")) from error
    except (socket.gaierror, UnicodeError) as error:
        raise NoServer(
            f"there is no host {server.host} ({error}); give its address, or a name that resolves"
        ) from error
    except OSError as error:
        raise NoServer(_remedy(server, os.strerror(error.errno) if error.errno else str(error))) from error
    return LineStream(reader, writer, silence_s)


def _remedy(server: Server, reason: str) -> str:
    return (
        f"cannot reach {server} by TCP: {reason}; start `lunar perf serve` there (it prints the address to give here), "
        f"and let a firewall pass TCP port {server.port}"
    )


def _welcomed(server: Server, answer: Message) -> Welcome:
    if not isinstance(answer, Welcome | Refused):
        raise WireError("no welcome")
    here, there = HostFacts.here(), answer.host
    if (answer.protocol, there.lunar) != (PROTOCOL, here.lunar):
        raise NoServer(
            f"the versions differ: this host ({here.name}) has Lunar {here.lunar}, perf protocol {PROTOCOL}; "
            f"{server} ({there.name}) has Lunar {there.lunar}, perf protocol {answer.protocol}; "
            "install the same on both"
        )
    if isinstance(answer, Refused):
        raise NoServer(f"{server} refuses: {answer.reason}")
    return answer
