"""What the fault tests share: child programs that say what they did, a line each, and waiting with a deadline."""

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
# To detect blocking only, on a machine that may be busy with something else.
PATIENCE_S = 20.0


class Program:
    """A child process that writes JSON lines to its standard output and takes lines from us."""

    def __init__(self, arguments: list[str], environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        self.pid = self._process.pid
        self._unread = b""

    def tell(self, text: str) -> None:
        """Sends it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, timeout_s: float = PATIENCE_S) -> object:
        """Waits for its next line and returns what it says."""
        assert self._process.stdout is not None
        stream = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([stream], [], [], left_s)[0]:
                raise AssertionError(f"process {self.pid} said nothing within {timeout_s} s")
            data = os.read(stream, 65536)
            if not data:
                raise AssertionError(f"process {self.pid} ended: {self.end()}")
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        return json.loads(line)

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def stop(self) -> None:
        """Stops it (SIGSTOP), and returns when it has."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def kill(self) -> None:
        """Ends it at once, and reaps it."""
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def end(self, timeout_s: float = PATIENCE_S) -> tuple[int, str]:
        """Waits for its end: the exit status, and what it wrote to standard error."""
        try:
            _, errors = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            _, errors = self._process.communicate()
            raise AssertionError(f"process {self.pid} did not end within {timeout_s} s: {errors.decode()}") from None
        return self._process.returncode, errors.decode()

    def close(self) -> None:
        """Ends it, however it is."""
        self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # what we told it and it never read
                    continue


Start = Callable[..., Program]


@pytest.fixture
def start(runtime_dir: Path) -> Iterator[Start]:
    """``start(code, *arguments, **environment)``: starts a program, a file in `programs` or the text itself."""
    started: list[Program] = []

    def start_one(code: str, *arguments: str, **environment: str) -> Program:
        if code.endswith(".py"):
            command = [str(PROGRAMS / code)]
        else:  # prelude.py comes first
            command = ["-c", (PROGRAMS / "prelude.py").read_text() + textwrap.dedent(code)]
        program = Program([*command, *arguments], environment)
        started.append(program)
        return program

    yield start_one
    for program in started:
        program.close()


@pytest.fixture
def until() -> Callable[..., None]:
    """``until(condition, what)``: polls a condition that nobody announces, and fails after a while."""

    def wait(condition: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
            select.select([], [], [], 0.002)

    return wait
