"""A program in a process of its own that answers calls, for tests in which two processes matter.

The program ends with `serve(commands)`; the test starts it as a `Child` and calls the commands by name. Both sides
speak one line of JSON a call and one an answer, over the program's standard input and output.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from lunar import errors

__all__ = ["Child", "ChildFailed", "serve"]

_END_WITHIN_S = 10.0


class ChildFailed(errors.LunarError):
    """A command of a child raised, or the child ended before it answered.

    Attributes:
        kind: Name of the exception's class, or "" if the child ended.
        text: What it said.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self.kind = kind
        self.text = text

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.kind else self.text


class Child:
    """A running program that answers calls. As a context manager it ends with the block, killed if it has to be.

    Its standard error is this process's.

    Args:
        program: Path of the program, run by this interpreter.
        *arguments: Its command line.
        environment: Variables to set for it, beside this process's.
    """

    def __init__(self, program: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(program), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        self._unread = b""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def call(self, command: str, timeout_s: float = 20.0, **arguments: object) -> object:
        """Runs a command there and returns what it returned. Blocks.

        Args:
            command: Its name there.
            timeout_s: How long to wait for the answer.
            **arguments: JSON-ready values.

        Raises:
            ChildFailed: It raised, or the process has ended.
            TimeoutError: There was no answer within `timeout_s` seconds.
        """
        self.start(command, **arguments)
        return self.answer(timeout_s)

    def start(self, command: str, **arguments: object) -> None:
        """Starts a command there; `answer` once for each, in order."""
        line = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
        pipe = self._process.stdin
        if pipe is None or pipe.closed:
            raise ChildFailed("", f"process {self.pid} was told to end")
        try:
            pipe.write(line)
            pipe.flush()
        except BrokenPipeError as error:
            raise ChildFailed("", f"process {self.pid} has ended") from error

    def answer(self, timeout_s: float = 20.0) -> object:
        """Waits for the answer to a started command; see `call`."""
        answer = json.loads(self._read_line(time.monotonic() + timeout_s))
        if "raised" in answer:
            raise ChildFailed(answer["raised"], answer["text"])
        result: object = answer["returned"]
        return result

    def _read_line(self, give_up_at: float) -> bytes:
        pipe = self._process.stdout
        if pipe is None:
            raise ChildFailed("", "it has no standard output")
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, give_up_at - time.monotonic())):
                    raise errors.TimeoutError(f"process {self.pid} did not answer in time")
                read = os.read(pipe.fileno(), 1 << 20)
                if not read:
                    raise ChildFailed("", f"process {self.pid} has ended with code {self._process.wait()}")
                self._unread += read
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Sends it a signal that ends it, waits for that, and returns its exit code."""
        self._process.send_signal(number)
        return self.wait()

    def stop(self) -> None:
        """Stops it as it is (SIGSTOP); `resume` lets it go on."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """Lets a stopped process go on."""
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> int:
        """Lets it end by itself, kills it if it does not, and returns its exit code; a second call does the same."""
        self._close_input()
        return self.wait()

    def _close_input(self) -> None:
        if self._process.stdin is not None:
            # What it never read, because it has ended, is still in the buffer.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def wait(self) -> int:
        """Waits for its end and returns its exit code; one that takes too long is killed."""
        try:
            code = self._process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._close_input()
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


async def serve(commands: Mapping[str, Callable[..., object]]) -> None:  # type: ignore[explicit-any]
    """Answers calls until the parent closes the pipe: what a child's program does at its end.

    Args:
        commands: By name. Plain functions and coroutine functions with JSON-ready arguments, which return something
            JSON-ready. They run one after another in the running loop, in the order of the calls.
    """
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        request = json.loads(line)
        try:
            returned = commands[request["command"]](**request["arguments"])
            if inspect.isawaitable(returned):
                returned = await returned
            answer = {"returned": returned}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the parent's to judge
            answer = {"raised": type(error).__name__, "text": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
