"""Which ways to remote addresses have changed: one netlink socket that can be polled, and what its events mean.

The kernel's events say that something happened, not what follows from it: an address that goes takes routes along, a
new route may be a better one, a link that comes back has forgotten its neighbours. So an event only makes those paths
suspect that it may concern, and these are looked up again, once for all that has come together. What is reported is the
difference. If events were lost for want of room, every path is a suspect.

    resolving -- MAC address known --> known          both -- nobody answers, no route, no link --> lost
        ^                                |             lost -- a route, a link, an answer --> resolving or known
        +--------- other next hop -------+

A MAC address, once known, stays until another one is known or nobody answers any more: that the kernel forgets it,
since it does not see AF_XDP's traffic, changes nothing on the wire.
"""

from __future__ import annotations

import contextlib
import errno
import select
import time
from dataclasses import dataclass, fields, replace
from typing import Final, TypeAlias

from lunar_xdp.links import read_link
from lunar_xdp.netlink import Message, NetlinkSocket
from lunar_xdp.paths import IpAddress, Path, Paths, Unreachable, parse_remote, read_neighbour, read_route

__all__ = ["PathChange", "PathWatcher", "find"]

# RTNLGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE, NEXTHOP
_GROUPS: Final = (1, 3, 5, 7, 8, 9, 11, 19, 32)
# RTM_NEW... and RTM_DEL... of each
_LINKS: Final = (16, 17)
_ROUTES: Final = (24, 25)
_NEIGHBOURS: Final = (28, 29)

_Key: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PathChange:
    """That a way is another one, or none any more.

    Attributes:
        remote: The remote address, as it was given to `watch`.
        interface: Likewise.
        before: The way that was; None if there was none.
        after: The way that is; None if there is none.
        reason: What is different, or why there is none.
    """

    remote: str
    interface: str
    before: Path | None
    after: Path | None
    reason: str

    @property
    def different(self) -> frozenset[str]:
        """The attributes of the path that are different; empty unless there is one before and after."""
        before, after = self.before, self.after
        if before is None or after is None:
            return frozenset()
        names = (each.name for each in fields(Path))
        return frozenset(name for name in names if getattr(before, name) != getattr(after, name))


@dataclass(slots=True)
class _Watched:
    address: IpAddress
    reported: Path | None = None
    why_not: str = ""  # there is none
    unanswered: bool = False  # and that is why
    last: Path | None = None  # the last one there was: which events concern it


