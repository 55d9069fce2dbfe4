"""Types on two hosts of a lab: who needs a schema of the other host gets it, a process or a command."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lunar import testing
from lunar.testing import Child

REASON = testing.lab_unavailable()
pytestmark = [pytest.mark.privileged, pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}")]

CHILD = Path(__file__).with_name("types_child.py")
LUNAR = [sys.executable, "-c", "import sys; from lunar.cli.main import main; sys.exit(main())"]


class Lab:
    """Two hosts, and programs on them."""

    def __init__(self, hosts: testing.Hosts, home: Path) -> None:
        self._hosts = hosts
        self._environment = {"LUNAR_RANGE": "network", "XDG_CONFIG_HOME": str(home)}

    def child(self, host: int, name: str, fields: str) -> Child:
        return self._hosts[host].child(CHILD, name, fields, environment=self._environment)

    def lunar(self, host: int, *arguments: str) -> str:
        pipe = subprocess.PIPE
        started = self._hosts[host].start([*LUNAR, *arguments], environment=self._environment, stdout=pipe, stderr=pipe)
        out, err = started.communicate(timeout=30)
        assert started.returncode == 0, err.decode()
        return out.decode()


@pytest.fixture
def lab(tmp_path: Path, no_leaks: Callable[[], list[str]]) -> Iterator[Lab]:
    with testing.Hosts(2) as hosts:
        yield Lab(hosts, tmp_path)


def test_versions_that_can_read_each_other_match_across_hosts(lab: Lab) -> None:
    talker, listener = (
        lab.child(0, "talker", "x: lunar.float32"),
        lab.child(1, "later", "x: lunar.float32;n: lunar.int8"),
    )
    talker.call("publish", x=1.5)
    assert listener.call("receive") == "Pose(x=1.5, n=0)"
    [pair] = json.loads(lab.lunar(1, "explain", "pose", "--json"))["pairs"]
    assert (pair["matched"], pair["disagreement"], pair["pending"]) == (True, None, None)


def test_versions_that_cannot_are_told_field_by_field_on_both_hosts(lab: Lab) -> None:
    talker, listener = lab.child(0, "talker", "x: lunar.float32"), lab.child(1, "other", "x: lunar.int32")
    talker.call("publish", x=1.5)
    listener.call("subscribe")
    said = "shop.Pose.x: type changed: ours {}, theirs {} (incompatible)"
    assert talker.call("differences") == [said.format("float32", "int32")]
    assert listener.call("differences") == [said.format("int32", "float32")]
    [mismatch] = json.loads(lab.lunar(0, "topic", "info", "pose", "--json"))["mismatches"]
    assert "shop.Pose.x: type changed" in mismatch


def test_commands_show_types_of_the_other_host(lab: Lab) -> None:
    lab.child(0, "talker", "x: lunar.float32").call("publish", x=1.5)
    assert lab.lunar(1, "topic", "echo", "pose", "--count", "1", "--timeout", "20") == "x: 1.5\n---\n"
    [interface] = json.loads(lab.lunar(1, "topic", "info", "pose", "--json"))["interfaces"]
    assert interface["fields"] == [{"name": "x", "type": "float32"}]
    assert "shop.Pose" in lab.lunar(1, "interface", "list", "Pose")


def test_a_command_explains_why_two_of_the_other_host_do_not_match(lab: Lab) -> None:
    lab.child(0, "talker", "x: lunar.float32").call("publish", x=1.5)
    lab.child(0, "other", "x: lunar.int32").call("subscribe")
    [mismatch] = json.loads(lab.lunar(1, "topic", "info", "pose", "--json"))["mismatches"]
    assert "shop.Pose.x: type changed" in mismatch
