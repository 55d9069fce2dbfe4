"""What one measured process is asked to do: sizes, counts, QoS and the way to wait. Plain data, sent as JSON."""

from __future__ import annotations

import dataclasses
import json
import uuid
from dataclasses import dataclass, field
from typing import Literal

Wait = Literal["spin", "adaptive", "sleep"]
Receive = Literal["iterate", "callback", "burst", "blocking"]
Reliability = Literal["reliable", "best_effort"]
Backend = Literal["", "auto", "af_xdp", "udp"]
Role = Literal["ping", "pong", "send", "receive"]

WAITS: tuple[Wait, ...] = ("spin", "adaptive", "sleep")
RECEIVES: tuple[Receive, ...] = ("iterate", "callback", "burst", "blocking")
RELIABILITIES: tuple[Reliability, ...] = ("reliable", "best_effort")
BACKENDS: tuple[Backend, ...] = ("", "auto", "af_xdp", "udp")

SLOWEST_RTT_S = 0.25
"""Allowed a round trip before a run is given up."""

SHORTEST_S = 10.0
DRAIN_S = 30.0
"""Allowance after the sender's time for what is still queued."""

SMALLEST_STAMPED_BYTES = 8
"""A throughput message begins with its 64-bit sequence number, so it cannot be smaller than that."""


def new_channel() -> str:
    """A name that no other run uses: it becomes the topic, the key expression or the socket's path."""
    return f"perf_{uuid.uuid4().hex[:12]}"


@dataclass(frozen=True, slots=True)
class Work:
    """The same for every side of a run, whichever peer carries it.

    Attributes:
        size_bytes: payload size; of messages, that of one as it is sent.
        message: name of the message class that is sent (see :mod:`lunar_perf.typed_messages`), empty for bytes.
        count: measured round trips (ping-pong only).
        warmup: round trips, or messages, before measuring starts.
        duration_s: how long the sender sends (throughput only).
        batch: messages per publish call; 1 is one message a call.
        loan: send loaned memory. A ping-pong leaves it untouched; a throughput run writes the sequence number only.
        wait: how Lunar waits; the other peers have one way each and ignore it.
        loop: event loop for asyncio peers: ``auto``, ``lunar``, ``asyncio`` or ``uvloop``.
        receive: form of reception (Lunar's throughput only).
        reliability: ``reliable`` also means that nothing may be dropped under load (keep_all).
        depth: queue depth a match.
        subscribers: receiving processes.
        transport: Lunar's transport between hosts; empty: none, or whichever is chosen.
        backend: what the transport `xdp` sends by; empty: as its settings say.
        address: of the side that pings or sends, for peers that connect to one; empty: both are on this host.
        channel: unique name of this run.
    """

    size_bytes: int
    message: str = ""
    count: int = 0
    warmup: int = 0
    duration_s: float = 0.0
    batch: int = 1
    loan: bool = False
    wait: Wait = "adaptive"
    loop: str = "auto"
    receive: Receive = "iterate"
    reliability: Reliability = "reliable"
    depth: int = 1024
    subscribers: int = 1
    transport: str = ""
    backend: Backend = ""
    address: str = ""
    channel: str = field(default_factory=new_channel)

    @property
    def allowed_s(self) -> float:
        """How long the measured part may take at most."""
        if self.count:
            return max(SHORTEST_S, (self.warmup + self.count) * SLOWEST_RTT_S)
        return self.duration_s + DRAIN_S

    def to_json(self) -> str:
        """One line, read back by :meth:`from_json`."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Work:
        """The inverse of :meth:`to_json`."""
        return cls(**json.loads(text))


def role_of(text: str) -> Role:
    """The role of that name.

    Raises:
        ValueError: there is none.
    """
    match text:
        case "ping" | "pong" | "send" | "receive":
            return text
    raise ValueError(f"role {text!r}: one of ping, pong, send, receive")
