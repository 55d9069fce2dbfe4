"""Starts the processes of one run, waits for all of them, and leaves none behind, whatever happens."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from lunar_perf.child import READY

START_UP_S = 20.0
"""Allowance for interpreter start, discovery and warm-up, on top of the measured part."""

_STDERR_TAIL_CHARS = 800
_LONGEST_REPORT_BYTES = 1 << 28


class RunFailed(RuntimeError):
    """A measured process ended without a report, or none came in time. The message says which and what it printed."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process to start.

    Attributes:
        name: how a failure calls it.
        module: run as ``python -m``; it uses :mod:`lunar_perf.child`.
        arguments: its command line.
        ends_run: whether the run is over when this process, and all others that say so, have reported. The rest is
            then told.
        environment: variables that it has beside ours.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    ends_run: bool
    environment: Mapping[str, str] = field(default_factory=dict)


class End(Protocol):
    """One process of a run, wherever it runs: a child of ours, or one that another host started for us."""

    @property
    def ends_run(self) -> bool:
        """Whether the run may end when it has reported, see :class:`Child`."""
        ...

    async def run(self, reported: asyncio.Event, done: asyncio.Event) -> str:
        """Do this end's part; cancelled, the process is ended.

        Args:
            reported: set here, as soon as there is a report.
            done: set by the caller when the run is over, which some wait for before they report.

        Returns:
            The report, once the process has ended.

        Raises:
            RunFailed: it failed, or its time is over.
        """
        ...


def run_children(children: Sequence[Child], timeout_s: float, starting_at_once: int | None = None) -> list[str]:
    """Run all processes.

    Args:
        children: what to start, in that order.
        timeout_s: for each of them, start-up included.
        starting_at_once: how many may be between their start and :func:`lunar_perf.child.ready`, or their report;
            default: any number.

    Returns:
        What each reported, in the order of ``children``.

    Raises:
        RunFailed: one failed or the time is over; all others are killed first.
    """
    with local_ends(children, timeout_s, starting_at_once) as ends:
        return asyncio.run(run_ends(ends))


@contextmanager
def local_ends(
    children: Sequence[Child], timeout_s: float, starting_at_once: int | None = None
) -> Iterator[list[LocalEnd]]:
    """Processes of this host, to be run within the block; for the arguments see :func:`run_children`."""
    starting = asyncio.Semaphore(starting_at_once or len(children) or 1)
    # A runtime directory of the run's own: other nodes of this user neither disturb the run nor see it.
    with tempfile.TemporaryDirectory(prefix="lunar-perf-") as runtime_dir:
        environment = os.environ | {"LUNAR_RUNTIME_DIR": runtime_dir}
        yield [LocalEnd(child, timeout_s, environment, starting) for child in children]


async def run_ends(ends: Sequence[End]) -> list[str]:
    """Run all ends of a run at once; for what is returned and raised see :func:`run_children`."""
    done, reported = asyncio.Event(), [asyncio.Event() for _ in ends]
    ending = [each.wait() for end, each in zip(ends, reported, strict=True) if end.ends_run]
    tasks = [asyncio.create_task(end.run(each, done)) for end, each in zip(ends, reported, strict=True)]
    telling = asyncio.create_task(_set_after(done, ending))
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in (*tasks, telling):
            task.cancel()
        await asyncio.gather(*tasks, telling, return_exceptions=True)


async def _set_after(done: asyncio.Event, reported: Sequence[Coroutine[object, object, object]]) -> None:
    await asyncio.gather(*reported)
    done.set()


class LocalEnd:
    """A process of this host: its report is one line; it leaves when it has reported and the run is over.

    Args:
        child: what to start.
        timeout_s: from when it is started.
        environment: what it finds, besides its own.
        starting: entered before it starts, left when it is ready or has reported.
    """

    def __init__(
        self, child: Child, timeout_s: float, environment: Mapping[str, str], starting: asyncio.Semaphore
    ) -> None:
        self._child = child
        self._timeout_s = timeout_s
        self._environment = environment
        self._starting = starting

    @property
    def ends_run(self) -> bool:
        """See :class:`End`."""
        return self._child.ends_run

    async def run(self, reported: asyncio.Event, done: asyncio.Event) -> str:
        """See :class:`End`."""
        pipe = asyncio.subprocess.PIPE
        await self._starting.acquire()
        process = await asyncio.create_subprocess_exec(
            # -P: what lies in the working directory is not to be imported.
            *(sys.executable, "-P", "-m", self._child.module, *self._child.arguments),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={**self._environment, **self._child.environment},
            limit=_LONGEST_REPORT_BYTES,
        )
        telling = asyncio.create_task(_tell(process, done))
        try:
            async with asyncio.timeout(self._timeout_s):
                report, complaint, _ = await asyncio.gather(
                    self._read_report(process, reported), _read_all(process.stderr), process.wait()
                )
        except TimeoutError as error:
            raise RunFailed(f"{self._child.name}: no report within {self._timeout_s:.0f} s") from error
        finally:
            telling.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0 or not report:
            tail = _end_of(complaint.decode(errors="replace")) or "nothing printed"
            raise RunFailed(f"{self._child.name}: exit status {process.returncode}: {tail}")
        return report.decode()

    async def _read_report(self, process: asyncio.subprocess.Process, reported: asyncio.Event) -> bytes:
        # Standard input stays open: its end would tell the child that its parent is gone.
        try:
            line = await _read_line(process.stdout)
        finally:
            self._starting.release()
        report = await _read_line(process.stdout) if line == READY else line
        if report:
            reported.set()
        return report


def _end_of(complaint: str) -> str:
    """The last lines that a process printed; of a last line that is too long, which names the error, the beginning."""
    text = complaint.strip()
    last = text.rpartition("\n")[2]
    return last[:_STDERR_TAIL_CHARS] if len(last) > _STDERR_TAIL_CHARS else text[-_STDERR_TAIL_CHARS:]


async def _tell(process: asyncio.subprocess.Process, done: asyncio.Event) -> None:
    await done.wait()
    if process.stdin is not None:
        process.stdin.write(b"done\n")


async def _read_line(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.readline() if stream is not None else b""


async def _read_all(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.read() if stream is not None else b""
