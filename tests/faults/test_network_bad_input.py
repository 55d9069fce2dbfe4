"""Hosts of a lab whose settings, networks or messages make it hard: what is seen, what arrives, and what is said."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lunar import testing
from lunar.testing import Child

REASON = testing.lab_unavailable()
pytestmark = [
    pytest.mark.privileged,
    pytest.mark.faults,
    pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}"),
]

BUS_CHILD = Path(__file__).parents[1] / "integration" / "bus_child.py"
LUNAR = [sys.executable, "-c", "import sys; from lunar.cli.main import main; sys.exit(main())"]

Start = Callable[..., Child]


@pytest.fixture
def hosts(no_leaks: Callable[[], list[str]]) -> Iterator[testing.Hosts]:
    with testing.Hosts(2) as hosts:
        yield hosts


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    file = tmp_path / "lunar.toml"
    file.write_text('range = "network"\n[transport.zmq]\ncurve = false\n')
    return {"LUNAR_CONFIG": str(file)}


@pytest.fixture
def start(hosts: testing.Hosts, settings: dict[str, str]) -> Start:
    """``start(host, name, **variables)``: a process there."""

    def start(host: int, name: str, **variables: str) -> Child:
        return hosts[host].child(BUS_CHILD, name, environment={**settings, **variables})

    return start


def talk(talker: Child, listener: Child, qos: dict[str, object], size_bytes: int = 100, count: int = 1) -> None:
    """Has one publish to the other."""
    listener.call("subscription", topic="chatter", qos=qos)
    talker.call("publisher", topic="chatter", qos=qos)
    talker.call("wait_for_subscribers", topic="chatter")
    listener.call("wait_for_publishers", topic="chatter")
    listener.start("receive", topic="chatter", count=count, within_s=40)
    talker.start("publish", topic="chatter", first=0, count=count, size_bytes=size_bytes)
    assert listener.answer(45) == list(range(count))
    talker.answer(45)


def ip(host: testing.Host, command: str) -> bytes:
    """Runs the tool of that name on a host."""
    return subprocess.run(["ip", "-n", host.namespace, *command.split()], check=True, capture_output=True).stdout


def nodes_seen_by(child: Child) -> list[str]:
    nodes = child.call("snapshot")
    assert isinstance(nodes, list)
    return sorted(node["name"] for node in nodes)


def test_nobody_sees_into_another_domain(start: Start) -> None:
    talker, listener = start(0, "talker"), start(1, "listener")
    stranger = start(1, "stranger", LUNAR_DOMAIN="7")
    stranger.call("subscription", topic="chatter", qos={})
    stranger.call("publisher", topic="chatter", qos={})
    talk(talker, listener, {})
    assert nodes_seen_by(talker) == ["listener", "talker"]
    assert nodes_seen_by(stranger) == ["stranger"]


@pytest.mark.parametrize("transport", ["dds", "zmq"])
@pytest.mark.parametrize("mtu_bytes", [1500, 9000])
def test_64_mib_cross_whatever_the_frames_of_the_link(
    hosts: testing.Hosts, start: Start, transport: str, mtu_bytes: int
) -> None:
    hosts.set_mtu(mtu_bytes)
    qos: dict[str, object] = {"transport": transport, "history": "keep_all", "depth": 2}
    talk(start(0, "talker"), start(1, "listener"), qos, size_bytes=64 << 20, count=2)


@pytest.mark.parametrize("transport", ["dds", "zmq"])
@pytest.mark.parametrize("kind", ["global", "link-local"])
def test_hosts_that_have_ipv6_alone_talk(hosts: testing.Hosts, start: Start, transport: str, kind: str) -> None:
    addresses = []
    for number, host in enumerate(hosts, 1):
        name = f"net{number}"  # the other host does not know it
        for change in (f"link set eth0 down name {name}", f"address flush dev {name}", f"link set {name} up"):
            ip(host, change)
        if kind == "global":
            ip(host, f"address add 2001:db8::{number}/64 dev {name} nodad")
            addresses.append(f"2001:db8::{number}")
        else:
            [found] = json.loads(ip(host, f"-6 -j address show dev {name}"))
            addresses.append(found["addr_info"][0]["local"])
    talker, listener = (start(n, name, LUNAR_INTERFACES=addresses[n]) for n, name in enumerate(("talker", "listener")))
    talk(talker, listener, {"transport": transport}, count=10)


def test_without_a_usable_interface_it_says_what_was_tried(hosts: testing.Hosts, settings: dict[str, str]) -> None:
    ip(hosts[0], "link set eth0 down")
    program = [sys.executable, "-c", "import lunar; lunar.Node('lost')"]
    started = hosts[0].start(program, environment=settings, stderr=subprocess.PIPE)
    text = started.communicate(timeout=20)[1].decode()
    assert started.returncode == 1
    assert text.splitlines()[-1].startswith("lunar.errors.ConfigError: ")
    assert "LUNAR_INTERFACES" in text
    assert "tried: " in text
    assert "lo (loopback" in text
    assert "eth0 (down, or without a carrier)" in text