class PathWatcher:
    """Watches ways, in the network namespace of the thread that makes it. Nothing here waits.

    Raises:
        OSError: The kernel refuses a socket.
    """

    def __init__(self) -> None:
        self._watched: dict[_Key, _Watched] = {}
        with contextlib.ExitStack() as stack:
            # First of all it listens, so that nothing between a look and the first event is missed.
            self._netlink = NetlinkSocket(groups=_GROUPS)
            stack.callback(self._netlink.close)
            self._paths = Paths()
            stack.callback(self._paths.close)
            self._sockets = stack.pop_all()

    def fileno(self) -> int:
        """A descriptor that is readable whenever `read` has something to do; the same each time."""
        return self._netlink.fileno()

    def watch(self, remote: str, interface: str = "") -> PathChange:
        """Watches the way to an address from now on, whether there is one or not.

        Args:
            remote: IPv4 or IPv6. A link-local address needs an interface.
            interface: Leave by this one; "" for the one that the kernel chooses.

        Returns:
            How it is now; if still `Path.resolving`, `read` will say more.

        Raises:
            ValueError: That is no address.
        """
        key = (remote, interface)
        before = self._watched.pop(key, None)
        watched = self._watched[key] = _Watched(parse_remote(remote))
        self._look_again(key)
        was = before.reported if before is not None else None
        return PathChange(remote, interface, was, watched.reported, watched.why_not or "as it is now")

    def forget(self, remote: str, interface: str = "") -> None:
        """Watches that way no longer; nothing happens if it was not watched."""
        self._watched.pop((remote, interface), None)

    @property
    def missing(self) -> int:
        """How many of the ways are lost or being resolved: as long as there are some, `retry` now and then."""
        return sum(each.reported is None or each.reported.resolving for each in self._watched.values())

    def read(self) -> list[PathChange]:
        """Takes in what has come and returns what follows from it; empty if nothing does."""
        suspects: dict[_Key, bool] = {}  # and whether its neighbour did not answer, as the last event has it
        try:
            for message in self._netlink.listen():
                self._consider(message, suspects)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            suspects = {**dict.fromkeys(self._watched, False), **suspects}
        return self._changes(suspects)

    def retry(self) -> list[PathChange]:
        """Looks again for what is missing. Without that a neighbour that did not answer would never be asked again."""
        missing = [key for key, each in self._watched.items() if each.reported is None or each.reported.resolving]
        return self._changes(dict.fromkeys(missing, False))

    def confirm(self, remote: str, interface: str = "") -> None:
        """Has the kernel make sure of a next hop's MAC address: nothing has been heard from there for a while.

        The kernel asks within some 5 s, by default. If nobody answers, or somebody with another one, `read` says so.
        """
        watched = self._watched.get((remote, interface))
        if watched is not None and watched.reported is not None and watched.reported.mac:
            with contextlib.suppress(Unreachable):  # then there is, or will be, an event about that
                self._paths.resolve(watched.reported)

    def close(self) -> None:
        """Closes its sockets; a second call does nothing."""
        self._sockets.close()

    def __enter__(self) -> PathWatcher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---- which may be concerned ------------------------------------------------------------------------------------

    def _consider(self, message: Message, suspects: dict[_Key, bool]) -> None:
        if message.kind not in _NEIGHBOURS:
            concerned = (key for key, watched in self._watched.items() if _concerns(message, watched))
            for key in concerned:
                suspects.setdefault(key, False)
            return
        neighbour = read_neighbour(message.body)
        if neighbour is None:
            return
        # One that was removed may have failed long ago, or may have been removed to be asked for anew.
        failed = neighbour.failed and message.kind == _NEIGHBOURS[0]
        where = (neighbour.index, str(neighbour.address))
        for key, watched in self._watched.items():
            if watched.last is not None and (watched.last.index, watched.last.next_hop) == where:
                suspects[key] = failed

    # ---- what has become of it -------------------------------------------------------------------------------------

    def _changes(self, suspects: dict[_Key, bool]) -> list[PathChange]:
        found = [self._look_again(key, failed) for key, failed in suspects.items()]
        return [change for change in found if change is not None]

    def _look_again(self, key: _Key, failed: bool = False) -> PathChange | None:
        """Looks a path up. `failed`: the kernel has asked for its neighbour, and nobody has answered."""
        watched = self._watched[key]
        before = watched.reported
        try:
            after = self._paths.look_up(*key)
            if after.resolving:
                after = self._without_mac(after, watched, failed)
            watched.unanswered, watched.why_not = False, ""
        except _Unanswered as unanswered:
            after, watched.why_not = None, unanswered.reason
        except Unreachable as unreachable:
            after, watched.unanswered, watched.why_not = None, False, self._trouble(before) + unreachable.reason
        watched.reported, watched.last = after, after or watched.last
        if after == before:
            return None
        return PathChange(*key, before, after, watched.why_not or _difference(before, after))

    def _without_mac(self, path: Path, watched: _Watched, failed: bool) -> Path:
        """Says what to make of a path whose next hop's MAC address the kernel does not know."""
        before, last, watched.last = watched.reported, watched.last, path
        same = last is not None and (last.index, last.next_hop) == (path.index, path.next_hop)
        # If it is another next hop by now, then it was not asked yet, and it was the one before that did not answer.
        watched.unanswered = same and (watched.unanswered or failed)
        known = before.mac if before is not None and same else b""
        if not (same and failed):
            # A firewall may keep the datagram back; that is no reason to give up what is known.
            with contextlib.suppress(*[Unreachable] if known else []):
                self._paths.resolve(path)
        if watched.unanswered:
            raise _Unanswered(path.remote, f"nobody has answered for {path.next_hop} on {path.interface}")
        return replace(path, mac=known, resolving=False) if known else path

    def _trouble(self, before: Path | None) -> str:
        """Says what is wrong with the interface of a path that was, as the beginning of a sentence."""
        try:
            link = self._paths.links.link(before.index) if before is not None else None
        except OSError as error:
            gone = error.errno == errno.ENODEV and before is not None
            return f"{before.interface} was removed; " if gone and before is not None else ""
        return f"{link.name} is down; " if link is not None and not link.up else ""


class _Unanswered(Unreachable):
    """The neighbour was asked for in vain; it is asked again, but there is no way until it answers."""


def _concerns(message: Message, watched: _Watched) -> bool:
    """Says whether something that is not about a neighbour may have changed a path."""
    path = watched.reported
    if message.kind in _ROUTES:
        # The routes that go with a link or an address go without a word: those events stand for them.
        route = read_route(message.body)
        return route is not None and watched.address in route.to
    if message.kind in _LINKS and path is not None:
        link = read_link(message.body)
        return link is not None and link.index in (path.index, path.device_index)
    return True  # an address, a rule, a next hop; or a link, and any may be the one that is missing


def _difference(before: Path | None, after: Path | None) -> str:
    if before is None or after is None:
        return "there is a way" + (", whose next hop is asked for its MAC address" if after and after.resolving else "")
    if before.next_hop == after.next_hop and before.index == after.index and before.mac != after.mac:
        return f"{after.next_hop} has MAC address {after.mac.hex(':')}, and had {before.mac.hex(':') or 'none yet'}"
    names = [each.name for each in fields(Path) if getattr(before, each.name) != getattr(after, each.name)]
    texts = [f"{name} {getattr(before, name)} -> {getattr(after, name)}" for name in names if name != "mac"]
    return ", ".join(texts)


def find(remote: str, interface: str = "", timeout_s: float = 3.5) -> Path:
    """Returns the way to an address, with the next hop's MAC address. Blocks until that is known.

    Args:
        remote: IPv4 or IPv6. A link-local address needs an interface.
        interface: Leave by this one; "" for the one that the kernel chooses.
        timeout_s: How long to wait at most. The kernel gives up after 3 s, by default.

    Raises:
        Unreachable: There is none, or nobody has answered.
        ValueError: That is no address.
    """
    give_up_at = time.monotonic() + timeout_s
    with PathWatcher() as watcher:
        change = watcher.watch(remote, interface)
        poll = select.poll()
        poll.register(watcher, select.POLLIN)
        while True:
            if change.after is None:
                raise Unreachable(remote, change.reason)
            if not change.after.resolving:
                return change.after
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                where = f"{change.after.next_hop} on {change.after.interface}"
                raise Unreachable(remote, f"nobody has answered for {where} within {timeout_s:g} s")
            poll.poll(1000 * left_s)
            change = next(iter(watcher.read()), change)
