"""How processes meet: whichever of two appears last sees the other."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import lunar
from lunar.graph import rendezvous

OTHER = """
import sys
import lunar

with lunar.Node("other") as node:
    node.create_subscription(bytes, "t")
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("bound_earlier", [False, True], ids=["later", "earlier, but appeared later"])
def test_two_processes_meet_whoever_appears_first(
    bound_earlier: bool, monkeypatch: pytest.MonkeyPatch, no_leaks: object
) -> None:
    with subprocess.Popen([sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        if bound_earlier:
            monkeypatch.setattr(rendezvous, "time", SimpleNamespace(monotonic_ns=lambda: 1))
        with lunar.Node("late") as node:
            node.create_publisher(bytes, "t").wait_for_subscribers_blocking(1, 10)
        other.communicate()


def test_sockets_of_processes_that_were_killed_before_they_appeared_are_removed(runtime_dir: Path) -> None:
    with lunar.Node("first"):
        directory = runtime_dir / "0"
        abandoned = directory / f".{1:016x}-{'a' * 32}.sock"
        code = "import socket, sys; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).bind(sys.argv[1])"
        subprocess.run([sys.executable, "-c", code, str(abandoned)], check=True)
        assert abandoned.exists()
    with lunar.Node("second"):
        lunar.graph_snapshot()
        assert not abandoned.exists()


def test_a_process_that_hangs_is_named_by_its_pid() -> None:
    with subprocess.Popen([sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        other.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, other.pid, os.WSTOPPED | os.WNOWAIT)  # not before one of its threads took the signal
        try:
            snapshot = lunar.graph_snapshot(0.2)
        finally:
            other.send_signal(signal.SIGCONT)
        other.communicate()
    assert f"with pid {other.pid} " in "".join(snapshot.unreachable)
