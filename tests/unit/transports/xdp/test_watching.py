"""The watcher against a made-up kernel: whatever happens and whichever events are lost, what it has told adds up."""

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Self

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from lunar_xdp import watching
from lunar_xdp.links import Link
from lunar_xdp.netlink import Message, attribute
from lunar_xdp.paths import Path, Unreachable
from lunar_xdp.watching import PathChange, PathWatcher

REMOTE, ROUTER = "10.0.0.2", "10.0.0.1"
HOPS = (REMOTE, ROUTER)
MACS = {hop: (bytes([2, 0, 0, 0, number, 1]), bytes([2, 0, 0, 0, number, 2])) for number, hop in enumerate(HOPS)}
MAC, OTHER_MAC = MACS[REMOTE]
FAILED = b"failed"  # nobody has answered
NEW_LINK, NEW_ROUTE, NEW_NEIGHBOUR, DELETED_NEIGHBOUR = 16, 24, 28, 29


class Kernel:
    """What stands in for `Paths`, its `Links`, and the socket that listens."""

    def __init__(self) -> None:
        self.up, self.there, self.routed = True, True, True
        self.mtu, self.next_hop = 1500, REMOTE
        self.neighbours: dict[str, bytes] = dict.fromkeys(HOPS, b"")
        self.asked: list[str] = []
        self.events: list[Message] = []
        self.overrun, self.refuses = False, False
        self.links = self

    # as Paths

    def look_up(self, remote: str, interface: str = "") -> Path:
        if not (self.up and self.there and self.routed):
            raise Unreachable(remote, "no route")
        mac = self.neighbours[self.next_hop].replace(FAILED, b"")
        return Path(remote, "eth0", 7, "10.0.0.9", self.next_hop, mac, not mac, self.mtu, "eth0", 7)

    def resolve(self, path: Path) -> None:
        self.asked.append(path.next_hop)
        if self.refuses:
            raise Unreachable(path.remote, "a firewall keeps the datagram back")

    # as Links

    def link(self, which: int) -> Link:
        if not self.there:
            raise OSError(errno.ENODEV, "No such device")
        return Link("eth0", which, MAC, self.mtu, self.up, self.up, False, True, "", 0, 0, (), 1)

    # as NetlinkSocket

    def listen(self) -> Iterator[Message]:
        while self.events:
            yield self.events.pop(0)
        if self.overrun:
            self.overrun = False
            raise OSError(errno.ENOBUFS, "No buffer space available")

    def close(self) -> None:
        pass

    # what happens

    def tell(self, kind: int, body: bytes) -> None:
        self.events.append(Message(kind, 0, body))

    def tell_of_link(self) -> None:
        self.tell(NEW_LINK, struct.pack("=BxHiII", 0, 1, 7, 0, 0))

    def tell_of_route(self) -> None:
        self.tell(NEW_ROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 1, 0))

    def tell_of_neighbour(self, address: str, kind: int = NEW_NEIGHBOUR) -> None:
        mac = self.neighbours[address]
        state = 0x20 if mac == FAILED else 0x02 if mac else 0x01
        body = struct.pack("=B3xiHBB", socket.AF_INET, 7, state, 0, 0)
        body += attribute(1, ipaddress.ip_address(address).packed)
        self.tell(kind, body + (attribute(2, mac) if state == 0x02 else b""))


