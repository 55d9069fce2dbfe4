"""The accelerated path follows its network: streams go on by another way, or as soon as there is one again."""

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from lunar_xdp.engine import XdpEngine
from lunar_xdp.settings import Backend, Settings
from pyroute2 import NetNS

from lunar import QoS, abc, testing
from lunar.testing import namespaces

REASON = testing.lab_unavailable()
pytestmark = [pytest.mark.privileged, pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}")]

PUBLISHER, A, B = "aa" * 16, "01" * 16, "02" * 16
LATER = "198.18.0.77"  # an address that a host gets in the course of a test
OTHER_MAC = "02:00:00:00:00:77"
WITHIN_S = 15.0


class Sender(abc.OutgoingHandler):
    """The publisher's side of a stream: sends up to a number, whenever there is room."""

    def __init__(self, engine: XdpEngine, to: XdpEngine) -> None:
        self.sent = self.goal = 0
        self.size_bytes = 100
        self.starts = self.ends = 0
        self.end = engine.open_outgoing(stream(B, to), self)

    def connected(self) -> None:
        self.starts += 1
        self.end.start(self.sent, 0)
        self.go_on()

    def disconnected(self, reason: str) -> None:
        self.ends += 1

    def writable(self) -> None:
        self.go_on()

    def losses(self, lost: int) -> None:
        raise AssertionError(f"a reliable stream has lost {lost}")

    def go_on(self) -> None:
        while self.sent < self.goal and self.end.send(
            abc.Parcel(self.sent + 1, 0, 0, memoryview(content(self.sent + 1, self.size_bytes)))
        ):
            self.sent += 1


class Receiver(abc.IncomingHandler):
    """The subscriber's side: takes everything, in order and whole."""

    def __init__(self, engine: XdpEngine, publisher: XdpEngine) -> None:
        self.last = 0
        self.size_bytes = 100
        self.starts = 0
        self.end = engine.open_incoming(stream(A, publisher), self)

    def started(self, last_sequence: int, newest_sequence: int) -> None:
        self.starts += 1

    def deliver(self, parcel: abc.Parcel) -> bool:
        assert parcel.sequence_number == self.last + 1
        payload = bytes(parcel.payload)
        assert payload == content(parcel.sequence_number, len(payload))
        self.last += 1
        return True

    def stopped(self, reason: str) -> None:
        pass

    def lost(self, count: int) -> None:
        raise AssertionError(f"a reliable stream has lost {count}")

    def faulty(self, reason: str) -> None:
        raise AssertionError(reason)


