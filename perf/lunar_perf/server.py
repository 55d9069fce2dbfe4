"""`lunar perf serve`: does the other end of runs that other hosts ask for, one at a time (:mod:`lunar_perf.wire`).

Nothing that is sent is ever executed, opened or looked up: a run is one of our own measuring programs, started with
numbers and words that were checked. A client that vanishes, or says nothing for `SILENCE_S`, ends its run.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from lunar.config import Config
from lunar.errors import LunarError
from lunar_perf.backend import with_backend
from lunar_perf.checked_fields import WireError
from lunar_perf.children import START_UP_S, Child, LocalEnd, RunFailed, local_ends
from lunar_perf.host_facts import HostFacts
from lunar_perf.line_stream import SILENCE_S, Gone, LineStream
from lunar_perf.network_settings import network_environment
from lunar_perf.outcome import Outcome
from lunar_perf.pair import measured_child
from lunar_perf.pinning import place
from lunar_perf.side import Server as Address
from lunar_perf.wire import (
    LONGEST_LINE_BYTES,
    LONGEST_S,
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
    presentable,
)

MOST_CLIENTS: Final = 16
"""So many may be connected; more are hung up on."""

Kind = Literal["started", "finished", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened, for whoever looks at the server.

    Attributes:
        kind: what.
        client: who asked, as far as it is known.
        text: what it was about, its result or the reason.
        figures: JSON-ready values of a result.
    """

    kind: Kind
    client: str
    text: str
    figures: Mapping[str, object] = field(default_factory=dict)


class PerfServer:
    """Listens, and serves one run at a time.

    Args:
        config: settings of this process; the measured ones have the same, but range network.
        tell: is called with what happens; must not block.
        silence_s: a client that says nothing for so long is taken for gone.
    """

    def __init__(self, config: Config, tell: Callable[[Notice], None], silence_s: float = SILENCE_S) -> None:
        self._config, self._tell, self._silence_s = config, tell, silence_s
        self._here = HostFacts.here()
        self._listening: list[asyncio.Server] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._busy_with = ""
        self._busy_since_s = 0.0
        self._results: asyncio.Queue[bool] = asyncio.Queue()

    async def listen(self, addresses: Sequence[str], port: int) -> list[Address]:
        """Open the port on each address.

        Args:
            addresses: numeric ones of this host.
            port: the same on each; 0 for one that is free.

        Returns:
            Where others reach us.

        Raises:
            OSError: one cannot be opened.
        """
        found = []
        for address in addresses:
            server = await asyncio.start_server(
                self._accept, address, port, limit=LONGEST_LINE_BYTES, backlog=MOST_CLIENTS
            )
            self._listening.append(server)
            port = int(server.sockets[0].getsockname()[1])
            found.append(Address(address, port))
        return found

    async def next_result(self) -> bool:
        """Wait for the next run that is over; whether it went well."""
        return await self._results.get()

    async def close(self) -> None:
        """Stop listening, end what runs, and tell its client."""
        for server in self._listening:
            server.close()
        tasks = list(self._clients)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MOST_CLIENTS:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(LineStream(reader, writer, self._silence_s)))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, stream: LineStream) -> None:
        client = stream.other_address
        try:
            hello = await stream.answer()
            if not isinstance(hello, Hello):
                raise WireError("no hello")
            client = f"{hello.host.name} ({client})"
            if (hello.protocol, hello.host.lunar) != (PROTOCOL, self._here.lunar):
                await self._refuse(stream, client, self._difference(hello))
                return
            await stream.write(Welcome(PROTOCOL, self._here, self._config.domain))
            order = await stream.answer()
            if not isinstance(order, Order):
                raise WireError("no order")
            await self._take(stream, client, order)
        except WireError as error:
            await self._refuse(stream, client, f"this is no message of `lunar perf`: {error}")
        except Gone as error:
            self._tell(Notice("refused", client, f"it {error} before anything was measured"))
        finally:
            stream.close()

    def _difference(self, hello: Hello) -> str:
        return (
            f"the versions differ: {self._here.name} has Lunar {self._here.lunar}, perf protocol {PROTOCOL}; "
            f"you have Lunar {hello.host.lunar}, perf protocol {hello.protocol}; install the same on both"
        )

    async def _refuse(self, stream: LineStream, client: str, reason: str) -> None:
        self._tell(Notice("refused", client, reason))
        await _say(stream, Refused(PROTOCOL, self._here, presentable(reason)))

    async def _take(self, stream: LineStream, client: str, order: Order) -> None:
        if self._busy_with:
            since_s = time.monotonic() - self._busy_since_s
            reason = (
                f"it is busy with a run of {self._busy_with} since {since_s:.0f} s, and does one at a time; try again"
            )
            await self._refuse(stream, client, reason)
            return
        self._busy_with, self._busy_since_s = client, time.monotonic()
        try:
            ok = await self._measure(stream, client, order)
        finally:
            self._busy_with = ""
        self._results.put_nowait(ok)

    async def _measure(self, stream: LineStream, client: str, order: Order) -> bool:
        work, what = order.work, describe(order)
        # The first core is left to us, and to whatever else the host does.
        cores = place(work.subscribers).others
        self._tell(Notice("started", client, what))
        try:
            settings = network_environment(self._config, self._config.domain, stream.other_address)
            with with_backend(work, settings) as environment:
                children = [measured_child("lunar", order.role, core, work, environment) for core in cores]
                await stream.write(Started(cores, _placement_note(cores, self._here)))
                outcomes = await _run(stream, children, min(work.allowed_s, LONGEST_S) + START_UP_S)
        except (RunFailed, WireError, LunarError, OSError) as error:
            reason = f"the client {error}" if isinstance(error, Gone) else str(error)
            await _say(stream, Failed(presentable(_last_line(reason))))
            # Last: whoever hears of it may ask for the next run at once.
            self._tell(Notice("failed", client, f"{what}: {presentable(reason)}"))
            return False
        except asyncio.CancelledError:
            await _say(stream, Failed("it was ended"))
            raise
        text, figures = _result(order, outcomes)
        self._tell(Notice("finished", client, f"{what}: {text}", figures))
        return True


