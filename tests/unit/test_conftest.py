"""The leak check and the isolation must themselves be able to fail."""

import mmap
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from blockbuster import BlockBuster, BlockingError

import lunar

NewThings = Callable[[], list[str]]


def test_runtime_dir_is_in_the_environment_and_leaves_room_for_a_socket_name(runtime_dir: Path) -> None:
    assert os.environ["LUNAR_RUNTIME_DIR"] == str(runtime_dir)
    assert os.environ["LUNAR_DOMAIN"] == "0"
    assert runtime_dir.stat().st_mode & 0o777 == 0o700
    assert len(str(runtime_dir)) < 40


def test_no_leaks_sees_a_descriptor(no_leaks: NewThings) -> None:
    descriptor = os.memfd_create("lunar-test")
    seen = no_leaks()
    os.close(descriptor)
    assert seen == ["descriptor of /memfd:lunar-test (deleted)"]
    assert no_leaks() == []


def test_no_leaks_sees_a_mapping_whose_descriptor_is_closed(no_leaks: NewThings) -> None:
    descriptor = os.memfd_create("lunar-test")
    os.ftruncate(descriptor, mmap.PAGESIZE)
    # A raw mapping of Python keeps a duplicate of the descriptor too: the mapping is what is new here.
    with mmap.mmap(descriptor, mmap.PAGESIZE):
        os.close(descriptor)
        seen = no_leaks()
    assert "mapping of lunar-test (deleted)" in seen
    assert no_leaks() == []


def test_no_leaks_sees_a_file_and_a_process(no_leaks: NewThings, runtime_dir: Path) -> None:
    socket_file = runtime_dir / "1.sock"
    socket_file.touch()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        seen = no_leaks()
    socket_file.unlink()
    assert "file 1.sock" in seen
    assert f"process {child.pid}" in seen
    assert no_leaks() == []


async def test_no_leaks_can_be_asked_twice_in_a_running_loop(no_leaks: NewThings) -> None:
    held_by_the_loop = no_leaks()
    ours, theirs = socket.socketpair()
    assert no_leaks() == sorted([*held_by_the_loop, "descriptor of socket", "descriptor of socket"])
    ours.close()
    theirs.close()
    assert no_leaks() == held_by_the_loop


async def test_never_blocks_is_about_lunar_alone(never_blocks: BlockBuster) -> None:
    source = "import time\ndef block():\n    time.sleep(0)\n"
    in_lunar: dict[str, Callable[[], None]] = {}
    elsewhere: dict[str, Callable[[], None]] = {}
    exec(compile(source, str(Path(lunar.__path__[0], "blocking.py")), "exec"), in_lunar)
    exec(compile(source, "/elsewhere/blocking.py", "exec"), elsewhere)
    elsewhere["block"]()
    with pytest.raises(BlockingError, match="sleep"):
        in_lunar["block"]()
