"""The table of numbers of a comparison over a link: every target beside what was measured. Pure.

As in :mod:`lunar_perf.numbers`. Rows without a target of their own are in :func:`facts`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from lunar_perf.link_compare import LinkResults
from lunar_perf.link_meeting import Meeting, Memory
from lunar_perf.link_plan import (
    DATAGRAM_BYTES,
    DDS,
    DDS_LONG,
    FRAME_BYTES,
    FULL_FRAME_BYTES,
    LOCAL,
    LOCAL_NETWORK,
    LOCAL_SPIN,
    LOCAL_SPIN_NETWORK,
    POLLED,
    RAW,
    RAW_EACH,
    SEQUENCE_LONG,
    UDP,
    XDP,
    XDP_BEST_EFFORT,
    XDP_BURSTS,
    XDP_EACH,
    XDP_SPIN,
    XDP_UDP_SPIN,
    ZMQ,
    ZMQ_CURVE,
    ZMQ_LOANED,
    key_of,
)
from lunar_perf.numbers import Number
from lunar_perf.percentiles import Spread
from lunar_perf.plan import LARGE_BYTES, SMALL_BYTES
from lunar_perf.results import Figures, ratio

UNCHANGED = 1.1
"""What counts as unchanged: the bus's own figures differ by as much from run to run."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure that no target is set for.

    Attributes:
        what: what was measured.
        figure: the figure, with unit.
        value: the spread of a ratio, or None.
    """

    what: str
    figure: str
    value: Spread | None = None


def link_numbers(results: LinkResults) -> list[Number]:
    """Every row, in the order of the issue that set the targets."""
    return [
        _round_trip(results, ZMQ, "pyzmq-asyncio", 1.1, "zmq asyncio, 64 B, p50", "both without CURVE"),
        _round_trip(results, DDS, "cyclonedds", 0.9, "dds asyncio, 64 B, p50", "theirs blocks, without an event loop"),
        _stream(results, DDS, "cyclonedds-sequence", 30, "dds, 1 MiB one way", "the same type: a sequence of octets"),
        _stream(results, ZMQ, "pyzmq", 0.9, "zmq, 1 MiB one way", "both without CURVE; theirs blocks"),
        _round_trip(results, LOCAL_NETWORK, LOCAL, UNCHANGED, "local, 64 B, p50, range network", "adaptive"),
        _round_trip(results, LOCAL_SPIN_NETWORK, LOCAL_SPIN, UNCHANGED, "local, 64 B, p50, range network", "spin"),
        _pair(results),
        _crowd(results),
        *_fast(results),
    ]


def facts(results: LinkResults) -> list[Fact]:
    """What is worth knowing beside that."""
    rows = [
        _cost(results, "ping-pong", ZMQ_CURVE, ZMQ, SMALL_BYTES, "CURVE, 64 B round trip, p50"),
        _cost(results, "throughput", ZMQ_CURVE, ZMQ, LARGE_BYTES, "CURVE, 1 MiB one way"),
        _cost(results, "throughput", ZMQ_LOANED, "pyzmq", LARGE_BYTES, "zmq, 1 MiB one way, loaned, to pyzmq"),
        _cost(results, "throughput", ZMQ, "pyzmq-asyncio", LARGE_BYTES, "zmq, 1 MiB one way, to pyzmq.asyncio"),
        _cost(
            *(results, "throughput", DDS, "cyclonedds", LARGE_BYTES),
            "dds, 1 MiB one way, to an array of fixed size in cyclonedds-python",
        ),
        _cost(results, "throughput", DDS_LONG, SEQUENCE_LONG, LARGE_BYTES, "dds, 1 MiB one way, MTU 9000"),
    ]
    rows += _floor_of_dds(results)
    rows += _beside_fast(results)
    meetings = (*list(results.pairs.values())[-1:], *([results.crowd] if results.crowd else []))
    rows.extend(_traffic(meeting) for meeting in meetings)
    return [row for row in rows if row is not None] + _memory(results)


def _floor_of_dds(results: LinkResults) -> list[Fact | None]:
    """What bare datagrams of the same size would carry, as messages of 1 MiB a second."""
    own, other = (
        results.runs.msgs_per_s(key_of("throughput", label, LARGE_BYTES)) for label in (DDS, "cyclonedds-sequence")
    )
    datagrams = results.runs.msgs_per_s(key_of("throughput", UDP, DATAGRAM_BYTES))
    bare = {repetition: rate * DATAGRAM_BYTES / LARGE_BYTES for repetition, rate in datagrams.items()}
    if not (own and other and bare):
        return []
    return [
        Fact(
            "dds, 1 MiB one way, to bare UDP in datagrams as long", f"{_rate(own)} to {_rate(bare)}", ratio(own, bare)
        ),
        Fact("bare UDP, to cyclonedds-python's sequence: no more can be had", _rate(bare), ratio(bare, other)),
    ]


def _fast(results: LinkResults) -> list[Number]:
    """Of the accelerated path, which is measured against what C can do on the same link."""
    spin, adaptive, over_udp = (f"xdp {what}, 64 B, p50" for what in ("spin", "adaptive", "over UDP, spin"))
    each, bursts = "one call a message", "publish_many"
    least_of_best_effort = 0.9
    return [
        _round_trip(results, XDP_SPIN, RAW, 2.5, spin, "theirs in C, looks at nothing"),
        _round_trip(results, XDP_SPIN, "cyclonedds", 1 / 15, spin, "theirs blocks"),
        _round_trip(results, XDP_SPIN, "pyzmq", 1 / 15, spin, "theirs blocks"),
        _round_trip(results, XDP, RAW, 4, adaptive, "under lunar.run"),
        _round_trip(results, XDP_UDP_SPIN, POLLED, 1.8, over_udp, "theirs in C, connected"),
        _flow(results, XDP_BURSTS, "pyzmq-xpub", SMALL_BYTES, 5, f"xdp, 64 B one way, {bursts}", "XPUB without drops"),
        _lost(results, XDP_BURSTS, SMALL_BYTES, f"xdp, 64 B one way, {bursts}"),
        _flow(
            results,
            XDP_BURSTS,
            RAW,
            FRAME_BYTES,
            0.7,
            f"xdp, 1 KiB one way, {bursts}",
            _share_lost(results, RAW, FRAME_BYTES),
        ),
        _flow(results, XDP_EACH, RAW, FRAME_BYTES, 0.3, f"xdp, 1 KiB one way, {each}", "to the raw flood in bursts"),
        _flow(results, XDP_EACH, "pyzmq", LARGE_BYTES, 3, "xdp, 1 MiB one way", "theirs is not copied in"),
        *(
            _flow(
                *(results, XDP_BURSTS, XDP_BEST_EFFORT, size, least_of_best_effort),
                *(f"xdp reliable, {text} one way, {bursts}", _share_lost(results, XDP_BEST_EFFORT, size)),
            )
            for size, text in ((SMALL_BYTES, "64 B"), (FRAME_BYTES, "1 KiB"))
        ),
    ]


def _beside_fast(results: LinkResults) -> list[Fact | None]:
    small, frame = SMALL_BYTES, FRAME_BYTES
    return [
        _cost(results, "ping-pong", XDP_SPIN, "pyzmq-asyncio", small, "xdp spin, 64 B, p50, to pyzmq.asyncio"),
        _cost(results, "ping-pong", XDP, "pyzmq-asyncio", small, "xdp adaptive, 64 B, p50, to pyzmq.asyncio"),
        _cost(results, "throughput", XDP_EACH, "pyzmq-xpub", small, "xdp, 64 B one way, one call a message, to XPUB"),
        _cost(results, "throughput", XDP_BURSTS, "pyzmq", small, "xdp, 64 B one way, publish_many, to PUSH and PULL"),
        _cost(results, "throughput", XDP_EACH, RAW_EACH, frame, "xdp, 1 KiB one way, to raw, both one call a message"),
        _limit_of_link(results),
    ]


def _limit_of_link(results: LinkResults) -> Fact | None:
    """Against full frames without any protocol. On a veth pair TCP's segments of 64 KiB pass whole; frames do not."""
    own = results.runs.msgs_per_s(key_of("throughput", XDP_EACH, LARGE_BYTES))
    frames = results.runs.msgs_per_s(key_of("throughput", RAW, FULL_FRAME_BYTES))
    most = {repetition: rate * FULL_FRAME_BYTES / LARGE_BYTES for repetition, rate in frames.items()}
    value = ratio(own, most)
    what = "xdp, 1 MiB one way, to the raw flood in full frames"
    return None if value is None else Fact(what, f"{_rate(own)} to {_rate(most)}", value)


