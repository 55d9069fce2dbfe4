"""Nodes whose messages AF_XDP carries, and what happens when it cannot, or no longer: another way carries them."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lunar import testing
from lunar.testing import Child

REASON = testing.lab_unavailable()
pytestmark = [pytest.mark.privileged, pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}")]

FOLDER = Path(__file__).parent
FAST, PLAIN = FOLDER / "fast_child.py", FOLDER / "plain_child.py"
LUNAR = [sys.executable, "-c", "import sys; from lunar.cli.main import main; sys.exit(main())"]


class Lab:
    """Two hosts, and programs on them."""

    def __init__(self, hosts: testing.Hosts, home: Path) -> None:
        self.hosts = hosts
        self.environment = {"LUNAR_RANGE": "network", "XDG_CONFIG_HOME": str(home)}

    def child(self, host: int, name: str, privileged: bool = True) -> Child:
        program: list[Path] = [FAST] if privileged else [PLAIN, FAST]
        return self.hosts[host].child(program[0], *map(str, program[1:]), name, "fast", environment=self.environment)

    def pair(self, privileged: bool = True) -> list[Child]:
        made = [self.child(0, "a"), self.child(1, "b", privileged)]
        for each in made:
            each.call("meet")
        return made

    def run(self, *arguments: str, privileged: bool = True) -> str:
        pipe = subprocess.PIPE
        command = LUNAR if privileged else [sys.executable, str(PLAIN), *LUNAR[1:]]
        started = self.hosts[0].start([*command, *arguments], environment=self.environment, stdout=pipe, stderr=pipe)
        out, _ = started.communicate(timeout=30)
        return str(out.decode())

    def transport(self) -> str:
        pairs = json.loads(self.run("explain", "from_a", "--json"))["pairs"]
        return str(pairs[0]["transport"]) if pairs else ""

    def transport_becomes(self, expected: Callable[[str], bool], within_s: float = 30.0) -> None:
        give_up_at = time.monotonic() + within_s
        while not expected(found := self.transport()):
            assert time.monotonic() < give_up_at, found


@pytest.fixture
def lab(tmp_path: Path, no_leaks: Callable[[], list[str]]) -> Iterator[Lab]:
    with testing.Hosts(2) as hosts:
        yield Lab(hosts, tmp_path)


def exchange(one: Child, other: Child, count: int, size_bytes: int = 1_000) -> None:
    other.start("receive", count=count, size_bytes=size_bytes)
    one.call("send", count=count, size_bytes=size_bytes)
    assert other.answer(40) == 0


def test_without_the_privilege_the_same_protocol_goes_over_sockets(lab: Lab) -> None:
    a, b = lab.pair(privileged=False)
    exchange(a, b, 20)
    exchange(b, a, 20)
    assert lab.transport() == "xdp"
    [pair] = json.loads(lab.run("explain", "from_a", "--json"))["pairs"]
    assert pair["remarks"]["publisher"] == ""
    assert "over UDP sockets" in pair["remarks"]["subscription"]
    assert "lacks CAP_NET_RAW" in lab.run("explain", "from_a")


def test_messages_go_on_after_a_short_and_after_a_long_cut(lab: Lab) -> None:
    a, b = lab.pair()
    for sleep_s in (0.1, 3.0):
        b.start("receive", count=300, size_bytes=1_000)
        lab.hosts.cut(lab.hosts[1])
        end = time.monotonic() + sleep_s
        a.start("send", count=300, size_bytes=1_000)
        while time.monotonic() < end:
            lab.run("explain", "from_a", "--json")  # who asks meanwhile does no harm
        lab.hosts.mend(lab.hosts[1])
        assert a.answer(40) is None
        assert b.answer(40) == 0
    assert (a.call("losses"), b.call("losses")) == (0, 0)
    lab.transport_becomes("xdp".__eq__, 60)
    exchange(a, b, 20)


def test_the_doctor_says_what_is_missing_and_what_to_do(lab: Lab) -> None:
    [line] = [line for line in lab.run("doctor").splitlines() if "transport xdp" in line]
    assert "UDP" not in line
    report = lab.run("doctor", privileged=False)
    assert "over UDP sockets" in report
    assert "this process lacks CAP_NET_RAW (to open AF_XDP sockets)" in report
    assert "remedy: " in report