class Watching(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = Kernel()
        self.told: Path | None = None
        self.silent: set[str] = set()  # next hops that did not answer since they were last known

    @initialize()
    def watch(self) -> None:
        class Paths:
            def __new__(cls) -> Self:
                return kernel  # type: ignore[return-value]

        kernel = self.kernel
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(watching, "Paths", Paths)
            patch.setattr(watching, "NetlinkSocket", lambda groups: kernel)
            self.watcher = PathWatcher()
        self.told = self.watcher.watch(REMOTE).after

    # ---- what the kernel does, with or without an event that gets through

    @rule(told=st.booleans())
    def link_changes(self, told: bool) -> None:
        self.kernel.up = not self.kernel.up
        self.kernel.neighbours = dict.fromkeys(HOPS, b"")
        self.happened(told, self.kernel.tell_of_link)

    @rule(told=st.booleans())
    def interface_goes_or_comes(self, told: bool) -> None:
        self.kernel.there = not self.kernel.there
        self.kernel.neighbours = dict.fromkeys(HOPS, b"")
        self.happened(told, self.kernel.tell_of_link)

    @rule(told=st.booleans(), mtu=st.sampled_from([1400, 1500, 9000]))
    def mtu_changes(self, told: bool, mtu: int) -> None:
        self.kernel.mtu = mtu
        self.happened(told, self.kernel.tell_of_link)

    @rule(told=st.booleans(), next_hop=st.sampled_from(HOPS), routed=st.booleans())
    def route_changes(self, told: bool, next_hop: str, routed: bool) -> None:
        self.kernel.next_hop, self.kernel.routed = next_hop, routed
        self.happened(told, self.kernel.tell_of_route)

    @rule(told=st.booleans(), hop=st.sampled_from(HOPS), which=st.sampled_from([0, 1, None]))
    def neighbour_answers_or_not(self, told: bool, hop: str, which: int | None) -> None:
        self.kernel.neighbours[hop] = FAILED if which is None else MACS[hop][which]
        if which is None:
            self.silent.add(hop)
        self.happened(told, lambda: self.kernel.tell_of_neighbour(hop))

    @rule(told=st.booleans(), hop=st.sampled_from(HOPS))
    def neighbour_is_forgotten(self, told: bool, hop: str) -> None:
        was, self.kernel.neighbours[hop] = self.kernel.neighbours[hop], b""
        if was == FAILED:
            self.happened(told, lambda: self.kernel.tell(DELETED_NEIGHBOUR, b""))
        else:
            self.happened(told, lambda: self.kernel.tell_of_neighbour(hop, DELETED_NEIGHBOUR))

    def happened(self, told: bool, tell) -> None:
        if told:
            tell()
        else:
            self.kernel.overrun = True

    @rule(known=st.booleans())
    def all_is_well_again(self, known: bool) -> None:
        kernel = self.kernel
        kernel.up = kernel.there = kernel.routed = True
        kernel.tell_of_link()
        if known:
            kernel.neighbours[kernel.next_hop] = MACS[kernel.next_hop][0]
            kernel.tell_of_neighbour(kernel.next_hop)
        self.take(self.watcher.read())

    # ---- what follows if everything was read before, and is read at once

    @property
    def settled(self) -> bool:
        kernel = self.kernel
        return not (kernel.events or kernel.overrun) and kernel.up and kernel.there and kernel.routed

    @precondition(lambda self: self.settled and self.told is not None and self.told.mac)
    @rule(refuses=st.booleans())
    def what_is_forgotten_stays_known(self, refuses: bool) -> None:
        assert self.told is not None
        self.kernel.refuses = refuses
        self.kernel.neighbours[self.told.next_hop] = b""
        self.kernel.tell_of_neighbour(self.told.next_hop, DELETED_NEIGHBOUR)
        assert self.watcher.read() == []
        self.kernel.refuses = False

    @precondition(lambda self: self.settled)
    @rule()
    def who_does_not_answer_is_lost(self) -> None:
        hop = self.kernel.next_hop
        self.kernel.neighbours[hop] = FAILED
        self.silent.add(hop)
        self.kernel.tell_of_neighbour(hop)
        self.take(self.watcher.read())
        assert self.told is None

    @precondition(lambda self: self.settled)
    @rule()
    def another_next_hop_is_asked(self) -> None:
        kernel = self.kernel
        (kernel.next_hop,) = set(HOPS) - {kernel.next_hop}
        kernel.neighbours[kernel.next_hop] = b""
        kernel.tell_of_route()
        self.take(self.watcher.read())
        assert self.told is not None
        assert self.told.resolving

    # ---- what is done with the watcher

    @rule()
    def read(self) -> None:
        self.take(self.watcher.read())

    @rule()
    def retry(self) -> None:
        self.kernel.asked.clear()
        before = self.watcher.missing
        self.take(self.watcher.retry())
        reachable = self.kernel.up and self.kernel.there and self.kernel.routed
        if before and self.watcher.missing and reachable:
            assert self.kernel.next_hop in self.kernel.asked

    def take(self, changes: list[PathChange]) -> None:
        for change in changes:
            assert change.before == self.told != change.after
            assert change.reason
            assert change.remote == REMOTE
            self.told = change.after

    @invariant()
    def what_was_told_is_true_as_soon_as_all_was_read(self) -> None:
        kernel = self.kernel
        if kernel.events or kernel.overrun:
            return
        told, mac = self.told, kernel.neighbours[kernel.next_hop]
        assert self.watcher.missing == (told is None or told.resolving)
        if not (kernel.up and kernel.there and kernel.routed):
            assert told is None
        elif mac in MACS[kernel.next_hop]:
            assert told == kernel.look_up(REMOTE)
            self.silent.discard(kernel.next_hop)
        elif told is not None:
            # Not known, and either never known for this next hop, or known before.
            assert (told.next_hop, told.mtu) == (kernel.next_hop, kernel.mtu)
            assert told.mac in (b"", *MACS[kernel.next_hop])
            assert told.resolving == (told.mac == b"")
        else:
            assert kernel.next_hop in self.silent

    @precondition(lambda self: self.told is not None and self.told.mac)
    @rule()
    def confirm(self) -> None:
        self.kernel.asked.clear()
        self.watcher.confirm(REMOTE)
        assert len(self.kernel.asked) == 1


TestWatching = Watching.TestCase


def test_a_change_tells_what_is_different():
    path = Path(REMOTE, "eth0", 7, "10.0.0.9", REMOTE, MAC, False, 1500, "eth0", 7)
    other = replace(path, mtu=9000, mac=OTHER_MAC)
    assert PathChange(REMOTE, "", path, other, "").different == {"mtu", "mac"}
    assert PathChange(REMOTE, "", None, other, "").different == frozenset()
    assert PathChange(REMOTE, "", path, None, "").different == frozenset()
