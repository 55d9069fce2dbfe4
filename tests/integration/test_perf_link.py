"""`lunar perf` between two hosts of a lab. No test looks at how fast anything is."""

from pathlib import Path

import pytest
from lunar_perf.link_compare import LinkComparison, LinkResults, compare_link
from lunar_perf.link_lab import open_lab
from lunar_perf.link_meeting import measure_meeting, measure_memory
from lunar_perf.link_plan import LinkMeasurement
from lunar_perf.link_report import link_json, link_tables
from lunar_perf.peer import LINK_PEERS
from lunar_perf.ping_pong import run_ping_pong
from lunar_perf.throughput import run_throughput
from lunar_perf.work import Backend, Work

from lunar import testing
from lunar.errors import LunarError
from tests.integration.test_perf_cli import measured, perf

in_a_lab = pytest.mark.skipif(testing.lab_unavailable() is not None, reason=testing.lab_unavailable() or "")


@in_a_lab
@pytest.mark.privileged
@pytest.mark.parametrize("transport", ["zmq", "dds", "xdp"])
def test_a_transport_between_hosts(transport: str) -> None:
    there = ("--transport", transport)
    document = measured("ping-pong", *there, "--count", "20", "--warmup", "2", "--wait", "sleep")
    assert (document["transport"], document["count"]) == (transport, 20)
    stream = measured("throughput", *there, "--seconds", "0.1", "--size", "100000")
    assert isinstance(stream["sent"], int)
    assert stream["sent"] > 0
    assert (stream["received"], stream["lost"], stream["repeated"]) == (stream["sent"], 0, 0)


@in_a_lab
@pytest.mark.privileged
@pytest.mark.parametrize("backend", ["af_xdp", "udp"])
def test_either_backend_carries_it(backend: Backend) -> None:
    work = Work(64, count=2000, warmup=2, wait="spin", transport="xdp", backend=backend)
    with open_lab(2) as lab:
        result = run_ping_pong("lunar", work, lab.sides())
        datagrams = lab.hosts[0].call(datagrams_received)
    assert (result.transport, len(result.round_trips_ns)) == ("xdp", 2000)
    assert (datagrams >= 2000) == (backend == "udp")  # the kernel's stack saw them, or did not


def datagrams_received() -> int:
    """How many UDP datagrams the network of the calling thread has taken in; proc(5), /proc/net/snmp."""
    lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Udp:"))
    return int(dict(zip(names, values, strict=True))["InDatagrams"])


@in_a_lab
@pytest.mark.privileged
@pytest.mark.parametrize("peer", ["pyzmq", "pyzmq-xpub", "pyzmq-asyncio", "cyclonedds", "cyclonedds-sequence"])
def test_a_peer_between_hosts(peer: str) -> None:
    pytest.importorskip("zmq" if peer.startswith("pyzmq") else "cyclonedds")
    with open_lab(2) as lab:
        sides, before = lab.sides(), lab.traffic()
        address = sides[0].address
        if peer not in ("pyzmq", "pyzmq-xpub"):
            result = run_ping_pong(peer, Work(64, count=10, warmup=2, address=address), sides)
            assert result.work.count == len(result.round_trips_ns)
        stream = run_throughput(peer, Work(1000, warmup=2, duration_s=0.1, address=address), sides)
        assert (stream.received, stream.lost) == (stream.sent, 0)
        # It went over the cable: nobody met within the host.
        assert lab.traffic().since(before).size_bytes > 1000 * stream.sent


@in_a_lab
@pytest.mark.privileged
@pytest.mark.parametrize("peer", ["af_xdp-raw", "udp-polled"])
def test_a_floor_between_hosts(peer: str) -> None:
    reason = LINK_PEERS[peer].missing()
    if reason is not None:
        pytest.skip(reason)
    with open_lab(2) as lab:
        sides, before = lab.sides(), lab.traffic()
        address = sides[0].address
        result = run_ping_pong(peer, Work(64, count=100, address=address), sides)
        assert len(result.round_trips_ns) == 100
        assert all(result.round_trips_ns)
        stream = run_throughput(peer, Work(1000, duration_s=0.1, batch=64, address=address), sides)
        assert 0 < stream.received == stream.sent - stream.lost
        assert stream.msgs_per_s > 0
        assert lab.traffic().since(before).size_bytes > 1000 * stream.received
        # Whoever measured has left nothing behind: another can.
        assert run_ping_pong(peer, Work(64, count=1, address=address), sides).rtt_us.p50 > 0


@in_a_lab
@pytest.mark.privileged
def test_what_is_encrypted_passes_as_well() -> None:
    with open_lab(2) as lab:
        sides = lab.sides(curve=True)
        result = run_ping_pong("lunar", Work(64, count=10, warmup=2, transport="zmq"), sides)
        assert len(result.round_trips_ns) == 10


@in_a_lab
@pytest.mark.privileged
def test_processes_of_three_hosts_meet() -> None:
    with open_lab(3) as lab:
        meeting = measure_meeting(lab, 4)
        assert (meeting.hosts, meeting.crowd.processes, meeting.crowd.matches) == (3, 4, 16)
        assert meeting.traffic.packets > 0
        assert measure_memory(lab.side(0)).threads > measure_memory(lab.side(0, "host")).threads


@in_a_lab
@pytest.mark.privileged
def test_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    def tiny(*_: object, **__: object) -> list[LinkMeasurement]:
        work = Work(64, count=20, warmup=2, transport="zmq")
        peers_work = Work(64, count=20, warmup=2)
        return [
            LinkMeasurement("lunar zmq", "lunar", "ping-pong", "link", work),
            LinkMeasurement("pyzmq-asyncio", "pyzmq-asyncio", "ping-pong", "link", peers_work),
        ]

    monkeypatch.setattr("lunar_perf.link_compare.link_plan", tiny)
    comparison = compare_link(repetitions=1, quick=True, sweep=False, progress=lambda _: None, crowd=3)
    assert comparison.results.runs.failures == []
    numbers = link_json(comparison)["numbers"]
    assert isinstance(numbers, list)
    judged = {row["work"]: row["met"] for row in numbers}
    assert judged["zmq asyncio, 64 B, p50"] in (True, False)
    assert judged["dds asyncio, 64 B, p50"] is None
    assert judged["3 processes on 3 hosts matched"] in (True, False)


def test_nothing_measured_is_neither_met_nor_missed() -> None:
    empty = LinkComparison([], LinkResults(), {}, 1, 0.0)
    rows = link_tables(empty)[0].rows
    assert rows
    assert {row[5] for row in rows} == {"not measured"}


def test_link_and_only_exclude_each_other() -> None:
    assert "exclude each other" in perf("compare", "--link", "--only", "pyzmq", status=2).stderr


def test_a_backend_is_one_of_xdp() -> None:
    for transport in ([], ["--transport", "zmq"], ["--remote", "robot"]):
        complaint = perf("ping-pong", "--backend", "udp", *transport, status=2).stderr.replace("│", " ")
        assert "add --transport xdp" in " ".join(complaint.split())


def test_without_the_privilege_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lunar.testing.hosts.lab_unavailable", lambda: "this is not root")
    with pytest.raises(LunarError, match="this is not root"), open_lab(2):
        pass