def content(number: int, size_bytes: int) -> bytes:
    return (number.to_bytes(4, "little") * (size_bytes // 4 + 1))[:size_bytes]


def stream(remote_id: str, to: XdpEngine) -> abc.Stream:
    return abc.Stream(PUBLISHER, "/topic", QoS(), True, remote_id, to.address)


def open_engine(host: testing.Host, me: str, backend: Literal["auto", Backend], address: str = "") -> XdpEngine:
    site = abc.Site(me, 0, (address or host.address,), host.interfaces, {})
    return host.call(lambda: XdpEngine(site, Settings(backend=backend)))


def work_until(claim: Callable[[], object], *engines: XdpEngine, within_s: float = WITHIN_S) -> float:
    """Serves engines as their hosts do, until a claim holds; how long that took."""
    began_s = time.monotonic()
    poll = select.poll()
    for engine in engines:
        poll.register(engine.fileno(), select.POLLIN)
    while not claim():
        waits = [wait for engine in engines if (wait := engine.work()) is not None]
        assert time.monotonic() - began_s < within_s
        if not claim():
            poll.poll(1000 * min([*waits, 0.2]))
    return time.monotonic() - began_s


class Pair:
    """A reliable stream from one host to another."""

    def __init__(self, hosts: testing.Hosts, backend: Backend) -> None:
        self.hosts, self.backend = hosts, backend
        self.engines = [open_engine(host, me, backend) for host, me in zip(hosts, (A, B), strict=True)]
        a, b = self.engines
        self.receiver = Receiver(b, a)
        self.sender = Sender(a, b)

    def send(self, count: int, size_bytes: int = 100) -> None:
        self.sender.size_bytes = size_bytes
        self.sender.goal += count
        self.sender.go_on()

    def arrive(self) -> float:
        """How long it took until everything was there."""
        return work_until(
            lambda: self.receiver.last == self.sender.goal and not self.sender.end.unacknowledged, *self.engines
        )

    def close(self) -> None:
        for engine in self.engines:
            engine.close()


@pytest.fixture
def hosts(no_leaks: Callable[[], list[str]]) -> Iterator[testing.Hosts]:
    with testing.Hosts(2) as hosts:
        for host in hosts:
            host.call(hurry)
        yield hosts


@pytest.fixture(params=["af_xdp", "udp"])
def pair(hosts: testing.Hosts, request: pytest.FixtureRequest) -> Iterator[Pair]:
    with closing(Pair(hosts, request.param)) as made:
        yield made


def hurry() -> None:
    """Has the kernel ask for a neighbour after 0.1 s instead of 30, and give up on it after 0.3 s instead of 3."""
    neighbours = Path("/proc/sys/net/ipv4/neigh/eth0")
    for name in ("base_reachable_time_ms", "retrans_time_ms"):
        (neighbours / name).write_text("100")
    (neighbours / "delay_first_probe_time").write_text("0")


def index(netlink: NetNS) -> int:
    [found] = netlink.link_lookup(ifname="eth0")
    return int(found)


def test_opening_a_stream_does_not_wait_for_a_neighbour_and_it_begins_when_there_is_one(hosts: testing.Hosts) -> None:
    with closing(open_engine(hosts[0], A, "af_xdp")) as a, NetNS(hosts[1].namespace) as netlink:
        netlink.addr("add", index=index(netlink), address=LATER, prefixlen=24)
        with closing(open_engine(hosts[1], B, "af_xdp", LATER)) as b:
            netlink.addr("del", index=index(netlink), address=LATER, prefixlen=24)
            sender = Sender(a, b)
            sender.goal = 10
            # The kernel has asked in vain by then.
            give_up_at = time.monotonic() + 1.0
            work_until(lambda: time.monotonic() > give_up_at, a)
            assert a.statistics()["sent"] == 0
            assert a.cut_off_s(B) == 0  # there was no connection yet
            netlink.addr("add", index=index(netlink), address=LATER, prefixlen=24)
            receiver = Receiver(b, a)
            work_until(lambda: receiver.last == 10, a, b)
            assert sender.starts == 1


def frames(port: socket.socket, source: str) -> set[str]:
    """Where frames of Lunar's have gone that were sent by a host."""
    found: set[str] = set()
    while True:
        try:
            frame = port.recv(65535)
        except BlockingIOError:
            return found
        if frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP and frame[26:30] == socket.inet_aton(source):
            found.add(frame[:6].hex(":"))


def test_a_next_hop_with_another_mac_address_is_followed(hosts: testing.Hosts) -> None:
    with closing(Pair(hosts, "af_xdp")) as pair, NetNS(hosts[0].namespace) as netlink:
        pair.send(100)
        pair.arrive()
        switch = hosts[0].namespace.removesuffix("h1") + "switch"
        capture = namespaces.call_in(switch, partial(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0x0300))
        with capture:
            capture.setblocking(False)
            netlink.neigh("replace", ifindex=index(netlink), dst=hosts[1].address, lladdr=OTHER_MAC, state="permanent")

            def is_followed() -> bool:
                pair.send(1)  # it arrives in any case: a bridge floods what it does not know
                return OTHER_MAC in frames(capture, hosts[0].address)

            work_until(is_followed, *pair.engines)
            pair.arrive()
            frames(capture, hosts[0].address)
            pair.send(100, 5_000)
            pair.arrive()
            assert frames(capture, hosts[0].address) == {OTHER_MAC}
        assert pair.sender.starts == 1


def test_another_mtu_is_followed_both_ways(pair: Pair) -> None:
    pair.send(100, 20_000)
    pair.arrive()
    for mtu in (700, 1500, 600, 1500):
        pair.hosts.set_mtu(mtu)
        sent = pair.engines[0].statistics()
        pair.send(100, 20_000)
        pair.arrive()
        now = pair.engines[0].statistics()
        datagrams = now["datagrams_sent"] - sent["datagrams_sent"]
        assert datagrams > 100 * 20_000 / mtu
        if mtu == 1500:
            pair.send(100, 20_000)
            pair.arrive()
            assert pair.engines[0].statistics()["datagrams_sent"] - now["datagrams_sent"] < 100 * 20_000 / 700
    assert pair.sender.starts == 1


def test_a_link_that_was_down_goes_on_at_once_and_nothing_is_lost(pair: Pair) -> None:
    pair.send(100)
    pair.arrive()
    a, b = pair.engines
    with NetNS(pair.hosts[0].namespace) as netlink:
        netlink.link("set", index=index(netlink), state="down")
        pair.send(3_000)
        work_until(lambda: pair.sender.ends == 1, a, b)
        work_until(lambda: a.cut_off_s(B) > 0, a, b)
        netlink.link("set", index=index(netlink), state="up")
    pair.arrive()
    assert a.cut_off_s(B) == 0
    assert pair.sender.starts == 2


def test_a_cable_that_was_out_goes_on_and_the_receiver_knows_that_it_was(pair: Pair) -> None:
    pair.send(100)
    pair.arrive()
    a, b = pair.engines
    pair.hosts.cut(pair.hosts[1])
    pair.send(1_000)
    work_until(lambda: a.cut_off_s(B) > 0 and b.cut_off_s(A) > 0, a, b)
    pair.hosts.mend(pair.hosts[1])
    pair.arrive()
    work_until(lambda: a.cut_off_s(B) == 0 and b.cut_off_s(A) == 0, a, b)


def test_without_streams_it_is_still_known_whether_there_is_a_way(pair: Pair) -> None:
    pair.send(10)
    pair.arrive()
    a, b = pair.engines
    pair.hosts.cut(pair.hosts[1])
    pair.send(10)
    work_until(lambda: a.cut_off_s(B) > 0, a, b)
    assert len(pair.sender.end.recall()) == 10
    pair.receiver.end.close()
    give_up_at = time.monotonic() + 10
    work_until(lambda: time.monotonic() > give_up_at or a.cut_off_s(B) == 0, a, b)
    assert a.cut_off_s(B) > 0
    pair.hosts.mend(pair.hosts[1])
    work_until(lambda: a.cut_off_s(B) == 0, a, b)


def test_an_interface_that_is_removed_is_told_and_costs_no_time(hosts: testing.Hosts) -> None:
    with closing(Pair(hosts, "af_xdp")) as pair:
        pair.send(10)
        pair.arrive()
        with NetNS(hosts[0].namespace) as netlink:
            netlink.link("del", index=index(netlink))
        with pytest.raises(OSError, match=os.strerror(errno.ENODEV)):
            work_until(lambda: False, pair.engines[0])
        assert pair.engines[0].cut_off_s(B) >= 0


def test_a_second_process_on_an_interface_goes_over_udp_and_is_told_whose_it_is(hosts: testing.Hosts) -> None:
    with closing(open_engine(hosts[0], A, "auto")) as first, closing(open_engine(hosts[0], B, "auto")) as second:
        assert (first.backend, second.backend) == ("af_xdp", "udp")
        assert first.fallen_back == ""
        with NetNS(hosts[0].namespace) as netlink:
            [link] = netlink.get_links(index(netlink))
            program = dict(link.get_attr("IFLA_XDP")["attrs"])["IFLA_XDP_PROG_ID"]
        assert f"XDP program {program} is on eth0" in second.fallen_back
        assert f"bpftool prog show id {program}" in second.fallen_back
