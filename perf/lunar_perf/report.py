"""Results as JSON-ready values, the same whether printed alone or as part of a comparison."""

from __future__ import annotations

from dataclasses import asdict

from lunar_perf.compare import Comparison
from lunar_perf.fanout import FanoutResult
from lunar_perf.machine import describe, versions
from lunar_perf.numbers import Number, numbers
from lunar_perf.peer import PEERS, REMEDY
from lunar_perf.percentiles import Spread
from lunar_perf.ping_pong import PingPongResult
from lunar_perf.throughput import ThroughputResult, causes_of

_RATE_DIGITS = 1
_FIGURE_DIGITS = 3


def ping_pong_json(result: PingPongResult, transport: str) -> dict[str, object]:
    """What ``lunar perf ping-pong --json`` prints."""
    return {
        "transport": transport,
        "wait": result.work.wait,
        "size_bytes": result.work.size_bytes,
        "count": result.work.count,
        "rtt_us": _rounded(asdict(result.rtt_us)),
        "cpu_s": round(result.cpu_s, 6),
        "elapsed_s": round(result.elapsed_s, 6),
        "loan": result.work.loan,
        "cores": list(result.cores),
        "note": result.note,
        "message": result.work.message or "bytes",
        **_way(result),
    }


def throughput_json(result: ThroughputResult, transport: str) -> dict[str, object]:
    """What ``lunar perf throughput --json`` prints."""
    return {
        "transport": transport,
        "wait": result.work.wait,
        "receive": result.work.receive,
        "reliability": result.work.reliability,
        "size_bytes": result.work.size_bytes,
        "batch": result.work.batch,
        "loan": result.work.loan,
        "sent": result.sent,
        "received": result.received,
        "lost": result.lost,
        "lost_by_cause": causes_of(result),
        "repeated": sum(each.repeated for each in result.subscriptions),
        "msgs_per_s": round(result.msgs_per_s, _RATE_DIGITS),
        "bytes_per_s": round(result.bytes_per_s, _RATE_DIGITS),
        "cpu_s": round(result.cpu_s, 6),
        "subscriptions": [
            {**asdict(each), "msgs_per_s": round(each.msgs_per_s, _RATE_DIGITS)} for each in result.subscriptions
        ],
        "cores": list(result.cores),
        "note": result.note,
        "message": result.work.message or "bytes",
        **_way(result),
    }


def _way(result: PingPongResult | ThroughputResult) -> dict[str, object]:
    """Between whom it was measured, and why over that transport."""
    hosts = [{"side": each.side, "address": each.address, **asdict(each.host)} for each in result.places]
    return {"hosts": hosts, "reasons": dict(result.reasons)}


def fanout_json(result: FanoutResult) -> dict[str, object]:
    """What ``lunar perf fanout --json`` prints."""
    work = result.work
    return {
        "size_bytes": work.size_bytes,
        "subscriptions": work.subscriptions,
        "processes": work.processes,
        "loan": work.loan,
        "idle": work.idle,
        "publish_us": {str(count): round(cost, _FIGURE_DIGITS) for count, cost in result.publish_us.items()},
        "per_subscription_us": result.per_subscription_us,
        "per_process_us": result.per_process_us,
        "delivered": result.delivered,
        "overwritten": result.overwritten,
        "pool_bytes": result.pool_bytes,
        "memcpy_us": round(result.memcpy_us, _FIGURE_DIGITS),
        "note": result.note,
    }


def comparison_json(comparison: Comparison) -> dict[str, object]:
    """What ``lunar perf compare --json`` prints."""
    results = comparison.results
    return {
        "machine": describe(),
        "background_cores": round(comparison.background_cores, _FIGURE_DIGITS),
        "versions": versions(),
        "repetitions": comparison.repetitions,
        "peers": {name: entry.idiom for name, entry in PEERS.items() if name not in comparison.unavailable},
        "unavailable": [
            {"peer": name, "reason": reason, "remedy": REMEDY} for name, reason in comparison.unavailable.items()
        ],
        "floors": [asdict(floors) for floors in results.floors.values()],
        "numbers": [number_json(number) for number in numbers(results)],
        "ping_pongs": {
            key: [_ping_pong_of_peer(run) for run in runs.values()] for key, runs in results.ping_pongs.items()
        },
        "throughputs": {
            key: [{"peer": run.peer, **throughput_json(run, _transport(run.peer))} for run in runs.values()]
            for key, runs in results.streams.items()
        },
        "fanout": [fanout_json(each) for each in (results.fanout, results.fanout_loaned) if each is not None],
        "start_up": asdict(results.start_up) if results.start_up else None,
        "idle": asdict(results.idle) if results.idle else None,
        "crowd": asdict(results.crowd) if results.crowd else None,
        "failures": [asdict(failure) for failure in results.failures],
    }


def number_json(number: Number) -> dict[str, object]:
    """One row of the table of numbers."""
    return {
        "work": number.work,
        "target": f"{number.sense} {number.target:g} {number.of}",
        "value": spread_json(number.value),
        "ours": number.ours,
        "theirs": number.theirs,
        "met": number.met,
        "note": number.note,
    }


def _ping_pong_of_peer(result: PingPongResult) -> dict[str, object]:
    return {"peer": result.peer, **ping_pong_json(result, _transport(result.peer))}


def _transport(peer: str) -> str:
    return "shm" if peer == "lunar" else peer


def spread_json(spread: Spread | None) -> dict[str, float] | None:
    """A figure over the repetitions, to four digits."""
    return None if spread is None else {name: float(f"{value:.4g}") for name, value in asdict(spread).items()}


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, _FIGURE_DIGITS) for name, value in figures.items()}
