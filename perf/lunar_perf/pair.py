"""Starts the processes of one run, waits for all of them, and leaves none behind, whatever happens."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from lunar_perf.peer_process import Outcome
from lunar_perf.work import Role, Work

START_UP_S = 20.0
"""Allowance for interpreter start, discovery and warm-up, on top of the measured part."""

STDERR_TAIL_CHARS = 800


class RunFailed(RuntimeError):
    """A measured process ended without a result, or none came in time. The message says which and what it printed."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of a run."""

    role: Role
    core: int


def run_parts(peer: str, parts: list[Part], work: Work, measured_s: float) -> list[Outcome]:
    """Run all parts at once and return their outcomes in the order of ``parts``.

    Args:
        peer: name of the measured library.
        parts: the processes; each is started with the same ``work``.
        work: what they do.
        measured_s: how long the measured part may take at most, in seconds.

    Raises:
        RunFailed: a process failed or the time is over; all others are ended first.
    """
    return asyncio.run(_run_parts(peer, parts, work, measured_s + START_UP_S))


async def _run_parts(peer: str, parts: list[Part], work: Work, timeout_s: float) -> list[Outcome]:
    done = asyncio.Event()
    tasks = [asyncio.create_task(_run_part(peer, part, work, timeout_s, done)) for part in parts]
    reporting = [task for task, part in zip(tasks, parts, strict=True) if part.role in ("ping", "receive")]
    release = asyncio.create_task(_set_after(done, reporting))
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in (*tasks, release):
            task.cancel()
        await asyncio.gather(*tasks, release, return_exceptions=True)


async def _set_after(done: asyncio.Event, tasks: list[asyncio.Task[Outcome]]) -> None:
    await asyncio.wait(tasks)
    done.set()


async def _run_part(peer: str, part: Part, work: Work, timeout_s: float, done: asyncio.Event) -> Outcome:
    command = (sys.executable, "-m", "lunar_perf.peer_process", peer, part.role, str(part.core), work.to_json())
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    telling = asyncio.create_task(_tell(process, done))
    try:
        async with asyncio.timeout(timeout_s):
            report, complaint = await _read_to_end(process)
    except TimeoutError as error:
        raise RunFailed(f"{peer} {part.role}: no result within {timeout_s:.0f} s") from error
    finally:
        telling.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0 or not report:
        tail = complaint.decode(errors="replace").strip()[-STDERR_TAIL_CHARS:]
        raise RunFailed(f"{peer} {part.role}: exit status {process.returncode}: {tail}")
    return Outcome.from_json(report.decode())


async def _tell(process: asyncio.subprocess.Process, done: asyncio.Event) -> None:
    await done.wait()
    if process.stdin is not None:
        process.stdin.write(b"done\n")


async def _read_to_end(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    # Not communicate(): that closes standard input at once, which the child takes for the end of its parent.
    if process.stdout is None or process.stderr is None:
        raise RunFailed("the process was started without pipes")
    report, complaint = await asyncio.gather(process.stdout.read(), process.stderr.read())
    await process.wait()
    return report, complaint
