"""Deadlines and manual liveliness: promises about time, looked after with timers of the control thread.

Only endpoints whose profile makes such a promise cost a timer. When something was last published or asserted is read
from the native side and from the shared words of each match; nothing is sent for it but what other hosts are told
of signs of life without a message (`lunar.graph.network.signs`).

Source: DDS 1.4, §2.2.3.7 (DEADLINE), §2.2.3.11 (LIVELINESS).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lunar import events
from lunar.graph.endpoints import LocalPublisher, LocalSubscription

if TYPE_CHECKING:
    from lunar.graph.matchmaker import Matchmaker

__all__ = ["Promises", "periods_missed"]

_NS = 1_000_000_000


def periods_missed(since_ns: int, now_ns: int, period_ns: int) -> tuple[int, int]:
    """Counts whole periods that passed without a sign, and tells when to look again.

    Args:
        since_ns: The last sign of life, or the last time a miss was counted.
        now_ns: The present, same clock.
        period_ns: The promised period.

    Returns:
        Periods missed, and nanoseconds until the next one can be.
    """
    elapsed_ns = max(0, now_ns - since_ns)
    missed = elapsed_ns // period_ns
    return missed, since_ns + (missed + 1) * period_ns - now_ns


class Promises:
    """The timers of one participant. Runs in the control thread.

    Args:
        matchmaker: Whose endpoints are looked after; one that it no longer has is forgotten.
        call_later: Runs a function after so many seconds.
    """

    def __init__(self, matchmaker: Matchmaker, call_later: Callable[[float, Callable[[], object]], None]) -> None:
        self._matchmaker = matchmaker
        self._call_later = call_later

    def watch(self, local: LocalPublisher | LocalSubscription) -> None:
        """Looks after a new endpoint, if its profile promises anything."""
        qos = local.info.qos
        if qos.deadline_s is not None:
            self._deadline(local, int(qos.deadline_s * _NS), time.monotonic_ns())
        if qos.lease_s is not None and (qos.liveliness == "manual_by_topic" or isinstance(local, LocalSubscription)):
            self._lease(local, time.monotonic_ns())

    def _exists(self, local: LocalPublisher | LocalSubscription) -> bool:
        known = self._matchmaker.publishers if isinstance(local, LocalPublisher) else self._matchmaker.subscriptions
        return local.info.id in known

    def _deadline(self, local: LocalPublisher | LocalSubscription, period_ns: int, counted_ns: int) -> None:
        if not self._exists(local):
            return
        now_ns = time.monotonic_ns()
        newest_ns = _newest_ns(local, now_ns)
        if newest_ns is None:  # nothing was promised yet: the count begins with a sample or a match
            counted_ns = now_ns
        missed, wait_ns = periods_missed(max(counted_ns, newest_ns or 0), now_ns, period_ns)
        if missed:
            counted_ns = now_ns
            local.deadlines_missed += missed
            remotes = [match.remote for match in local.matches.values()]
            local.notify(
                events.DeadlineMissed(local.info, remotes[0] if len(remotes) == 1 else None, local.deadlines_missed)
            )
            wait_ns = period_ns
        self._call_later(wait_ns / _NS, lambda: self._deadline(local, period_ns, counted_ns))

    def _lease(self, local: LocalPublisher | LocalSubscription, since_ns: int) -> None:
        if not self._exists(local):
            return
        now_ns = time.monotonic_ns()
        if isinstance(local, LocalPublisher):
            wait_ns = self._publisher_lease(local, since_ns, now_ns)
        else:
            wait_ns = self._subscription_lease(local, now_ns)
        self._call_later(max(wait_ns, 1_000_000) / _NS, lambda: self._lease(local, since_ns))

    def _publisher_lease(self, local: LocalPublisher, since_ns: int, now_ns: int) -> int:
        lease_ns = _lease_ns(local)
        sign_ns = max(since_ns, local.writer._newest_ns)
        if now_ns - sign_ns < lease_ns:
            return sign_ns + lease_ns - now_ns
        if sign_ns != local.lost_after_ns:  # once for each silence, however short the life before it
            local.lost_after_ns = sign_ns
            local.notify(events.LivelinessLost(local.info, None))
        return lease_ns

    def _subscription_lease(self, local: LocalSubscription, now_ns: int) -> int:
        wait_ns = _lease_ns(local)
        for match in local.matches.values():
            if match.remote.qos.liveliness != "manual_by_topic":
                continue  # automatic: alive as long as its process is, which the link tells
            lease_ns = int((match.remote.qos.lease_s or 0) * _NS)
            sign_ns = min(match.alive_ns, now_ns)
            if now_ns - sign_ns < lease_ns:
                wait_ns = min(wait_ns, sign_ns + lease_ns - now_ns)
                continue
            if sign_ns != match.lost_after_ns:
                match.lost_after_ns = sign_ns
                local.notify(events.LivelinessLost(local.info, match.remote))
            wait_ns = min(wait_ns, lease_ns)
        return wait_ns


def _lease_ns(local: LocalPublisher | LocalSubscription) -> int:
    return int((local.info.qos.lease_s or 0) * _NS)


def _newest_ns(local: LocalPublisher | LocalSubscription, now_ns: int) -> int | None:
    """When the newest sample was published (publisher) or a match was made or fed (subscription)."""
    if isinstance(local, LocalPublisher):
        return local.writer._newest_ns or None
    # A peer that claims to publish in the future must not set the next look there.
    times = [min(max(match.newest_ns, match.since_ns), now_ns) for match in local.matches.values()]
    return max(times, default=None)
