"""The runtime directory is missing, not writable, somebody else's, no directory at all, or its path too long."""

import os
import stat
from pathlib import Path

import pytest

import lunar

pytestmark = pytest.mark.faults

needs_root = pytest.mark.skipif("os.geteuid() != 0", reason="needs root, to become another user")
NOBODY = 65534


def talks_to_itself(node: lunar.Node) -> bool:
    publisher = node.create_publisher(bytes, "topic")
    subscription = node.create_subscription(bytes, "topic")
    publisher.wait_for_subscribers_blocking(1, timeout_s=20)
    publisher.publish_nowait(b"hello")
    return bytes(subscription.receive_blocking(timeout_s=20)) == b"hello"


def test_a_missing_directory_is_made_for_its_owner_alone(runtime_dir, monkeypatch):
    missing = runtime_dir / "to" / "be" / "made"
    monkeypatch.setenv("LUNAR_RUNTIME_DIR", str(missing))
    with lunar.Node("first") as node:
        assert talks_to_itself(node)
        assert stat.S_IMODE(missing.stat().st_mode) == 0o700
        assert stat.S_IMODE((missing / "0").stat().st_mode) == 0o700
    assert list((missing / "0").iterdir()) == []


def test_a_path_that_no_socket_address_has_room_for_works(runtime_dir, monkeypatch, start):
    long = runtime_dir / ("x" * 200) / ("y" * 200)
    monkeypatch.setenv("LUNAR_RUNTIME_DIR", str(long))
    with lunar.Node("first") as node:
        publisher = node.create_publisher(bytes, "topic")
        other = start("""
            node = lunar.Node("second")
            subscription = node.create_subscription(bytes, "topic")
            say(bytes(subscription.receive_blocking(timeout_s=20)).decode())
            node.close()
        """)
        publisher.wait_for_subscribers_blocking(1, timeout_s=20)
        publisher.publish_nowait(b"hello")
        assert other.hear() == "hello"
        assert other.end() == (0, "")
        assert len(list(long.rglob("*.sock"))) == 1


@pytest.mark.parametrize(
    "what", ["file", "file at the domain's place", "dangling link", "link to a directory", "path of a file"]
)
def test_what_is_no_directory_is_refused(runtime_dir, monkeypatch, what, no_leaks):
    path = runtime_dir / "place"
    match what:
        case "file":
            path.write_text("")
        case "file at the domain's place":
            path.mkdir(mode=0o700)
            (path / "0").write_text("")
        case "dangling link":
            path.symlink_to("/nowhere/at/all")
        case "link to a directory":
            path.symlink_to(runtime_dir)
        case "path of a file":
            path.write_text("")
            path /= "below"
    monkeypatch.setenv("LUNAR_RUNTIME_DIR", str(path))
    before = no_leaks()
    with pytest.raises(lunar.ConfigError, match="LUNAR_RUNTIME_DIR") as caught:
        lunar.Node("first")
    assert str(path) in str(caught.value)
    del caught  # its traceback holds what was half made
    assert no_leaks() == before
    for entry in (path, path.parent if what == "path of a file" else path):
        if entry.is_symlink() or entry.is_file():
            entry.unlink()
    if path.is_dir():
        (path / "0").unlink()
        path.rmdir()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707, 0o722])
def test_a_directory_that_others_may_write_to_is_refused(runtime_dir, mode):
    runtime_dir.chmod(mode)
    with pytest.raises(lunar.ConfigError, match=f"{mode:04o}"):
        lunar.Node("first")


AS_NOBODY = """
os.setgid(65534)
os.setuid(65534)
say(attempt(lambda: lunar.Node("first")))
say(attempt(lambda: lunar.graph_snapshot()))
"""


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_directory_of_another_user_is_refused(runtime_dir, start, mode):
    runtime_dir.chmod(mode)
    with lunar.Node("owner"):
        program = start(AS_NOBODY)
        for said in (program.hear(), program.hear()):
            assert said.startswith("ConfigError: ")
            assert str(runtime_dir) in said
        assert program.end() == (0, "")


@needs_root
@pytest.mark.parametrize("mode", [0o500, 0o400, 0o000])
def test_a_directory_that_its_owner_may_not_write_to_is_refused(runtime_dir, start, mode):
    os.chown(runtime_dir, NOBODY, NOBODY)
    runtime_dir.chmod(mode)
    program = start(AS_NOBODY)
    for said in (program.hear(), program.hear()):
        assert said.startswith("ConfigError: ")
        assert str(runtime_dir) in said
    assert program.end() == (0, "")


@needs_root
def test_a_place_where_nothing_can_be_made_is_refused(runtime_dir, start):
    runtime_dir.chmod(0o755)
    program = start(AS_NOBODY, LUNAR_RUNTIME_DIR=str(runtime_dir / "missing"))
    for said in (program.hear(), program.hear()):
        assert said.startswith("ConfigError: ")
        assert "it cannot be made: Permission denied" in said
    assert program.end() == (0, "")


def test_who_is_there_goes_on_when_the_directory_is_removed(runtime_dir, start, caplog):
    """A clean-up of /tmp, or a log-out, takes the directory away under running processes."""
    with lunar.Node("first") as node:
        subscription = node.create_subscription(bytes, "topic", qos=lunar.QoS(history="keep_all"))
        other = start("""
            node = lunar.Node("second")
            publisher = node.create_publisher(bytes, "topic", qos=lunar.QoS(history="keep_all"))
            publisher.wait_for_subscribers_blocking(1, timeout_s=20)
            say("matched")
            heard()
            publisher.publish_nowait(b"still here")
            other = node.create_subscription(bytes, "new topic".replace(" ", "_"))
            heard()
            node.close()
        """)
        assert other.hear() == "matched"
        for path in Path(runtime_dir, "0").iterdir():
            path.unlink()
        Path(runtime_dir, "0").rmdir()
        other.tell("go on")
        assert bytes(subscription.receive_blocking(timeout_s=20)) == b"still here"
        publisher = node.create_publisher(bytes, "new_topic")
        publisher.wait_for_subscribers_blocking(1, timeout_s=20)
        with pytest.raises(lunar.LunarError, match=str(runtime_dir)):
            lunar.graph_snapshot()
        other.tell("end")
        assert other.end() == (0, "")
    assert "Traceback" not in caplog.text
    with lunar.Node("third") as node:
        assert talks_to_itself(node)
