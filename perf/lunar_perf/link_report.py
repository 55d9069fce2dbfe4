"""A comparison over a link as tables for people, and as a JSON-ready document."""

from __future__ import annotations

from dataclasses import asdict

from lunar_perf.link_compare import LinkComparison
from lunar_perf.link_numbers import facts, link_numbers
from lunar_perf.machine import describe, versions
from lunar_perf.peer import LINK_PEERS, remedy_of
from lunar_perf.report import number_json, ping_pong_json, spread_json, throughput_json
from lunar_perf.tables import TextTable, numbers_table, round_trips_table, spread_text, streams_table


def link_tables(comparison: LinkComparison) -> list[TextTable]:
    """The table of numbers, what no target is set for, then every measurement behind them."""
    results, measurements = comparison.results, comparison.measurements
    rows = [(fact.what, fact.figure, spread_text(fact.value)) for fact in facts(results)]
    return [
        numbers_table(link_numbers(results), comparison.repetitions),
        TextTable("Without a target", ("what", "figure", "ratio (min to max)"), rows),
        round_trips_table([(each.label, each.key) for each in measurements], results.runs),
        streams_table([(each.label, each.key) for each in measurements], results.runs),
    ]


def link_json(comparison: LinkComparison) -> dict[str, object]:
    """What ``lunar perf compare --link --json`` prints."""
    results, of_key = comparison.results, {each.key: each for each in comparison.measurements}
    return {
        "machine": describe(),
        "background_cores": round(comparison.background_cores, 3),
        "versions": versions(),
        "repetitions": comparison.repetitions,
        "peers": {name: entry.idiom for name, entry in LINK_PEERS.items() if name not in comparison.unavailable},
        "unavailable": [
            {"peer": name, "reason": reason, "remedy": remedy_of(name)}
            for name, reason in comparison.unavailable.items()
        ],
        "numbers": [number_json(number) for number in link_numbers(results)],
        "facts": [
            {"what": fact.what, "figure": fact.figure, "value": spread_json(fact.value)} for fact in facts(results)
        ],
        "ping_pongs": {
            key: [
                {"peer": run.peer, "place": of_key[key].place, **ping_pong_json(run, _transport(run.work.transport))}
                for run in runs.values()
            ]
            for key, runs in results.runs.ping_pongs.items()
        },
        "throughputs": {
            key: [
                {"peer": run.peer, "place": of_key[key].place, **throughput_json(run, _transport(run.work.transport))}
                for run in runs.values()
            ]
            for key, runs in results.runs.streams.items()
        },
        "pairs": [asdict(pair) for pair in results.pairs.values()],
        "crowd": asdict(results.crowd) if results.crowd else None,
        "memory": [{"host": asdict(host), "network": asdict(network)} for host, network in results.memory.values()],
        "failures": [asdict(failure) for failure in results.runs.failures],
    }


def _transport(name: str) -> str:
    return name or "shm or the peer's own"