def _last_line(reason: str) -> str:
    """What the client is told: what went wrong, not the way through our files to it."""
    lines = reason.splitlines() or [""]
    return lines[-1] if len(lines) == 1 else f"{lines[-1]} (more in the terminal of `lunar perf serve`)"


def _placement_note(cores: Sequence[int], here: HostFacts) -> str:
    own = set(cores)
    return "" if len(own) == len(cores) else f"{len(cores)} processes share {len(own)} core(s) on {here.name}"


async def _say(stream: LineStream, message: Message) -> None:
    """Tell a client that may be gone already, in which case nothing is lost."""
    with suppress(Gone):
        await stream.write(message)


async def _run(stream: LineStream, children: Sequence[Child], timeout_s: float) -> list[Outcome]:
    """Run our part, and report to the client as it comes.

    Raises:
        RunFailed: a process failed, or its time is over.
        Gone: the client has left.
        WireError: it said what is not to be said.
    """
    done = asyncio.Event()
    with local_ends(children, timeout_s) as ends:
        parts = [asyncio.create_task(_part(stream, index, end, done)) for index, end in enumerate(ends)]
        watching = [asyncio.create_task(_listen(stream, done)), asyncio.create_task(stream.beat())]
        working = asyncio.create_task(_all(parts))
        try:
            await asyncio.wait([working, *watching], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                for each in watching:
                    if each.done():
                        each.result()
            return await working
        finally:
            tasks = [*parts, working, *watching]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _all(parts: Sequence[asyncio.Task[Outcome]]) -> list[Outcome]:
    return await asyncio.gather(*parts)


async def _part(stream: LineStream, index: int, end: LocalEnd, done: asyncio.Event) -> Outcome:
    outcome = Outcome.from_json(await end.run(asyncio.Event(), done))
    await stream.write(Report(index, outcome))
    return outcome


async def _listen(stream: LineStream, done: asyncio.Event) -> None:
    while True:
        message = await stream.read()
        if not isinstance(message, Done):
            raise WireError(f"{type(message).__name__.lower()} at the wrong time")
        done.set()


def describe(order: Order) -> str:
    """What is to be measured, for people."""
    work = order.work
    what = f"{work.message} messages of {work.size_bytes:,} B" if work.message else f"{work.size_bytes:,} B"
    transport = f", transport {work.transport}" if work.transport else ""
    transport += f" ({work.backend})" if work.backend else ""
    if order.role == "pong":
        return f"echo {work.count:,} round trips of {what}, wait {work.wait}{transport}"
    return f"receive {what} for {work.duration_s:g} s in {work.subscribers} process(es), {work.reliability}{transport}"


def _result(order: Order, outcomes: Sequence[Outcome]) -> tuple[str, Mapping[str, object]]:
    if order.role == "pong":
        (pong,) = outcomes
        rate = order.work.count / pong.elapsed_s if pong.elapsed_s > 0 else 0.0
        over = f" over {pong.transport}" if pong.transport else ""
        return f"{rate:,.0f} round trips/s{over}", {
            "count": order.work.count,
            "elapsed_s": pong.elapsed_s,
            "transport": pong.transport,
        }
    tallies = [each.tally for each in outcomes]
    rate = sum(each.received / each.elapsed_s for each in tallies if each.elapsed_s > 0)
    received, missing, repeated = (
        sum(counts) for counts in zip(*((each.received, each.gaps, each.repeated) for each in tallies), strict=True)
    )
    text = f"{received:,} received, {rate:,.0f}/s, {missing:,} missing, {repeated:,} out of order"
    return text, {"received": received, "msgs_per_s": round(rate, 1), "missing": missing, "repeated": repeated}