def _share_lost(results: LinkResults, label: str, size_bytes: int) -> str:
    """What was lost of a stream that nothing holds back, so that its sender may be faster than its receiver."""
    runs = results.runs.streams.get(key_of("throughput", label, size_bytes), {}).values()
    sent = sum(run.sent for run in runs)
    return f"theirs lost {sum(run.lost for run in runs) / sent:.1%}" if sent else ""


def _lost(results: LinkResults, label: str, size_bytes: int, work: str) -> Number:
    key = key_of("throughput", label, size_bytes)
    lost = results.runs.lost(key)
    value = None if lost is None else Spread(lost, lost, lost)
    return Number(work, "at most", 0, "lost", value, _rate(results.runs.msgs_per_s(key)), "")


def _flow(results: LinkResults, ours: str, theirs: str, size_bytes: int, target: float, work: str, note: str) -> Number:
    own, other = (results.runs.msgs_per_s(key_of("throughput", label, size_bytes)) for label in (ours, theirs))
    return Number(work, "at least", target, f"x {theirs}", ratio(own, other), _rate(own), _rate(other), note)


def _round_trip(results: LinkResults, ours: str, theirs: str, target: float, work: str, note: str) -> Number:
    own, other = (results.runs.p50_us(key_of("ping-pong", label, SMALL_BYTES)) for label in (ours, theirs))
    return Number(work, "at most", target, f"x {theirs}", ratio(own, other), _us(own), _us(other), note)


