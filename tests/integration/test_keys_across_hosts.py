"""CURVE keys between two hosts of a lab, as a user makes and allows them."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lunar import testing
from lunar.testing import Child

REASON = testing.lab_unavailable()
pytestmark = [pytest.mark.privileged, pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}")]

BUS_CHILD = Path(__file__).with_name("bus_child.py")
LUNAR = [sys.executable, "-c", "import sys; from lunar.cli.main import main; sys.exit(main())"]


@pytest.fixture
def hosts(no_leaks: Callable[[], list[str]]) -> Iterator[testing.Hosts]:
    with testing.Hosts(2) as hosts:
        yield hosts


class User:
    """Somebody with a home of their own on a host."""

    def __init__(self, host: testing.Host, home: Path) -> None:
        home.mkdir()
        self.host = host
        self.environment = {"XDG_CONFIG_HOME": str(home), "LUNAR_RANGE": "network"}

    def lunar(self, *arguments: str) -> str:
        pipe = subprocess.PIPE
        done = self.host.start([*LUNAR, *arguments], environment=self.environment, stdout=pipe, stderr=pipe)
        out, err = done.communicate(timeout=30)
        assert done.returncode == 0, err.decode()
        return out.decode().strip()

    def child(self, name: str) -> Child:
        return self.host.child(BUS_CHILD, name, environment=self.environment)


@pytest.fixture
def users(hosts: testing.Hosts, tmp_path: Path) -> list[User]:
    return [User(host, tmp_path / host.name) for host in hosts]


def doctor(user: User) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in json.loads(user.lunar("doctor", "--json"))["checks"]}


def test_the_doctor_tries_the_network(users: list[User]) -> None:
    found = doctor(users[1])
    assert found["network"]["text"] == "on, domain 0"
    assert found["interface eth0"]["text"] == "198.18.0.2, multicast"
    assert found["other interfaces"]["text"] == "lo: loopback"
    assert (found["transport zmq"]["status"], found["transport dds"]["status"]) == ("warning", "ok")
    assert "lunar keys make" in found["transport zmq"]["remedy"]
    assert found["discovery"]["status"] == "warning"
    users[1].lunar("keys", "make")
    with users[0].child("alone") as alone:
        alone.call("subscription", topic="chatter", qos={})
        found = doctor(users[1])
    assert found["discovery"]["text"] == f"1 process of other hosts within 1 s: {socket.gethostname()} (1)"
    assert "encrypted, key " in found["transport zmq"]["text"]


def test_who_allows_each_other_talks(users: list[User]) -> None:
    keys = [json.loads(user.lunar("keys", "make", "--json"))["public"] for user in users]
    for user, other in zip(users, reversed(keys), strict=True):
        user.lunar("keys", "allow", other, "--name", "other")
    talker, listener = users[0].child("talker"), users[1].child("listener")
    listener.call("subscription", topic="chatter", qos={})
    talker.call("publisher", topic="chatter", qos={})
    talker.call("wait_for_subscribers", topic="chatter")
    listener.call("wait_for_publishers", topic="chatter")
    talker.call("publish", topic="chatter", first=0, count=10)
    assert listener.call("receive", topic="chatter", count=10) == list(range(10))


@pytest.mark.parametrize("refusing", [0, 1], ids=["publisher", "subscription"])
def test_both_are_told_of_a_key_that_is_not_allowed_and_match_once_it_is(users: list[User], refusing: int) -> None:
    keys = [user.lunar("keys", "make") for user in users]
    users[1 - refusing].lunar("keys", "allow", keys[refusing])
    talker, listener = users[0].child("talker"), users[1].child("listener")
    listener.call("subscription", topic="chatter", qos={})
    talker.call("publisher", topic="chatter", qos={})
    for child in (talker, listener):
        told = child.call("wait_for_events", kind="NoTransport")
        assert isinstance(told, list)
        assert f"{keys[1 - refusing]}, is not on the allow list" in told[0]
    assert talker.call("publisher_statistics", topic="chatter")["matches"] == []  # type: ignore[index]
    users[refusing].lunar("keys", "allow", keys[1 - refusing])
    talker.call("wait_for_subscribers", topic="chatter")
    listener.call("wait_for_publishers", topic="chatter")
    talker.call("publish", topic="chatter", first=0, count=10)
    assert listener.call("receive", topic="chatter", count=10) == list(range(10))


@pytest.mark.parametrize("with_key", [0, 1], ids=["publisher", "subscription"])
def test_both_are_told_once_if_only_one_can_encrypt(users: list[User], with_key: int) -> None:
    users[with_key].lunar("keys", "make")
    talker, listener = users[0].child("talker"), users[1].child("listener")
    for topic in ("chatter", "prattle"):
        listener.call("subscription", topic=topic, qos={})
        talker.call("publisher", topic=topic, qos={})
        talker.call("wait_for_subscribers", topic=topic)
        listener.call("wait_for_publishers", topic=topic)
    for child in (talker, listener):
        told = child.call("wait_for_events", kind="NotEncrypted")
        assert isinstance(told, list)
        assert len(told) == 1
        assert "not encrypted over dds" in told[0]
        assert "there is no key in" in told[0]
    for user in users:
        [pair] = json.loads(user.lunar("explain", "chatter", "--json"))["pairs"]
        assert pair["transport"] == "dds"
        assert "not encrypted although zmq would be: the " in pair["reasons"]["dds"]
    found = doctor(users[with_key])
    there = found[f"transport zmq on {socket.gethostname()}"]
    assert there["status"] == "warning"
    assert "there is no key" in there["text"]
    assert found["transport zmq"]["status"] == "ok"
    assert doctor(users[1 - with_key])["transport zmq"]["status"] == "warning"
