"""Nodes on two hosts whose profiles ask for the fast datapath: AF_XDP carries their messages."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import NetNS

from lunar import testing
from lunar.testing import Child

REASON = testing.lab_unavailable()
pytestmark = [pytest.mark.privileged, pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}")]

CHILD = Path(__file__).with_name("fast_child.py")
LUNAR = [sys.executable, "-c", "import sys; from lunar.cli.main import main; sys.exit(main())"]


class Lab:
    """Two hosts, and programs on them."""

    def __init__(self, hosts: testing.Hosts, home: Path) -> None:
        self.hosts = hosts
        self._environment = {"LUNAR_RANGE": "network", "XDG_CONFIG_HOME": str(home)}

    def child(self, host: int, name: str, datapath: str = "fast") -> Child:
        return self.hosts[host].child(CHILD, name, datapath, environment=self._environment)

    def pair(self, *datapaths: str) -> list[Child]:
        made = [self.child(index, name, path) for index, (name, path) in enumerate(zip("ab", datapaths, strict=True))]
        for each in made:
            each.call("meet")
        return made

    def explain(self, topic: str) -> dict[str, Any]:
        pipe = subprocess.PIPE
        command = [*LUNAR, "explain", topic, "--json"]
        started = self.hosts[0].start(command, environment=self._environment, stdout=pipe, stderr=pipe)
        out, err = started.communicate(timeout=30)
        assert started.returncode == 0, err.decode()
        pair: dict[str, Any]
        [pair] = json.loads(out)["pairs"]
        return pair

    def programs(self, host: int) -> list[int]:
        """Ids of the XDP programs on the interfaces of a host."""
        with NetNS(self.hosts[host].namespace) as netlink:
            attached: list[Any] = [link.get_attr("IFLA_XDP") for link in netlink.get_links()]
        programs = [dict(xdp["attrs"]).get("IFLA_XDP_PROG_ID", 0) for xdp in attached]
        return [program for program in programs if program]


@pytest.fixture
def lab(tmp_path: Path, no_leaks: Callable[[], list[str]]) -> Iterator[Lab]:
    with testing.Hosts(2) as hosts:
        yield Lab(hosts, tmp_path)


def exchange(one: Child, other: Child, count: int, size_bytes: int) -> None:
    other.start("receive", count=count, size_bytes=size_bytes)
    one.call("send", count=count, size_bytes=size_bytes)
    assert other.answer(40) == 0


def test_messages_of_all_sizes_go_both_ways_past_the_kernel(lab: Lab) -> None:
    a, b = lab.pair("fast", "fast")
    for size_bytes in (0, 1, 64, 1_400, 1_500, 70_000, 4 << 20):
        exchange(a, b, 20, size_bytes)
        exchange(b, a, 20, size_bytes)
    exchange(a, b, 2_000, 64)
    assert (a.call("losses"), b.call("losses")) == (0, 0)
    assert lab.explain("from_a")["transport"] == "xdp"
    assert all(len(lab.programs(host)) == 1 for host in (0, 1))


def test_one_end_that_asks_is_enough(lab: Lab) -> None:
    a, b = lab.pair("fast", "auto")
    exchange(b, a, 20, 1_000)
    assert lab.explain("from_a")["transport"] == "xdp"


def test_who_does_not_ask_for_it_leaves_the_interface_alone(lab: Lab) -> None:
    a, b = lab.pair("auto", "auto")
    exchange(a, b, 20, 1_000)
    assert lab.explain("from_a")["transport"] == "dds"
    assert not lab.programs(0)
    assert not lab.programs(1)


def test_nothing_is_left_on_the_interface_of_who_was_killed_and_the_other_goes_on(lab: Lab) -> None:
    a, b = lab.pair("fast", "fast")
    exchange(a, b, 20, 1_000)
    b.kill()
    assert not lab.programs(1)
    again = lab.child(1, "b")
    a.call("meet")
    again.call("meet")
    exchange(a, again, 20, 1_000)
    exchange(again, a, 20, 1_000)
