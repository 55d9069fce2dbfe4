"""Other users: they cannot connect, see topics or read samples, unless the group was opened to them."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lunar
from tests.faults.conftest import Program
from tests.faults.victim import attacked, run

Start = Callable[..., Program]

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.privileged,
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become other users"),
]

TOPIC = "/secret"
NOBODY, FRIENDS, OTHERS = 65534, 61234, 61235

BECOME_NOBODY = f"""
import socket
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
"""


@contextlib.contextmanager
def keeping_a_secret(runtime_dir: Path) -> Iterator[Path]:
    """A publisher keeps one for late joiners, in a folder that everybody can at least look into. Yields its socket."""
    runtime_dir.chmod(0o755)
    with lunar.Node("keeper") as node:
        publisher = node.create_publisher(bytes, TOPIC, qos=lunar.QoS(durability="transient_local"))
        publisher.publish_nowait(b"the secret")
        (path,) = (runtime_dir / "0").glob("*.sock")
        yield path
        assert publisher.subscriber_count == 0


def test_a_stranger_cannot_connect(runtime_dir: Path, start: Start) -> None:
    with keeping_a_secret(runtime_dir) as path:
        program = start(
            BECOME_NOBODY
            + f"""
say(attempt(lambda: os.listdir({str(path.parent)!r})))
link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
say(attempt(lambda: link.connect({str(path)!r})))
say(attempt(lambda: lunar.graph_snapshot()))
"""
        )
        assert str(program.hear()).startswith("PermissionError")
        assert str(program.hear()).startswith("PermissionError")
        assert str(program.hear()).startswith("ConfigError")
        assert program.end() == (0, "")


def test_a_stranger_who_comes_through_is_told_nothing(
    runtime_dir: Path, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """Should the folder and the socket be opened by mistake, the kernel still says who is asking."""
    with keeping_a_secret(runtime_dir) as path:
        path.parent.chmod(0o755)
        path.chmod(0o666)
        program = start(
            BECOME_NOBODY
            + f"""
link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
link.connect({str(path)!r})
link.settimeout(10)
try:
    link.send(b'[{{"op":"nudge"}}]')
    said = link.recv(100000)
except (BrokenPipeError, ConnectionResetError):
    said = b""
say(said.decode())
"""
        )
        assert program.hear() == ""
        assert program.end() == (0, "")
        assert f"refused a process (pid {program.pid}) of user {NOBODY}" in caplog.text


def test_a_stranger_cannot_reach_the_memory(runtime_dir: Path, start: Start) -> None:
    """Samples have no name in any file system; the way through /proc is the kernel's to guard."""
    with keeping_a_secret(runtime_dir):
        program = start(
            BECOME_NOBODY
            + f"""
say([attempt(lambda: os.open(f"/proc/{os.getpid()}/fd/{{fd}}", os.O_RDONLY)) for fd in range(3, 40)])
say(attempt(lambda: open("/proc/{os.getpid()}/mem", "rb")))
"""
        )
        answers = program.hear()
        assert isinstance(answers, list)
        assert all(said.startswith("PermissionError") for said in answers)
        assert str(program.hear()).startswith("PermissionError")
        assert program.end() == (0, "")


def test_two_users_do_not_meet(runtime_dir: Path, start: Start) -> None:
    """Each has a domain of its own, though it is called by the same number."""
    with keeping_a_secret(runtime_dir):
        home = runtime_dir / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        program = start(
            f"""
os.environ["LUNAR_RUNTIME_DIR"] = {str(home)!r}
{BECOME_NOBODY}
with lunar.Node("elsewhere") as node:
    say([found.full_name for found in lunar.graph_snapshot().nodes])
    subscription = node.create_subscription(bytes, {TOPIC!r}, qos=lunar.QoS(durability="transient_local"))
    say(attempt(lambda: subscription.receive_blocking(timeout_s=0.2)))
"""
        )
        assert program.hear() == ["/elsewhere"]
        assert str(program.hear()).startswith("TimeoutError")
        assert program.end()[0] == 0


# ---- opened to a group -----------------------------------------------------------------------------------------------

READ = f"""
with lunar.Node("friend") as node:
    say(sorted(found.full_name for found in lunar.graph_snapshot().nodes))
    subscription = node.create_subscription(bytes, {TOPIC!r}, qos=lunar.QoS(durability="transient_local"))
    say(bytes(subscription.receive_blocking(timeout_s=10)).decode())
    answers = node.create_publisher(bytes, "/answer")
    answers.wait_for_subscribers_blocking(1, timeout_s=10)
    answers.publish_blocking(b"thanks")
    heard()
"""


