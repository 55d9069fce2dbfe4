"""Ways to remote addresses, in labs of network namespaces: found as the kernel has them, and every change is told."""

import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from lunar_xdp.links import Links
from lunar_xdp.paths import Path as Way
from lunar_xdp.paths import Paths, Unreachable
from lunar_xdp.watching import PathChange, PathWatcher, find

from lunar import testing
from lunar.testing import links, namespaces

REASON = testing.lab_unavailable()
pytestmark = [pytest.mark.privileged, pytest.mark.skipif(REASON is not None, reason=f"no lab of hosts: {REASON}")]

needs_ipv6 = pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="no IPv6 in this kernel")

WITHIN_S = 10.0
NOWHERE = "198.18.0.99"  # an address of the lab's network that no host has
OTHER_MAC = "02:00:00:00:00:77"


@pytest.fixture(autouse=True)
def nothing_is_left(no_leaks: Callable[[], list[str]]) -> Iterator[None]:
    yield
    assert [name for name in namespaces.names() if name.startswith(f"lunar-{os.getpid()}-")] == []


@pytest.fixture
def hosts() -> Iterator[testing.Hosts]:
    with testing.Hosts(2, direct=True) as hosts:
        for host in hosts:
            host.call(hurry)
        yield hosts


@pytest.fixture
def watcher(hosts: testing.Hosts) -> Iterator[PathWatcher]:
    with hosts[0].call(PathWatcher) as watcher:
        yield watcher


def hurry() -> None:
    """Has the kernel give up on a neighbour after 0.3 s instead of 3, and believe a new MAC address at once."""
    for family, settings in (("ipv4", ("locktime", "delay_first_probe_time")), ("ipv6", ("delay_first_probe_time",))):
        neighbours = Path(f"/proc/sys/net/{family}/neigh/eth0")
        if not neighbours.exists():  # no IPv6 in this kernel
            continue
        (neighbours / "retrans_time_ms").write_text("100")
        for name in settings:
            (neighbours / name).write_text("0")


def mac_of(host: testing.Host, link: str = "eth0") -> bytes:
    def get() -> bytes:
        with closing(Links()) as asked:
            return asked.link(link).mac

    return host.call(get)


def configure(host: testing.Host, what: str, *arguments: object, **settings: object) -> None:
    """Changes something on a host by pyroute2; `oif` and `index` may be names."""
    from pyroute2 import IPRoute

    def change() -> None:
        for name in {"index", "oif", "link"} & settings.keys():
            settings[name] = socket.if_nametoindex(str(settings[name]))
        with IPRoute() as netlink:
            getattr(netlink, what)(*arguments, **settings)

    host.call(change)


def changes_until(watcher: PathWatcher, wanted: Callable[[PathChange], bool]) -> list[PathChange]:
    """All that the watcher tells, up to a change that is waited for."""
    give_up_at = time.monotonic() + WITHIN_S
    poll = select.poll()
    poll.register(watcher, select.POLLIN)
    told: list[PathChange] = []
    while time.monotonic() < give_up_at:
        poll.poll(1000 * max(0.0, give_up_at - time.monotonic()))
        told += watcher.read()
        if any(map(wanted, told)):
            return told
    raise AssertionError(f"not told within {WITHIN_S} s; what was told: {told}")


def is_known(change: PathChange) -> bool:
    return change.after is not None and not change.after.resolving


def is_lost(change: PathChange) -> bool:
    return change.after is None


def known(watcher: PathWatcher, remote: str) -> Way:
    change = watcher.watch(remote)
    if not is_known(change):
        change = changes_until(watcher, is_known)[-1]
    assert change.after is not None
    return change.after


# ---- what is found ---------------------------------------------------------------------------------------------------


def test_a_direct_neighbour_is_found_with_its_mac_address(hosts: testing.Hosts):
    here, there = hosts
    path = here.call(lambda: find(there.address))
    assert path == Way(
        remote=there.address,
        interface="eth0",
        index=path.index,
        source=here.address,
        next_hop=there.address,
        mac=mac_of(there),
        resolving=False,
        mtu=1500,
        device="eth0",
        device_index=path.index,
    )


