"""Reach: which transports do not reach which processes at present. Runs in the control thread.

Both ends of a match choose its transport by themselves, from the same values. That a connection is lost is seen by one
side first, and maybe by one alone; so whoever sees it posts it, and both take what either has posted into their choice.
It is taken back by who posted it, when the transport has a connection again, but not before a while: a connection that
comes and goes would move streams to and fro. It is not held if what serves instead fails too.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lunar.graph.network.engines import EngineHost
    from lunar.graph.network.remote import RemoteProcess

__all__ = ["HOLD_S", "LONGEST_HOLD_S", "Reach"]

HOLD_S: Final = 5.0
"""So long a transport that has failed is not used again, whatever it says."""

LONGEST_HOLD_S: Final = 60.0
"""That time doubles each time that it fails again soon after it was taken back, up to this."""

_LOOK_AGAIN_S: Final = 0.5


class Reach:
    """What this process has found out, and what it is told.

    Args:
        hosts: The engines of this process, by name.
        call_later: Runs a function in the control thread after so many seconds.
        tell: Posts that a transport does not reach a process, by id, why, and for how many seconds it has not; with an
            empty reason takes that back.
        changed: Called with a process when the choice may be another one.
    """

    hold_s = HOLD_S

    def __init__(
        self,
        hosts: Mapping[str, EngineHost],
        call_later: Callable[[float, Callable[[], object]], object],
        tell: Callable[[str, str, str, float], object],
        changed: Callable[[RemoteProcess], object],
    ) -> None:
        self._hosts, self._call_later, self._tell, self._changed = hosts, call_later, tell, changed
        self._found: dict[str, dict[str, str]] = {}  # by process and transport: why
        self._holds: dict[tuple[str, str], tuple[float, float]] = {}  # how long it was held, and until when

    def reasons(self, process: RemoteProcess) -> dict[str, str]:
        """Why transports do not reach a process or this one from there; both sides have the same."""
        found = dict(self._found.get(process.id, {}))
        for name, reason in process.unreachable.items():
            found[name] = min(reason, found.get(name, reason))
        return found

    def cut_off_s(self, process: RemoteProcess, name: str) -> float:
        """How long a transport has had no connection with a process, though there was one; 0.0 if it has one."""
        host = self._hosts.get(name)
        if host is None:
            return 0.0
        with host.lock:
            return host.engine.cut_off_s(process.id)

    def exclude(self, process: RemoteProcess, name: str, reason: str) -> None:
        """A transport does not reach a process."""
        own = self._found.setdefault(process.id, {})
        if name in own:
            return
        own[name] = reason
        now_s = time.monotonic()
        last_s, until_s = self._holds.get((process.id, name), (0.0, 0.0))
        again_soon = now_s < until_s + LONGEST_HOLD_S
        hold_s = min(2 * last_s, LONGEST_HOLD_S) if last_s and again_soon else self.hold_s
        self._holds[process.id, name] = hold_s, now_s + hold_s
        self._tell(process.id, name, reason, self.cut_off_s(process, name))
        self._call_later(hold_s, partial(self._look, process, name))
        self._let_go(process)
        self._changed(process)

    def heard(self, process: RemoteProcess) -> None:
        """A process says that it is reached by other transports than before, or has others."""
        for name in process.renewed & self._found.get(process.id, {}).keys():
            self._take_back(process, name)  # that an engine which is gone has no connection says nothing of this one
        process.renewed.clear()
        self._let_go(process)
        self._changed(process)

    def _let_go(self, process: RemoteProcess) -> None:
        """What has a connection again is held no longer once what serves instead of it fails."""
        own = self._found.get(process.id, {})
        for name in list(own):
            if any(other != name for other in (*own, *process.unreachable)) and self.cut_off_s(process, name) == 0:
                self._take_back(process, name)

    def _look(self, process: RemoteProcess, name: str) -> None:
        own = self._found.get(process.id, {})
        if process.closed or name not in own:
            return
        if self.cut_off_s(process, name) > 0:
            self._call_later(_LOOK_AGAIN_S, partial(self._look, process, name))
            return
        self._take_back(process, name)
        self._changed(process)

    def _take_back(self, process: RemoteProcess, name: str) -> None:
        del self._found[process.id][name]
        hold_s, _ = self._holds[process.id, name]
        self._holds[process.id, name] = hold_s, time.monotonic()
        self._tell(process.id, name, "", 0.0)

    def forget(self, process: RemoteProcess) -> None:
        """A process is gone: should it come back, everything is tried again."""
        for name in self._found.pop(process.id, {}):
            self._tell(process.id, name, "", 0.0)
            self._holds.pop((process.id, name), None)
