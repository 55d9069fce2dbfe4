"""Ways: where the datagrams for each remote address go, as the kernel has it now, and streams that follow it.

    unknown -- its next hop has answered --> known <--> lost: what is known is kept, and tried

Nothing here waits. While a way is unknown its streams are open and send nothing. A way that is lost keeps its last
destination: that the kernel asks in vain does not prove that nobody is there, and frames that go nowhere do no harm.
Over sockets the kernel finds the way for each datagram; then only the MTU is followed, and whether there is a way.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass, field
from typing import Final

from lunar_xdp import _xdp
from lunar_xdp.paths import Path, Unreachable
from lunar_xdp.watching import PathChange, PathWatcher

__all__ = ["Ways"]

_NOBODY: Final = bytes(6)
# What is missing is looked for so often; the kernel itself tells most of what changes.
_RETRY_S: Final = 1.0

# Where a stream is to go, apart from what the way there says: UDP port, the other end's MTU, priority.
_Wanted = tuple[int, int, int]


@dataclass(slots=True)
class _Way:
    path: Path | None = None  # the last with a next hop that answers
    lost_since_s: float | None = None
    users: set[str] = field(default_factory=set)
    destinations: dict[_Wanted, _xdp.Destination] = field(default_factory=dict)


class Ways:
    """See above.

    Args:
        native: Whose streams follow.
        interface: By which all go; "" if the kernel sends, by whichever it likes.
        mtu: Of this host's interface, as long as no more is known.

    Raises:
        OSError: The kernel refuses a socket.
    """

    def __init__(self, native: _xdp.Engine, interface: str, mtu: int) -> None:
        self._native, self._interface, self._mtu = native, interface, mtu
        self._ways: dict[str, _Way] = {}
        self._retry_at_s = 0.0
        self._following = self._missing = False
        self._watcher = PathWatcher()
        try:
            native.watch(self._watcher.fileno())
        except BaseException:
            self._watcher.close()
            raise

    def to(self, address: str, wanted: _Wanted, user: str) -> _xdp.Destination:
        """Returns where a stream goes for now; it will follow.

        Args:
            address: The remote one.
            wanted: UDP port, the other end's MTU, priority.
            user: The process at the other end; see `forget`.

        Raises:
            Unreachable: There is no way there by this interface, and there was none before.
        """
        way = self._ways.get(address)
        if way is None:
            change = self._watcher.watch(address, self._interface)
            if change.after is None and self._interface:
                self._watcher.forget(address, self._interface)
                raise Unreachable(address, change.reason)
            way = self._ways[address] = _Way(path=_usable(change.after))
            if way.path is None:
                self._missing, self._retry_at_s = True, time.monotonic() + _RETRY_S
        way.users.add(user)
        if wanted not in way.destinations:
            way.destinations[wanted] = self._destination(address, wanted, way)
        return way.destinations[wanted]

    def _destination(self, address: str, wanted: _Wanted, way: _Way) -> _xdp.Destination:
        number, mtu, priority = wanted
        packed = ipaddress.ip_address(address).packed
        if not self._interface:
            return packed, number, min(way.path.mtu if way.path else self._mtu, mtu), _NOBODY, 0, priority
        if way.path is None:
            return packed, number, 0, _NOBODY, 0, priority
        return packed, number, min(way.path.mtu, mtu), way.path.mac, way.path.vlan, priority

    def retry(self) -> float | None:
        """Looks again for what is missing, if it is time. When next, in seconds; None if nothing is."""
        if not self._missing:
            return None
        left_s = self._retry_at_s - time.monotonic()
        return left_s if left_s > 0 else self.follow()

    def follow(self) -> float | None:
        """Takes in what the kernel says; returns as `retry` does."""
        if self._following:
            return None  # from a signal's handler, in the midst of it
        self._following = True
        try:
            changes = self._watcher.read()
            now_s = time.monotonic()
            if self._watcher.missing and now_s >= self._retry_at_s:
                self._retry_at_s = now_s + _RETRY_S
                changes += self._watcher.retry()
            for change in changes:
                self._apply(change)
            self._missing = self._watcher.missing > 0
            return max(0.001, self._retry_at_s - now_s) if self._missing else None
        finally:
            self._following = False

    def _apply(self, change: PathChange) -> None:
        way = self._ways.get(change.remote)
        if way is None:
            return
        path = _usable(change.after)
        if path is None:
            if way.path is not None and way.lost_since_s is None:
                way.lost_since_s = time.monotonic()
            return
        way.path, way.lost_since_s = path, None
        for wanted, before in way.destinations.items():
            after = self._destination(change.remote, wanted, way)
            try:
                self._native.redirect(before, after)  # the same twice: it is tried at once
            except OSError:
                continue  # no stream can go by such a small MTU: as if it were lost
            way.destinations[wanted] = after

    def lost_since_s(self, user: str) -> float | None:
        """Since when there is no way to a process though there was one, monotonic; None if there is one."""
        times = [way.lost_since_s for way in self._ways.values() if user in way.users and way.lost_since_s is not None]
        return min(times, default=None)

    def doubt(self, user: str) -> None:
        """Nothing is heard from a process: the kernel is to make sure of the next hop."""
        for address, way in self._ways.items():
            if user in way.users:
                self._watcher.confirm(address, self._interface)

    def forget(self, user: str) -> None:
        """A process is gone for good."""
        for address, way in list(self._ways.items()):
            way.users.discard(user)
            if not way.users:
                del self._ways[address]
                self._watcher.forget(address, self._interface)

    def close(self) -> None:
        """Follows no longer; a second call does nothing."""
        self._watcher.close()


def _usable(path: Path | None) -> Path | None:
    return None if path is None or path.resolving else path