def test_looking_for_it_does_not_wait(hosts: testing.Hosts):
    def look() -> Way:
        with closing(Paths()) as paths:
            return paths.look_up(hosts[1].address)

    path = hosts[0].call(look)
    assert (path.resolving, path.mac) == (True, b"")


def test_no_permanent_neighbour_is_left(hosts: testing.Hosts):
    from pyroute2 import IPRoute

    def states() -> list[int]:
        with IPRoute() as netlink:
            return [each["state"] for each in netlink.get_neighbours(family=socket.AF_INET, dst=hosts[1].address)]

    hosts[0].call(lambda: find(hosts[1].address))
    assert hosts[0].call(states) in ([0x02], [0x04])  # reachable or stale: the kernel lets go of these by itself


def test_behind_a_router_the_next_hop_is_the_router():
    with testing.Hosts(3, networks=2) as hosts:
        here, router, there = hosts
        # `here` knows the second network by way of the router only.
        configure(here, "link", "set", index="eth1", state="down")
        configure(here, "route", "add", dst="198.18.1.0/24", gateway=router.addresses[0])
        path = here.call(lambda: find(there.addresses[1]))
        assert (path.next_hop, path.mac) == (router.addresses[0], mac_of(router))
        assert (path.interface, path.source, path.mtu) == ("eth0", here.addresses[0], 1500)


def test_an_interface_that_is_named_is_the_one_that_is_asked_on():
    with testing.Hosts(2, networks=2) as hosts:
        here, there = hosts
        path = here.call(lambda: find(there.addresses[0], "eth1"))
        assert (path.interface, path.source, path.next_hop) == ("eth1", here.addresses[1], there.addresses[0])
        assert path.mac == mac_of(there, "eth1")  # a host answers for any of its addresses


def test_a_routes_mtu_counts(hosts: testing.Hosts):
    configure(hosts[0], "route", "add", dst="203.0.113.0/24", gateway=hosts[1].address, metrics={"mtu": 1400})
    assert hosts[0].call(lambda: find("203.0.113.9")).mtu == 1400


def test_an_address_of_ones_own_needs_no_neighbour(hosts: testing.Hosts):
    path = hosts[0].call(lambda: find(hosts[0].address))
    assert (path.local, path.resolving, path.mac, path.interface) == (True, False, b"", "lo")


def test_a_vlan_leaves_by_the_interface_below_it(hosts: testing.Hosts):
    from pyroute2.netlink.exceptions import NetlinkError

    here, there = hosts
    for host, address in zip(hosts, ("192.0.2.1", "192.0.2.2"), strict=True):
        try:
            configure(host, "link", "add", ifname="eth0.42", kind="vlan", link="eth0", vlan_id=42)
        except NetlinkError as error:
            pytest.skip(f"this kernel makes no VLAN interfaces (8021q): {error}")
        configure(host, "link", "set", index="eth0.42", state="up", mtu=1400)
        configure(host, "addr", "add", index="eth0.42", address=address, prefixlen=24)
    path = here.call(lambda: find("192.0.2.2"))
    assert (path.interface, path.device, path.vlan, path.mtu) == ("eth0.42", "eth0", 42, 1400)
    assert (path.mac, path.source) == (mac_of(there), "192.0.2.1")
    assert path.device_index != path.index


@needs_ipv6
def test_ipv6_as_well_and_link_local_by_an_interface(hosts: testing.Hosts):
    here, there = hosts
    for host, address in zip(hosts, ("2001:db8::1", "2001:db8::2"), strict=True):
        configure(host, "addr", "add", index="eth0", address=address, prefixlen=64)
    path = here.call(lambda: find("2001:db8::2"))
    assert (path.source, path.next_hop, path.mac) == ("2001:db8::1", "2001:db8::2", mac_of(there))
    mac = mac_of(there)
    link_local = f"fe80::{mac[0] ^ 2:02x}{mac[1]:02x}:{mac[2]:02x}ff:fe{mac[3]:02x}:{mac[4]:02x}{mac[5]:02x}"
    path = here.call(lambda: find(link_local, "eth0"))
    assert (path.interface, path.mac) == ("eth0", mac)