@pytest.fixture
def opened(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory for a group, inside of a folder that everybody can pass through."""
    runtime_dir.chmod(0o711)
    path = runtime_dir / "opened"
    monkeypatch.setenv("LUNAR_RUNTIME_DIR", str(path))
    monkeypatch.setenv("LUNAR_GROUP", str(FRIENDS))
    return path


@pytest.mark.parametrize("groups", [f"os.setgroups([{FRIENDS}])", f"os.setgroups([]); os.setgid({FRIENDS})"])
def test_a_member_of_the_group_joins(opened: Path, start: Start, groups: str) -> None:
    with lunar.Node("keeper") as node:
        publisher = node.create_publisher(bytes, TOPIC, qos=lunar.QoS(durability="transient_local"))
        publisher.publish_nowait(b"no secret")
        answers = node.create_subscription(bytes, "/answer")
        program = start(f"{groups}\nos.setuid({NOBODY})\n{READ}")
        assert program.hear() == ["/friend", "/keeper"]
        assert program.hear() == "no secret"
        assert bytes(answers.receive_blocking(timeout_s=10)) == b"thanks"
        program.tell("done")
        assert program.end() == (0, "")


@pytest.mark.parametrize("groups", [[], [OTHERS], list(range(70000, 72000))])
def test_who_is_not_in_the_group_stays_out(opened: Path, start: Start, groups: list[int]) -> None:
    """Also with more groups than we ask the kernel about at first."""
    with lunar.Node("keeper") as node:
        publisher = node.create_publisher(bytes, TOPIC)
        (path,) = (opened / "0").glob("*.sock")
        program = start(
            f"""
import socket
os.setgroups({groups})
os.setgid({OTHERS})
os.setuid({NOBODY})
say(attempt(lambda: lunar.Node("stranger")))
say(attempt(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect({str(path)!r})))
heard()
link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
link.connect({str(path)!r})
say(link.recv(100).decode())
"""
        )
        assert str(program.hear()).startswith("ConfigError")
        assert str(program.hear()).startswith("PermissionError")
        for folder in (opened, opened / "0"):
            folder.chmod(0o777)
        path.chmod(0o666)
        program.tell("opened by mistake")
        assert program.hear() == ""
        assert program.end() == (0, "")
        assert publisher.subscriber_count == 0


def test_a_member_with_very_many_groups_joins(opened: Path, start: Start) -> None:
    with lunar.Node("keeper") as node:
        publisher = node.create_publisher(bytes, TOPIC, qos=lunar.QoS(durability="transient_local"))
        publisher.publish_nowait(b"no secret")
        groups = [*range(70000, 72000), FRIENDS]
        program = start(
            f"""
import socket
os.setgroups({groups})
os.setgid({OTHERS})
os.setuid({NOBODY})
with lunar.Node("friend") as node:
    subscription = node.create_subscription(bytes, {TOPIC!r}, qos=lunar.QoS(durability="transient_local"))
    say(bytes(subscription.receive_blocking(timeout_s=10)).decode())
"""
        )
        assert program.hear() == "no secret"
        assert program.end() == (0, "")


def test_a_member_cannot_take_away_or_replace_the_socket_of_another(opened: Path, start: Start) -> None:
    with lunar.Node("keeper"):
        (path,) = (opened / "0").glob("*.sock")
        program = start(
            f"""
os.setgroups([{FRIENDS}])
os.setgid({NOBODY})
os.setuid({NOBODY})
say(attempt(lambda: os.unlink({str(path)!r})))
say(attempt(lambda: os.rename({str(path)!r}, {str(path)!r} + ".old")))
open({str(path.parent / "mine")!r}, "w").close()
say(attempt(lambda: os.rename({str(path.parent / "mine")!r}, {str(path)!r})))
say(attempt(lambda: os.rmdir({str(path.parent)!r})))
os.unlink({str(path.parent / "mine")!r})
"""
        )
        for _ in range(4):
            assert str(program.hear()).startswith(("PermissionError", "OSError"))
        assert program.end() == (0, "")
        assert path.is_socket()
    path.parent.rmdir()


def test_a_hostile_member_is_disconnected_like_any_other(opened: Path) -> None:
    async def attack() -> None:
        async with attacked(opened) as victim:
            with victim.hostile() as hostile:
                hostile.greet()
                hostile.send({"op": "format"})
                await victim.disconnects(hostile, "unknown operation")

    run(attack())


# ---- root ------------------------------------------------------------------------------------------------------------


def test_root_falls_into_nobodys_trap(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its default place lies where anybody can make a folder: one that is not its own is not for it."""
    os.chown(runtime_dir, NOBODY, NOBODY)
    monkeypatch.delenv("LUNAR_RUNTIME_DIR")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    for module in ("lunar.config", "lunar.graph.rendezvous"):
        monkeypatch.setattr(f"{module}.default_runtime_dir", lambda: runtime_dir)
    with pytest.raises(lunar.ConfigError, match=f"belongs to user {NOBODY}"):
        lunar.Node("careless")
