"""The two programs of the README and of the first design, each in a process of its own, exactly as they stand there."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lunar

TALKER = """
import asyncio, lunar

async def talker():
    async with lunar.Node("talker") as node:
        pub = node.create_publisher(bytes, "chatter", qos=lunar.QoS(reliability="reliable", depth=100))
        await pub.wait_for_subscribers(1, timeout_s=5)
        for i in range(10):
            await pub.publish(b"hello %d" % i)        # waits only when the profile says that nothing may be lost
        with pub.loan(1_000_000) as buffer:           # writable memoryview over shared memory
            buffer[:5] = b"frame"                     # leaving the block publishes; an exception discards
        pub.publish_nowait(b"now")                    # raises lunar.WouldBlock instead of waiting

lunar.run(talker())         # loop="auto"; asyncio.run and uvloop.run work as well, only slower to wake
"""

LISTENER = """
import asyncio, lunar

async def listener():
    async with lunar.Node("listener") as node:
        sub = node.create_subscription(bytes, "chatter", qos=lunar.QoS(reliability="reliable", depth=100))
        async for message in sub:                     # a read-only memoryview on the sender's memory; it keeps the
            print(bytes(message[:16]))                # sample alive as long as any view of it lives, and no longer

lunar.run(listener())
"""

RUNS = {
    "lunar.run": "lunar.run(",
    "asyncio.run": "asyncio.run(",
    "uvloop.run": "import uvloop; uvloop.run(",
}

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """``start(source)``: a running program, which does not outlive the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(source: str) -> "subprocess.Popen[str]":
        program = tmp_path / f"program_{len(processes)}.py"
        program.write_text(source)
        process = subprocess.Popen([sys.executable, "-u", program], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read_lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    if process.stdout is None:
        raise AssertionError("it has no standard output")
    return [process.stdout.readline().rstrip() for _ in range(count)]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("first", ["talker", "listener"])
def test_the_listener_prints_what_the_talker_says(start: Start, run: str, first: str) -> None:
    talk, listen = (source.replace("lunar.run(", RUNS[run]) for source in (TALKER, LISTENER))
    if first == "talker":
        talker, listener = start(talk), start(listen)
    else:
        listener, talker = start(listen), start(talk)
    heard = read_lines(listener, 12)
    assert heard[:10] == [str(b"hello %d" % number) for number in range(10)]
    assert heard[10].startswith("b'frame")
    assert heard[11] == "b'now'"
    assert talker.wait(10) == 0
    assert listener.poll() is None


def test_the_talker_says_when_nobody_listens(start: Start) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", TALKER.replace("timeout_s=5", "timeout_s=0.01")], stderr=subprocess.PIPE, text=True
    )
    _, error = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "lunar.errors.TimeoutError: 0 of 1 subscriptions of /chatter matched after 0.01 s" in error


def test_a_second_listener_hears_as_much_and_one_that_comes_late_nothing(start: Start) -> None:
    listeners = [start(LISTENER), start(LISTENER)]
    talker = start(TALKER.replace("wait_for_subscribers(1", "wait_for_subscribers(2"))
    for listener in listeners:
        assert read_lines(listener, 12)[9] == "b'hello 9'"
    assert talker.wait(10) == 0
    late = start(LISTENER)
    with lunar.Node("tested") as node:
        publisher = node.create_publisher(bytes, "chatter")
        publisher.wait_for_subscribers_blocking(3, timeout_s=10)
        publisher.publish_nowait(b"first for the late")
    assert read_lines(late, 1) == [str(b"first for the late"[:16])]