@needs_ipv6
def test_ipv4_by_way_of_an_ipv6_router(hosts: testing.Hosts):
    here, there = hosts
    for host, address in zip(hosts, ("2001:db8::1", "2001:db8::2"), strict=True):
        configure(host, "addr", "add", index="eth0", address=address, prefixlen=64)
    via = {"family": socket.AF_INET6, "addr": "2001:db8::2"}
    configure(here, "route", "add", dst="203.0.113.0/24", via=via, oif="eth0")
    path = here.call(lambda: find("203.0.113.1"))
    assert (path.next_hop, path.mac) == ("2001:db8::2", mac_of(there))


def test_where_nobody_answers_it_is_said_who_was_asked_for(hosts: testing.Hosts):
    with pytest.raises(Unreachable, match=rf"nobody has answered for {NOWHERE} on eth0"):
        hosts[0].call(lambda: find(NOWHERE, timeout_s=WITHIN_S))


def test_nobody_is_waited_for_longer_than_asked(hosts: testing.Hosts):
    with pytest.raises(Unreachable, match=rf"{NOWHERE} on eth0 within 0.01 s"):
        hosts[0].call(lambda: find(NOWHERE, timeout_s=0.01))


@pytest.mark.parametrize(
    ("remote", "interface", "reason"),
    [
        ("203.0.113.1", "", "route: Network is unreachable"),
        pytest.param("2001:db8::9", "", "route: Network is unreachable", marks=needs_ipv6),
        (NOWHERE, "eth7", "route by eth7: No such device"),
        (NOWHERE, "much-too-long-a-name", "no interface can have the name"),
        ("239.1.2.3", "", "a multicast group"),
        ("198.18.0.255", "", "a broadcast"),
    ],
)
def test_what_cannot_be_reached_is_told_at_once(hosts: testing.Hosts, remote: str, interface: str, reason: str):
    with pytest.raises(Unreachable, match=reason):
        hosts[0].call(lambda: find(remote, interface))


def test_a_scope_is_no_part_of_an_address():
    with pytest.raises(ValueError, match="name the interface"):
        find("fe80::1%eth0")


# ---- what is told ----------------------------------------------------------------------------------------------------


def test_another_mac_address_is_told(hosts: testing.Hosts, watcher: PathWatcher):
    here, there = hosts
    old = known(watcher, there.address)
    configure(there, "link", "set", index="eth0", address=OTHER_MAC)
    there.call(partial(send_to, here.address))  # it asks for the other's address, and shows its own
    told = changes_until(watcher, lambda change: is_known(change) and change.after != old)
    (change,) = (each for each in told if is_known(each))
    assert change.after is not None
    assert change.after.mac.hex(":") == OTHER_MAC
    assert change.different == {"mac"}
    assert OTHER_MAC in change.reason


def test_a_link_that_goes_down_and_comes_back(hosts: testing.Hosts, watcher: PathWatcher):
    old = known(watcher, hosts[1].address)
    hosts.cut(hosts[0])
    (lost,) = changes_until(watcher, is_lost)
    assert (lost.before, lost.reason) == (old, "eth0 has no carrier")
    assert watcher.missing == 1
    hosts.mend(hosts[0])
    told = changes_until(watcher, is_known)
    assert told[0].before is None
    assert told[-1].after == old
    assert watcher.missing == 0


def test_a_link_that_is_set_down(hosts: testing.Hosts, watcher: PathWatcher):
    known(watcher, hosts[1].address)
    hosts[0].call(lambda: links.set_up("eth0", False))
    assert changes_until(watcher, is_lost)[-1].reason.startswith("eth0 is down")


def test_another_mtu_is_told(hosts: testing.Hosts, watcher: PathWatcher):
    old = known(watcher, hosts[1].address)
    hosts.set_mtu(9000)
    (change,) = changes_until(watcher, is_known)
    assert (change.before, sorted(change.different), change.reason) == (old, ["mtu"], "mtu 1500 -> 9000")


