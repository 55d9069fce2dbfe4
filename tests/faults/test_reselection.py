"""Two hosts of a lab whose transports fail one by one: matches go on by another one, nothing is lost or repeated."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lunar import testing
from lunar.testing import Child, Impairment

REASON = testing.lab_unavailable()
pytestmark = [
    pytest.mark.privileged,
    pytest.mark.faults,
    pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}"),
]

BUS_CHILD = Path(__file__).parents[1] / "integration" / "bus_child.py"
COMPLETE = {"reliability": "reliable", "history": "keep_all", "depth": 64}
CARELESS = {"reliability": "best_effort", "history": "keep_last", "depth": 10_000}
COUNT = 20_000
# What is to be reached, and the slack that a busy machine needs.
WITHIN_S, SLACK_S = 1.0, 2.0


@pytest.fixture
def hosts(no_leaks: Callable[[], list[str]]) -> Iterator[testing.Hosts]:
    with testing.Hosts(2) as hosts:
        yield hosts


@pytest.fixture
def ends(hosts: testing.Hosts, tmp_path: Path) -> tuple[Child, Child]:
    settings = tmp_path / "lunar.toml"
    settings.write_text('range = "network"\n[transport.zmq]\ncurve = false\n')
    environment = {"LUNAR_CONFIG": str(settings)}
    talker, listener = (
        hosts[host].child(BUS_CHILD, name, environment=environment) for host, name in enumerate(("talker", "listener"))
    )
    return talker, listener


def meet(talker: Child, listener: Child, profile: dict[str, object]) -> None:
    listener.call("subscription", topic="chatter", qos=profile)
    talker.call("publisher", topic="chatter", qos=profile)
    talker.call("wait_for_subscribers", topic="chatter")
    listener.call("wait_for_publishers", topic="chatter")


@contextmanager
def publishing(talker: Child, count: int = COUNT) -> Iterator[None]:
    """Messages are published meanwhile; at the end of the block all were."""
    talker.call("publish_meanwhile", topic="chatter", first=0, count=count)
    yield
    talker.call("published")


def receive(listener: Child, count: int) -> list[int]:
    got = listener.call("receive", topic="chatter", count=count)
    assert isinstance(got, list)
    return got


def changes(child: Child, count: int) -> list[tuple[str, str, float, str]]:
    """The first so many changes of a transport: from, to, seconds without service, and the whole text."""
    told = child.call("wait_for_events", kind="TransportChanged", count=count, within_s=20)
    assert isinstance(told, list)
    found = []
    for text in told[:count]:
        parts = re.match(r"transport changed from (\w+) to (\w+), ([0-9.]+) s without service", text)
        assert parts is not None, text
        found.append((parts[1], parts[2], float(parts[3]), text))
        print(text)
    return found


def lost(child: Child, end: str) -> int:
    found = child.call(f"{end}_statistics", topic="chatter")
    assert isinstance(found, dict)
    count = found["lost"]
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("how", ["close_transport", "break_transport"])
@pytest.mark.parametrize("who", [0, 1], ids=["publisher's", "subscription's"])
def test_what_is_reliable_goes_on_when_a_transport_fails(ends: tuple[Child, Child], who: int, how: str) -> None:
    talker, listener = ends
    meet(talker, listener, COMPLETE)
    with publishing(talker):
        got = receive(listener, 500)
        ends[who].call(how, name="zmq")
        for child in ends:
            [(before, after, gap_s, text)] = changes(child, 1)
            assert (before, after) == ("zmq", "dds")
            assert "it has failed" in text
            assert gap_s < WITHIN_S + SLACK_S
        got += receive(listener, 5000)
        # The engine is opened anew, and preferred.
        for child in ends:
            assert changes(child, 2)[1][:2] == ("dds", "zmq")
        got += receive(listener, COUNT - 5500)
    assert got == list(range(COUNT))
    assert (lost(talker, "publisher"), lost(listener, "subscription")) == (0, 0)


def test_what_is_reliable_goes_on_when_a_transport_is_blocked(hosts: testing.Hosts, ends: tuple[Child, Child]) -> None:
    talker, listener = ends
    meet(talker, listener, COMPLETE)
    with publishing(talker):
        got = receive(listener, 500)
        with hosts.impair(Impairment(blocks="tcp")):
            more = receive(listener, 5000)
            for child in ends:
                [(before, after, gap_s, text)] = changes(child, 1)
                assert (before, after) == ("zmq", "dds")
                assert "unreachable: the connection was lost" in text
                assert 0.4 < gap_s < WITHIN_S + SLACK_S  # at both ends: zmq waits for half a second
            got += more
        for child in ends:
            assert changes(child, 2)[1][:2] == ("dds", "zmq")
        got += receive(listener, COUNT - 5500)
    assert got == list(range(COUNT))
    assert (lost(talker, "publisher"), lost(listener, "subscription")) == (0, 0)


def test_what_best_effort_loses_is_counted(ends: tuple[Child, Child]) -> None:
    talker, listener = ends
    meet(talker, listener, CARELESS)
    count = 5000
    with publishing(talker, count):
        listener.call("close_transport", name="zmq")
        changes(listener, 1)
    talker.call("publish", topic="chatter", first=count, count=1)
    got = listener.call("receive_until", topic="chatter", last=count)
    assert isinstance(got, list)
    assert got == sorted(set(got))
    assert lost(listener, "subscription") == count + 1 - len(got)


def test_a_cable_that_is_out_and_comes_back_takes_all_transports_along(
    hosts: testing.Hosts, ends: tuple[Child, Child]
) -> None:
    talker, listener = ends
    meet(talker, listener, COMPLETE)
    with publishing(talker):
        got = receive(listener, 500)
        hosts.cut(hosts[1])
        listener.call("wait_for_events", kind="LivelinessLost")
        talker.call("wait_for_events", kind="Unmatched")
        hosts.mend(hosts[1])
        got += receive(listener, COUNT - 500)
    assert got == list(range(COUNT))
    assert (lost(talker, "publisher"), lost(listener, "subscription")) == (0, 0)
