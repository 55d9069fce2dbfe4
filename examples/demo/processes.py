"""The demo's side of its child processes: starting them, reading what they report, stopping them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias

# JSON of our own children: only they know what is in it.
Report: TypeAlias = dict[str, Any]

_HERE = Path(__file__).resolve().parent
_STOP_TIMEOUT_S = 10


class ChildFailed(Exception):
    """A child process ended before it should have, or with an error that it has printed itself."""


class ChildProcess:
    """A script of this folder in a process of its own; made by `start`."""

    def __init__(self, script: str, process: asyncio.subprocess.Process) -> None:
        self._script = script
        self._process = process

    @classmethod
    async def start(cls, script: str, *arguments: str) -> ChildProcess:
        """Starts a script; its stderr is ours."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(_HERE / script),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the demo to act on
        )
        return cls(script, process)

    async def reports(self) -> AsyncIterator[Report]:
        """Yields what it reports, until it ends.

        Raises:
            ChildFailed: It ended with an error.
        """
        if self._process.stdout is not None:
            async for line in self._process.stdout:
                yield json.loads(line)
        code = await self._process.wait()
        if code:
            raise ChildFailed(f"{self._script} failed (exit code {code})")

    def ask_to_stop(self) -> None:
        """Lets it finish what it does and end."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def stop(self) -> None:
        """Makes sure that it has ended; a second call does nothing."""
        self.ask_to_stop()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
