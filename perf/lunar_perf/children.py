"""Starts the processes of one run, waits for all of them, and leaves none behind, whatever happens."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

START_UP_S = 20.0
"""Allowance for interpreter start, discovery and warm-up, on top of the measured part."""

_STDERR_TAIL_CHARS = 800


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
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    ends_run: bool


def run_children(children: Sequence[Child], timeout_s: float) -> list[str]:
    """Run all processes at once.

    Args:
        children: what to start, in that order.
        timeout_s: for the whole run, start-up included.

    Returns:
        What each reported, in the order of ``children``.

    Raises:
        RunFailed: one failed or the time is over; all others are killed first.
    """
    return asyncio.run(_run_children(children, timeout_s))


async def _run_children(children: Sequence[Child], timeout_s: float) -> list[str]:
    done = asyncio.Event()
    tasks = [asyncio.create_task(_run_child(child, timeout_s, done)) for child in children]
    ending = [task for task, child in zip(tasks, children, strict=True) if child.ends_run]
    telling = asyncio.create_task(_set_after(done, ending))
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in (*tasks, telling):
            task.cancel()
        await asyncio.gather(*tasks, telling, return_exceptions=True)


async def _set_after(done: asyncio.Event, tasks: Sequence[asyncio.Task[str]]) -> None:
    await asyncio.wait(tasks)
    done.set()


async def _run_child(child: Child, timeout_s: float, done: asyncio.Event) -> str:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", child.module, *child.arguments, stdin=pipe, stdout=pipe, stderr=pipe
    )
    telling = asyncio.create_task(_tell(process, done))
    try:
        async with asyncio.timeout(timeout_s):
            report, complaint = await _read_to_end(process)
    except TimeoutError as error:
        raise RunFailed(f"{child.name}: no report within {timeout_s:.0f} s") from error
    finally:
        telling.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0 or not report:
        tail = complaint.decode(errors="replace").strip()[-_STDERR_TAIL_CHARS:]
        raise RunFailed(f"{child.name}: exit status {process.returncode}: {tail or 'nothing printed'}")
    return report.decode()


async def _tell(process: asyncio.subprocess.Process, done: asyncio.Event) -> None:
    await done.wait()
    if process.stdin is not None:
        process.stdin.write(b"done\n")


async def _read_to_end(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    # Not communicate(): that closes standard input at once, which the child takes for the end of its parent.
    if process.stdout is None or process.stderr is None:
        raise RunFailed("a process was started without pipes")
    report, complaint = await asyncio.gather(process.stdout.read(), process.stderr.read())
    await process.wait()
    return report, complaint
