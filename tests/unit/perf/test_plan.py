"""What a comparison measures."""

from lunar_perf.peer import PEERS
from lunar_perf.plan import SWEEP_BYTES, plan, rotated, round_trip_key

ALL = [name for name in PEERS if name != "lunar"]


def test_keys_are_unique_with_and_without_the_sweep() -> None:
    for sweep in (False, True):
        keys = [measurement.key for measurement in plan(ALL, quick=False, sweep=sweep)]
        assert len(keys) == len(set(keys))


def test_without_peers_lunar_is_measured_alone() -> None:
    assert {measurement.peer for measurement in plan([], quick=True, sweep=True)} == {"lunar"}


def test_only_the_peers_asked_for_are_measured() -> None:
    assert {measurement.peer for measurement in plan(["pyzmq"], quick=True, sweep=True)} == {"lunar", "pyzmq"}


def test_the_sweep_covers_every_size_for_every_peer() -> None:
    keys = {measurement.key for measurement in plan(ALL, quick=True, sweep=True)}
    labels = ["lunar spin", "lunar adaptive", *ALL]
    assert {round_trip_key(label, size) for label in labels for size in SWEEP_BYTES} <= keys


def test_slow_round_trips_are_counted_less_often() -> None:
    counts = {measurement.key: measurement.work.count for measurement in plan(ALL, quick=False, sweep=True)}
    assert counts[round_trip_key("lunar spin", 64)] > counts[round_trip_key("pyzmq", 64)]
    assert counts[round_trip_key("cyclonedds", 64)] > counts[round_trip_key("cyclonedds", 1 << 22)]


def test_the_order_rotates_and_nothing_is_left_out() -> None:
    measurements = plan(ALL, quick=True, sweep=False)
    orders = [rotated(measurements, repetition) for repetition in range(3)]
    assert len({order[0].key for order in orders}) == 3
    for order in orders:
        assert sorted(each.key for each in order) == sorted(each.key for each in measurements)
    assert rotated([], 1) == []


def test_each_run_has_a_channel_of_its_own() -> None:
    measurement = plan([], quick=True, sweep=False)[0]
    assert measurement.fresh_work().channel != measurement.fresh_work().channel
