"""How the demo's processes live with the one that started them.

They report on stdout, one JSON document a line, and stop when stdin closes: that happens when they are asked to, and
when the demo dies, however it dies. Ctrl-C does not reach them.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence

import lunar

_REPORT_PERIOD_S = 0.5


class Child:
    """This process, as one that another has started."""

    def __init__(self) -> None:
        # Whatever else prints (a library's notice) must not come between the reports.
        self._out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._watching: set[asyncio.Task[None]] = set()

    def run(self, main: Coroutine[object, object, None]) -> None:
        """Runs the process's work on Lunar's loop."""
        lunar.run(main)

    def report(self, kind: str, **facts: object) -> None:
        """Writes a line for the demo to read."""
        try:
            print(json.dumps({"kind": kind, "time_s": time.monotonic(), **facts}), file=self._out)
        except BrokenPipeError:  # it is gone; stdin says so too
            return

    def watch_events(self, node: lunar.Node) -> None:
        """Reports what deserves attention: losses, mismatches, faults."""

        async def watch() -> None:
            async for event in node.events():
                if event.severity == "warning":
                    self.report("event", text=str(event))

        self._watching.add(asyncio.get_running_loop().create_task(watch()))

    async def run_until_stopped(
        self, work: Sequence[Coroutine[object, object, None]], report: Callable[[], None]
    ) -> None:
        """Does its work, reporting now and then, until stdin closes.

        Raises:
            ExceptionGroup: What one of `work` raised.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in (*work, _repeat(report))]
            await _stdin_closed()
            for task in tasks:
                task.cancel()

    def interrupt_when_stopped(self) -> None:
        """For work that blocks: raises KeyboardInterrupt in the main thread when stdin closes."""

        def wait() -> None:
            while os.read(sys.stdin.fileno(), 1024):
                continue
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        threading.Thread(target=wait, daemon=True).start()


async def _repeat(report: Callable[[], None]) -> None:
    while True:
        report()
        await asyncio.sleep(_REPORT_PERIOD_S)


async def _stdin_closed() -> None:
    loop, closed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: closed.set() if not os.read(sys.stdin.fileno(), 1024) else None)
    try:
        await closed.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
