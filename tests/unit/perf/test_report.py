"""Results as JSON and as tables, without running anything."""

import json

from lunar_perf.compare import Comparison
from lunar_perf.percentiles import LatencySummary
from lunar_perf.ping_pong import PingPongResult
from lunar_perf.plan import plan, round_trip_key, stream_key
from lunar_perf.report import comparison_json, ping_pong_json, throughput_json
from lunar_perf.results import Failure, Results
from lunar_perf.tables import comparison_tables, throughput_table
from lunar_perf.throughput import Received, ThroughputResult
from lunar_perf.work import Work

ROUND_TRIP = PingPongResult(
    "lunar", Work(64, count=2, wait="spin"), LatencySummary.of([1000, 3000]), 0.5, 1.0, (0, 1), "", [1000, 3000]
)
STREAM = ThroughputResult(
    "lunar",
    Work(100, subscribers=2),
    1000,
    (Received(1000, 0, 0, 1.0, 1000.0, 0.5), Received(900, 100, 0, 1.0, 900.0, 0.25)),
    0.25,
    (0, 1, 1),
    "shared",
)


def test_a_ping_pong_has_the_keys_that_were_promised() -> None:
    document = ping_pong_json(ROUND_TRIP, "shm")
    assert list(document)[:6] == ["transport", "wait", "size_bytes", "count", "rtt_us", "cpu_s"]
    assert document["rtt_us"] == {"min": 1.0, "p50": 1.0, "p90": 3.0, "p99": 3.0, "p999": 3.0, "max": 3.0}


def test_throughput_adds_up_over_the_receivers() -> None:
    document = throughput_json(STREAM, "shm")
    figures = {key: document[key] for key in ("sent", "received", "lost", "msgs_per_s", "bytes_per_s", "cpu_s")}
    assert figures == {
        "sent": 1000,
        "received": 1900,
        "lost": 100,
        "msgs_per_s": 1900.0,
        "bytes_per_s": 190_000.0,
        "cpu_s": 1.0,
    }
    assert len(throughput_table(STREAM).rows) == 2


def test_a_comparison_says_what_is_missing_and_what_failed() -> None:
    results = Results()
    results.ping_pongs[round_trip_key("lunar spin", 64)] = {0: ROUND_TRIP}
    results.streams[stream_key("lunar iterate", 64)] = {0: STREAM}
    results.failures.append(Failure("ping-pong/zenoh/64", 0, "it hung"))
    comparison = Comparison(plan([], quick=True, sweep=False), results, {"iceoryx2": "iceoryx2 not installed"}, 1, 0.25)
    document = json.loads(json.dumps(comparison_json(comparison), allow_nan=False))
    assert document["unavailable"] == [
        {"peer": "iceoryx2", "reason": "iceoryx2 not installed", "remedy": "pip install lunar-mom[compare]"}
    ]
    assert "iceoryx2" not in document["peers"]
    assert document["failures"][0]["reason"] == "it hung"
    assert document["machine"]["kernel"]
    assert document["background_cores"] == 0.25
    tables = comparison_tables(comparison)
    assert all(len(row) == len(table.headings) for table in tables for row in table.rows)
    assert [len(table.rows) for table in tables[1:]] == [1, 1]
