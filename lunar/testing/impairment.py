"""What a bad cable does to each packet. Pure: no sockets, the clock is passed in, chance comes from a seed.

A packet's fate is drawn from the seed and its number in its direction, and from nothing else: the same packets have the
same fate in each run. Three draws a packet, whatever they decide, so that one fate does not shift the others'.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import asdict, dataclass
from typing import Final

__all__ = ["Impairment", "Line", "LineStatistics", "is_impaired"]

_HOLD_S: Final = 0.02
"""A packet that is to be overtaken waits this long for another one, then goes on."""

_IPV4, _IPV6 = b"\x08\x00", b"\x86\xdd"
_IGMP, _HOP_BY_HOP, _ICMPV6 = 2, 0, 58
_PROTOCOLS: Final = {"tcp": 6, "udp": 17}


def is_impaired(frame: bytes) -> bool:
    """Tells whether a frame carries ordinary IP: not ARP, not what IPv6 and multicast need to work at all.

    IPv6's neighbour discovery is all of ICMPv6 here, and its multicast reports are packets with hop-by-hop options.
    """
    kind = frame[12:14]
    if kind == _IPV4:
        return frame[23:24] != bytes([_IGMP])
    return kind == _IPV6 and frame[20:21] not in (bytes([_HOP_BY_HOP]), bytes([_ICMPV6]))


def _protocol_of(frame: bytes) -> int:
    return frame[23] if frame[12:14] == _IPV4 else frame[20]


@dataclass(frozen=True, slots=True)
class Impairment:
    """How bad a cable is, in each direction.

    Attributes:
        loss: Share of the packets that is lost, 0 to 1.
        duplicate: Share that arrives twice.
        reorder: Share that the next packet overtakes; if none comes within 20 ms, it goes on in its turn.
        delay_s: How much later each packet arrives.
        rate_bytes_per_s: How many bytes pass in a second; 0 means as many as come.
        queue_packets: How many packets may be under way in a direction because of delay and rate; more are dropped.
        blocks: "tcp" or "udp": all packets of that protocol are lost, as by a firewall; "": none for that reason.

    Raises:
        ValueError: A number is out of range.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_s: float = 0.0
    rate_bytes_per_s: float = 0.0
    queue_packets: int = 10_000
    blocks: str = ""

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {share}")
        for name in ("delay_s", "rate_bytes_per_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is a finite number from 0, not {getattr(self, name)}")
        if self.blocks not in ("", *_PROTOCOLS):
            raise ValueError(f"blocks is tcp, udp or nothing, not {self.blocks!r}")
        if self.queue_packets < 1:
            raise ValueError(f"queue_packets is at least 1, not {self.queue_packets}")


@dataclass(slots=True)
class LineStatistics:
    """What happened in one direction since the beginning. Counted in frames.

    `packets + duplicated == lost + dropped + sent + unsent`, once nothing is under way.

    Attributes:
        packets: Ordinary IP packets that came in.
        lost: Of those, lost on purpose.
        duplicated: Sent twice.
        reordered: Overtaken by at least one later packet.
        dropped: Not taken because the queue was full.
        sent: Packets that went out.
        unsent: Packets that the kernel refused to send: longer than the MTU, or the cable was cut.
        unharmed: Other frames (ARP and the like) that passed as they were.
        overrun: Frames that came faster than the forwarder could read, of any kind. Not on purpose.
    """

    packets: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    dropped: int = 0
    sent: int = 0
    unsent: int = 0
    unharmed: int = 0
    overrun: int = 0

    def as_dict(self) -> dict[str, int]:
        """The same by name."""
        return asdict(self)


class Line:
    """One direction of a cable: packets in, and out again when they are due.

    Args:
        impairment: What it does to them.
        seed: Of chance.

    Attributes:
        statistics: What happened so far; `sent`, `unsent` and `overrun` are the owner's to count.
    """

    def __init__(self, impairment: Impairment, seed: int | str) -> None:
        self._impairment = impairment
        self._draw = random.Random(seed).random
        self._prompt = impairment.delay_s == 0 and impairment.rate_bytes_per_s == 0
        self._free_at_s = 0.0
        self._queue: deque[tuple[float, bytes]] = deque()  # in order of time: all have the same delay
        self._held: bytes | None = None
        self._held_until_s = 0.0
        self.statistics = LineStatistics()

    def push(self, packet: bytes, now_s: float) -> list[bytes]:
        """Takes a packet. Returns what is to be sent at once, in order; the rest comes from `due`."""
        statistics, impairment = self.statistics, self._impairment
        statistics.packets += 1
        lost, doubled, overtaken = self._draw(), self._draw(), self._draw()
        if lost < impairment.loss or (impairment.blocks and _PROTOCOLS[impairment.blocks] == _protocol_of(packet)):
            statistics.lost += 1
            return []
        if overtaken < impairment.reorder and self._held is None:
            self._held, self._held_until_s = packet, now_s + _HOLD_S
            return []
        out = [packet]
        if doubled < impairment.duplicate:
            statistics.duplicated += 1
            out.append(packet)
        if self._held is not None:
            statistics.reordered += 1
            out.append(self._held)
            self._held = None
        return out if self._prompt else self._enqueue(out, now_s)

    def _enqueue(self, packets: list[bytes], now_s: float) -> list[bytes]:
        rate = self._impairment.rate_bytes_per_s
        for packet in packets:
            if len(self._queue) >= self._impairment.queue_packets:
                self.statistics.dropped += 1
                continue
            self._free_at_s = max(self._free_at_s, now_s) + (len(packet) / rate if rate else 0.0)
            self._queue.append((self._free_at_s + self._impairment.delay_s, packet))
        return []

    def due(self, now_s: float) -> list[bytes]:
        """Takes out what is to be sent by now, in order."""
        out = []
        if self._held is not None and now_s >= self._held_until_s:
            held, self._held = [self._held], None
            out += held if self._prompt else self._enqueue(held, now_s)
        while self._queue and self._queue[0][0] <= now_s:
            out.append(self._queue.popleft()[1])
        return out

    def next_due_s(self) -> float | None:
        """When to call `due` next; None if nothing waits."""
        times = [self._queue[0][0]] if self._queue else []
        if self._held is not None:
            times.append(self._held_until_s)
        return min(times, default=None)