def _stream(results: LinkResults, ours: str, theirs: str, target: float, work: str, note: str) -> Number:
    return _flow(results, ours, theirs, LARGE_BYTES, target, work, note)


def _pair(results: LinkResults) -> Number:
    times = [pair.crowd.after_last_ready_s for pair in results.pairs.values()]
    from_start = [pair.crowd.after_last_start_s for pair in results.pairs.values()]
    value = Spread.of(times) if times else None
    note = f"{statistics.median(from_start):.2f} s after the second process was started" if from_start else ""
    ours = f"{value.median:.2f} s" if value else ""
    return Number("two hosts matched", "at most", 1, "s after the second node", value, ours, "", note)


def _crowd(results: LinkResults) -> Number:
    crowd = results.crowd.crowd if results.crowd else None
    value = Spread.of([crowd.after_last_start_s]) if crowd else None
    note = f"{crowd.after_last_ready_s:.2f} s after the last node" if crowd else ""
    work = f"{crowd.processes if crowd else 50} processes on 3 hosts matched"
    ours = f"{value.median:.2f} s" if value else ""
    return Number(work, "at most", 5, "s after the last start", value, ours, "", note)


def _cost(results: LinkResults, kind: str, ours: str, theirs: str, size_bytes: int, what: str) -> Fact | None:
    if kind == "ping-pong":
        own, other = (results.runs.p50_us(key_of("ping-pong", each, size_bytes)) for each in (ours, theirs))
        shown: Callable[[Figures], str] = _us
    else:
        own, other = (results.runs.msgs_per_s(key_of("throughput", each, size_bytes)) for each in (ours, theirs))
        shown = _rate
    value = ratio(own, other)
    return None if value is None else Fact(what, f"{shown(own)} to {shown(other)}", value)


def _traffic(meeting: Meeting) -> Fact:
    crowd, traffic = meeting.crowd, meeting.traffic
    what = f"{crowd.processes} processes on {meeting.hosts} hosts, sent between hosts until all had left"
    return Fact(what, f"{traffic.packets:,} packets, {traffic.size_bytes:,} bytes")


def _memory(results: LinkResults) -> list[Fact]:
    if not results.memory:
        return []
    host, network = ([pair[index] for pair in results.memory.values()] for index in (0, 1))

    def both(of: Callable[[Memory], int]) -> str:
        before, after = (statistics.median(of(each) for each in side) / 1e6 for side in (host, network))
        return f"{after - before:+.1f} MB ({before:.1f} to {after:.1f})"

    return [
        Fact("range network, a process's resident memory (RSS)", both(lambda each: each.rss_bytes)),
        Fact("range network, its share of that (PSS)", both(lambda each: each.pss_bytes)),
        Fact("range network, its private memory", both(lambda each: each.private_bytes)),
        Fact("range network, threads", f"{host[0].threads} to {network[0].threads}"),
    ]


def _us(figures: Figures) -> str:
    return f"{statistics.median(figures.values()):.2f} us" if figures else ""


def _rate(figures: Figures) -> str:
    return f"{statistics.median(figures.values()):,.1f}/s" if figures else ""
