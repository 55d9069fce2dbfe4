"""Starts the processes of one run, waits for all of them, and leaves none behind, whatever happens."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

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
    # A runtime directory of the run's own: other nodes of this user neither disturb the run nor see it.
    with tempfile.TemporaryDirectory(prefix="lunar-perf-") as runtime_dir:
        environment = os.environ | {"LUNAR_RUNTIME_DIR": runtime_dir}
        return asyncio.run(_run_children(children, timeout_s, environment, starting_at_once or len(children)))


async def _run_children(
    children: Sequence[Child], timeout_s: float, environment: Mapping[str, str], starting_at_once: int
) -> list[str]:
    done, starting = asyncio.Event(), asyncio.Semaphore(starting_at_once)
    started = [_Started(child, timeout_s, environment, starting, done) for child in children]
    ending = [each.reported.wait() for each in started if each.child.ends_run]
    tasks = [asyncio.create_task(each.run()) for each in started]
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


class _Started:
    """One running process: its report is one line; it leaves when it has reported and the run is over."""

    def __init__(
        self,
        child: Child,
        timeout_s: float,
        environment: Mapping[str, str],
        starting: asyncio.Semaphore,
        done: asyncio.Event,
    ) -> None:
        self.child = child
        self.reported = asyncio.Event()
        self._timeout_s = timeout_s
        self._environment = environment
        self._starting = starting
        self._done = done

    async def run(self) -> str:
        pipe = asyncio.subprocess.PIPE
        await self._starting.acquire()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", self.child.module, *self.child.arguments),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env={**self._environment, **self.child.environment},
            limit=_LONGEST_REPORT_BYTES,
        )
        telling = asyncio.create_task(self._tell(process))
        try:
            async with asyncio.timeout(self._timeout_s):
                report, complaint, _ = await asyncio.gather(
                    self._read_report(process), _read_all(process.stderr), process.wait()
                )
        except TimeoutError as error:
            raise RunFailed(f"{self.child.name}: no report within {self._timeout_s:.0f} s") from error
        finally:
            telling.cancel()
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0 or not report:
            tail = complaint.decode(errors="replace").strip()[-_STDERR_TAIL_CHARS:]
            raise RunFailed(f"{self.child.name}: exit status {process.returncode}: {tail or 'nothing printed'}")
        return report.decode()

    async def _tell(self, process: asyncio.subprocess.Process) -> None:
        await self._done.wait()
        if process.stdin is not None:
            process.stdin.write(b"done\n")

    async def _read_report(self, process: asyncio.subprocess.Process) -> bytes:
        # Standard input stays open: its end would tell the child that its parent is gone.
        try:
            line = await _read_line(process.stdout)
        finally:
            self._starting.release()
        report = await _read_line(process.stdout) if line == READY else line
        if report:
            self.reported.set()
        return report


async def _read_line(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.readline() if stream is not None else b""


async def _read_all(stream: asyncio.StreamReader | None) -> bytes:
    return await stream.read() if stream is not None else b""
