"""A process of a footprint run: ``python -m lunar_perf.footprint_process idle|observe|crowd|memory ...``."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

import lunar
from lunar_perf.child import begin, ready, tell
from lunar_perf.footprint import of_each_thread, process_start_s, voluntary_switches

MATCH_S = 55.0
SETTLE_S = 1.0


async def idle(channel: str, done: threading.Event) -> None:
    """A node with both kinds of endpoints, matched with the observer's, that waits for a message until the end."""
    async with lunar.Node(channel) as node:
        node.create_publisher(bytes, f"{channel}/out")
        sub = node.create_subscription(bytes, f"{channel}/in")
        loop, waiting = asyncio.get_running_loop(), asyncio.ensure_future(sub.receive())

        def end_waiting() -> None:
            done.wait()
            loop.call_soon_threadsafe(waiting.cancel)

        # A thread of its own, which sleeps: waiting with a time-out would be a wake-up of ours, not Lunar's.
        threading.Thread(target=end_waiting, daemon=True).start()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting


def observe(observe_s: float, channel: str) -> dict[str, object]:
    """Match the idle node, leave it alone for a second, then count its wake-ups."""
    with lunar.Node("observer") as node:
        pub = node.create_publisher(bytes, f"{channel}/in")
        sub = node.create_subscription(bytes, f"{channel}/out")
        pub.wait_for_subscribers_blocking(1, MATCH_S)
        sub.wait_for_publishers_blocking(1, MATCH_S)
        pid = next(info.pid for info in lunar.graph_snapshot().nodes if info.name == channel)
        time.sleep(SETTLE_S)
        before, cpu_before_ns, at = voluntary_switches(pid)[0], _cpu_ns(pid), time.monotonic()
        time.sleep(observe_s)
        (after, threads), cpu_after_ns = voluntary_switches(pid), _cpu_ns(pid)
        observed_s = time.monotonic() - at
    return {
        "wakeups_per_s": (after - before) / observed_s,
        "cpu_ms_per_s": (cpu_after_ns - cpu_before_ns) / 1e6 / observed_s,
        "threads": threads,
        "observed_s": observed_s,
    }


def _cpu_ns(pid: int) -> int:
    return sum(int(schedstat.split()[0]) for schedstat in of_each_thread(pid, "schedstat"))


async def crowd(channel: str, processes: int, report: TextIO, done: threading.Event) -> None:
    """Match with everybody, this process included; stay until everybody has."""
    started_s = process_start_s(os.getpid(), os.sysconf("SC_CLK_TCK"))
    async with lunar.Node(f"crowd_{os.getpid()}") as node:
        ready_s = time.monotonic()
        pub = node.create_publisher(bytes, channel)
        sub = node.create_subscription(bytes, channel)
        ready(report)
        await pub.wait_for_subscribers(processes, timeout_s=MATCH_S)
        await sub.wait_for_publishers(processes, timeout_s=MATCH_S)
        times = {"started_s": started_s, "ready_s": ready_s, "matched_s": time.monotonic()}
        tell(report, json.dumps({**times, "subscribers": pub.subscriber_count}))
        await asyncio.to_thread(done.wait)


async def memory() -> dict[str, int]:
    """A node with both kinds of endpoints; what its process takes once it has settled."""
    async with lunar.Node(f"memory_{os.getpid()}") as node:
        node.create_publisher(bytes, "memory/out")
        node.create_subscription(bytes, "memory/in")
        await asyncio.sleep(SETTLE_S)
        gc.collect()
        return _taken()


def _taken() -> dict[str, int]:
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    taken = {fields[0].rstrip(":"): int(fields[1]) * 1024 for fields in lines}
    return {
        "rss_bytes": taken["Rss"],
        "pss_bytes": taken["Pss"],
        "private_bytes": taken["Private_Clean"] + taken["Private_Dirty"],
        "threads": len(os.listdir("/proc/self/task")),
    }


def main(arguments: list[str]) -> int:
    """Arguments: the part and what it needs."""
    done, report = begin(None)
    match arguments:
        case ["idle", channel]:
            lunar.run(idle(channel, done))
            tell(report, "{}")
        case ["observe", seconds, channel]:
            tell(report, json.dumps(observe(float(seconds), channel)))
        case ["crowd", channel, processes]:
            lunar.run(crowd(channel, int(processes), report, done))
        case ["memory"]:
            tell(report, json.dumps(lunar.run(memory())))
        case _:
            raise ValueError(f"unknown part {arguments!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
