"""The QoS and the names under which Lunar is measured, the same for all its ways of waiting."""

from __future__ import annotations

from typing import Literal

import lunar
from lunar_perf.work import Wait, Work

Publisher = lunar.Publisher[object]
Subscription = lunar.Subscription[memoryview]

MATCH_S = 15.0
QUEUE_BYTES = 1 << 24
"""As for the other zero-copy peer: a queue of large samples is shorter, as a user's would be."""

_RESOURCES: dict[Wait, Literal["greedy", "balanced", "frugal"]] = {
    "spin": "greedy",
    "adaptive": "balanced",
    "sleep": "frugal",
}


def depth(work: Work) -> int:
    """Queue depth that keeps what is queued within :data:`QUEUE_BYTES`, but never below four."""
    return max(4, min(work.depth, QUEUE_BYTES // work.size_bytes))


def echo_qos(work: Work) -> lunar.QoS:
    """The default profile, with the reliability and the way of waiting asked for."""
    return lunar.QoS(reliability=work.reliability, resources=_RESOURCES[work.wait], transport=work.transport or None)


def stream_qos(work: Work) -> lunar.QoS:
    """Reliable also means keep_all here: the publisher waits and nothing is overwritten."""
    return lunar.QoS(
        reliability=work.reliability,
        history="keep_all" if work.reliability == "reliable" else "keep_last",
        depth=depth(work),
        resources=_RESOURCES[work.wait],
        transport=work.transport or None,
    )


def topic(work: Work, name: str) -> str:
    """Topic of one direction of a run."""
    return f"{work.channel}/{name}"
