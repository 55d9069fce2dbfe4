"""What a comparison over a link measures, and that its table finds all of it."""

from lunar_perf.link_compare import LinkResults
from lunar_perf.link_numbers import facts, link_numbers
from lunar_perf.link_plan import RAW, XDP_UDP_SPIN, LinkMeasurement, key_of, link_plan
from lunar_perf.peer import LINK_PEERS
from lunar_perf.percentiles import LatencySummary
from lunar_perf.ping_pong import PingPongResult
from lunar_perf.throughput import Received, ThroughputResult

ALL = [name for name in LINK_PEERS if name != "lunar"]


def measured(measurements: list[LinkMeasurement]) -> LinkResults:
    """Results in which every measurement gave the same."""
    results = LinkResults()
    for each in measurements:
        if each.kind == "ping-pong":
            result = PingPongResult(each.peer, each.work, LatencySummary.of([1000]), 0.0, 0.0, (0, 1), "", [1000])
            results.runs.ping_pongs[each.key] = {0: result}
        else:
            received = Received(1000, 0, 0, 1.0, 1000.0, 0.0)
            results.runs.streams[each.key] = {0: ThroughputResult(each.peer, each.work, 1000, (received,), 0, (), "")}
    return results


def test_keys_are_unique_with_and_without_the_sweep() -> None:
    for sweep in (False, True):
        keys = [each.key for each in link_plan(ALL, quick=False, sweep=sweep)]
        assert len(keys) == len(set(keys))


def test_without_peers_lunar_is_measured_alone() -> None:
    assert {each.peer for each in link_plan([], quick=True, sweep=True)} == {"lunar"}


def test_the_table_finds_every_measurement_that_it_needs() -> None:
    rows = link_numbers(measured(link_plan(ALL, quick=True, sweep=False)))
    # Those two are no round trips or streams.
    assert [row.work for row in rows if row.met is None] == ["two hosts matched", "50 processes on 3 hosts matched"]


def test_without_the_floors_their_rows_are_neither_met_nor_missed() -> None:
    peers = [name for name in ALL if name not in ("af_xdp-raw", "udp-polled")]
    results = measured(link_plan(peers, quick=True, sweep=False))
    rows = [row for row in link_numbers(results) if row.of in (f"x {RAW}", "x UDP, polled")]
    assert len(rows) == 5
    assert {row.met for row in rows} == {None}
    assert facts(results)


def test_the_backend_is_named_wherever_xdp_is_measured() -> None:
    plan = link_plan(ALL, quick=True, sweep=True)
    of_xdp = {each.key: each.work.backend for each in plan if each.work.transport == "xdp"}
    over_udp = key_of("ping-pong", XDP_UDP_SPIN, 64)
    assert of_xdp.pop(over_udp) == "udp"
    assert set(of_xdp.values()) == {"af_xdp"}
    assert {each.work.backend for each in plan if each.work.transport != "xdp"} == {""}
    assert {each.key for each in plan if each.place == "link, xdp over UDP"} == {over_udp}
