"""The table of numbers judges by the medians and never by what is missing."""

from lunar_perf.footprint import Crowd, Idle, StartUp
from lunar_perf.numbers import Number, numbers
from lunar_perf.percentiles import LatencySummary, Spread
from lunar_perf.ping_pong import PingPongResult
from lunar_perf.plan import LOAN_BYTES, round_trip_key, stream_key
from lunar_perf.results import Floors, Results, ratio
from lunar_perf.throughput import Received, ThroughputResult
from lunar_perf.work import Work


def round_trip(p50_us: float) -> PingPongResult:
    summary = LatencySummary(p50_us, p50_us, p50_us, p50_us, p50_us, p50_us)
    return PingPongResult("any", Work(64), summary, 0.1, 0.1, (0, 1), "", [])


def stream(msgs_per_s: float, lost: int = 0) -> ThroughputResult:
    received = Received(1000, lost, 0, 1.0, msgs_per_s, 0.5)
    return ThroughputResult("any", Work(64), 1000 + lost, (received,), 0.5, (0, 1), "")


def row(results: Results, work: str, of: str = "") -> Number:
    found = [number for number in numbers(results) if number.work.startswith(work) and of in number.of]
    assert len(found) == 1, found
    return found[0]


def test_with_nothing_measured_no_row_is_met_or_missed() -> None:
    rows = numbers(Results())
    assert len(rows) == 19
    assert {number.met for number in rows} == {None}


def test_a_ratio_pairs_repetitions_and_skips_a_failed_one() -> None:
    assert ratio({0: 1.0, 1: 2.0, 2: 3.0}, {0: 2.0, 2: 3.0}) == Spread(0.5, 0.75, 1.0)
    assert ratio({0: 1.0}, {1: 1.0}) is None


def test_the_busy_peer_is_taken_in_its_faster_form() -> None:
    results = Results()
    results.ping_pongs[round_trip_key("lunar spin", 64)] = {0: round_trip(2.0)}
    results.ping_pongs[round_trip_key("iceoryx2", 64)] = {0: round_trip(5.0)}
    assert row(results, "ping-pong spin, 64 B").met is True
    results.ping_pongs[round_trip_key("iceoryx2 loaned", 64)] = {0: round_trip(3.0)}
    number = row(results, "ping-pong spin, 64 B")
    assert (number.met, number.of, number.theirs) == (False, "x iceoryx2 loaned", "3.00 us")


def test_a_single_lucky_repetition_does_not_meet_a_target() -> None:
    results = Results()
    results.ping_pongs[round_trip_key("lunar sleep", 64)] = {n: round_trip(us) for n, us in enumerate((50, 90, 95))}
    results.ping_pongs[round_trip_key("pyzmq-uvloop", 64)] = {n: round_trip(100) for n in range(3)}
    number = row(results, "ping-pong sleep on asyncio")
    assert number.value == Spread(0.5, 0.9, 0.95)
    assert number.met is False


def test_one_way_takes_the_better_form_and_the_best_peer_and_allows_no_loss() -> None:
    results = Results()
    results.streams[stream_key("lunar iterate", 64)] = {0: stream(2.5e6)}
    results.streams[stream_key("lunar callback", 64)] = {0: stream(3.0e6, lost=1)}
    results.streams[stream_key("pyzmq", 64)] = {0: stream(1.0e6)}
    results.streams[stream_key("zenoh", 64)] = {0: stream(1.9e6)}
    work = "64 B one way, callback"
    assert row(results, work, "million msg/s").met is True
    assert row(results, work, "lost").met is False
    against = row(results, work, "best")
    assert (against.of, against.met) == ("x zenoh (best)", True)


def test_large_payloads_are_held_against_memcpy_and_loans_against_small_loans() -> None:
    results = Results()
    results.floors[0] = Floors(0.1, 40e9, 20e9)
    results.streams[stream_key("lunar iterate", 1 << 20)] = {0: stream(15e9 / (1 << 20))}
    results.streams[stream_key("lunar loaned", 64)] = {0: stream(1e6)}
    results.streams[stream_key("lunar loaned", LOAN_BYTES)] = {0: stream(0.9e6)}
    copied = row(results, "1 MiB one way, copied in")
    assert copied.met is True
    assert "0.38 x memcpy in cache" in copied.note
    assert row(results, "4 MiB one way, loaned").met is True


def test_absolute_targets() -> None:
    results = Results(start_up=StartUp(99.0, 21.0), idle=Idle(0.0, 0.0, 2, 5.0), crowd=Crowd(100, 10_000, 2.9, 1, 9))
    assert row(results, "idle node").met is True
    assert row(results, "import lunar").met is True
    assert row(results, "Node ready").met is False
    assert row(results, "100 processes matched").met is True
