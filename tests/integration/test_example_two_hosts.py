"""The example `two_hosts` as a new user starts it, in a lab of two hosts."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lunar import testing

REASON = testing.lab_unavailable()
pytestmark = [pytest.mark.privileged, pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}")]

EXAMPLE = Path(__file__).parents[2] / "examples" / "two_hosts"
Start = Callable[[int, str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path, no_leaks: Callable[[], list[str]]) -> Iterator[Start]:
    environment = {"LUNAR_RANGE": "network", "XDG_CONFIG_HOME": str(tmp_path)}
    with testing.Hosts(2) as hosts:

        def start(host: int, script: str) -> "subprocess.Popen[bytes]":
            program = [sys.executable, str(EXAMPLE / script)]
            pipe = subprocess.PIPE
            return hosts[host].start(program, environment=environment, stdout=pipe, stderr=pipe)

        yield start


def next_line(program: "subprocess.Popen[bytes]") -> str:
    assert program.stdout is not None
    return program.stdout.readline().decode()


def test_the_listener_hears_the_talker_of_the_other_host(start: Start) -> None:
    listener, talker = start(0, "listener.py"), start(1, "talker.py")
    first = next_line(listener)
    number, _, rest = first.partition(": ")
    assert rest.startswith("hello from the other host (")
    assert next_line(listener).startswith(f"{int(number) + 1}: ")
    assert next_line(talker).startswith("matched with a listener on ")