def test_an_address_that_is_removed_and_given_back(hosts: testing.Hosts, watcher: PathWatcher):
    here, there = hosts
    old = known(watcher, there.address)
    configure(here, "addr", "delete", index="eth0", address=here.address, prefixlen=24)
    assert "Network is unreachable" in changes_until(watcher, is_lost)[-1].reason
    configure(here, "addr", "add", index="eth0", address="198.18.0.50", prefixlen=24)
    change = changes_until(watcher, is_known)[-1]
    assert change.after is not None
    assert (change.after.source, change.after.mac) == ("198.18.0.50", old.mac)


def test_an_interface_that_is_removed(hosts: testing.Hosts, watcher: PathWatcher):
    known(watcher, hosts[1].address)
    hosts[0].call(lambda: links.remove_link("eth0"))
    told = changes_until(watcher, is_lost)
    assert told[-1].after is None
    assert told[-1].reason.startswith(("eth0 was removed", "eth0 is down"))
    assert watcher.watch(hosts[1].address).after is None


def test_a_route_that_is_a_better_one(hosts: testing.Hosts, watcher: PathWatcher):
    here, there = hosts
    configure(here, "route", "add", dst="203.0.113.0/24", gateway=there.address)
    before = known(watcher, "203.0.113.1")
    configure(here, "route", "add", dst="203.0.113.0/28", gateway=there.address, metrics={"mtu": 1300})
    (change,) = changes_until(watcher, is_known)
    assert (change.before, sorted(change.different)) == (before, ["mtu"])
    configure(here, "route", "add", dst="203.0.113.1/32", gateway=NOWHERE)
    told = changes_until(watcher, is_lost)
    # The old MAC address is not that of the new next hop.
    assert told[0].after is not None
    assert (told[0].after.next_hop, told[0].after.resolving, told[0].after.mac) == (NOWHERE, True, b"")


def test_a_route_to_elsewhere_concerns_nobody(hosts: testing.Hosts, watcher: PathWatcher):
    here, there = hosts
    known(watcher, there.address)
    configure(here, "route", "add", dst="203.0.113.0/24", gateway=there.address)
    assert select.select([watcher], [], [], WITHIN_S)[0]
    assert watcher.read() == []


def test_a_neighbour_that_answers_no_more_is_asked_again(hosts: testing.Hosts, watcher: PathWatcher):
    here, there = hosts
    old = known(watcher, there.address)
    configure(there, "addr", "delete", index="eth0", address=there.address, prefixlen=24)
    # What was confirmed counts for half a minute: let the entry grow old.
    configure(here, "neigh", "change", dst=there.address, ifindex=old.index, lladdr=old.mac.hex(":"), state=0x04)
    watcher.confirm(there.address)
    lost = changes_until(watcher, is_lost)[-1]
    assert lost.reason == f"nobody has answered for {there.address} on eth0"
    assert watcher.retry() == []
    configure(there, "addr", "add", index="eth0", address=there.address, prefixlen=24)
    give_up_at = time.monotonic() + WITHIN_S
    told: list[PathChange] = []
    while not told and time.monotonic() < give_up_at:
        told = watcher.retry()
        if select.select([watcher], [], [], 0.1)[0]:
            told += watcher.read()
    assert told[-1].after == old


def test_what_the_kernel_forgets_stays_known(hosts: testing.Hosts, watcher: PathWatcher):
    here, there = hosts
    old = known(watcher, there.address)
    configure(here, "neigh", "delete", dst=there.address, ifindex=old.index)
    assert select.select([watcher], [], [], WITHIN_S)[0]
    assert watcher.read() == []
    assert here.call(lambda: find(there.address)) == old  # and is asked for again
    assert watcher.read() == []


def test_events_that_were_lost_are_made_up_for(hosts: testing.Hosts):
    here, there = hosts
    with here.call(PathWatcher) as watcher:
        known(watcher, there.address)
        with socket.socket(fileno=socket.dup(watcher.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for mtu in range(1400, 1450):
            hosts.set_mtu(mtu, here)
        assert changes_until(watcher, is_known)[-1].different == {"mtu"}
        last = watcher.watch(there.address).before
        assert last is not None
        assert last.mtu == 1449


def send_to(address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"", (address, 9))
