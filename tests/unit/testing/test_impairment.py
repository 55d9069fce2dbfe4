"""What a bad cable does to packets, without a cable."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar.testing.impairment import Impairment, Line, is_impaired

ETHERNET = bytes(12)


def frame(kind: int, protocol_at: int, protocol: int) -> bytes:
    made = bytearray(64)
    made[12:14] = kind.to_bytes(2, "big")
    made[protocol_at] = protocol
    return bytes(made)


@pytest.mark.parametrize("protocol", [1, 6, 17])  # ICMP, TCP, UDP
def test_ordinary_ip_is_impaired(protocol: int) -> None:
    assert is_impaired(frame(0x0800, 23, protocol))


@pytest.mark.parametrize("protocol", [6, 17, 44])  # the last: a fragment
def test_ordinary_ipv6_is_impaired(protocol: int) -> None:
    assert is_impaired(frame(0x86DD, 20, protocol))


@pytest.mark.parametrize(
    "harmless",
    [
        frame(0x0806, 23, 17),  # ARP
        frame(0x0800, 23, 2),  # IGMP
        frame(0x86DD, 20, 58),  # ICMPv6
        frame(0x86DD, 20, 0),  # a multicast listener report
        ETHERNET,
        b"",
    ],
)
def test_what_a_network_needs_to_work_is_not(harmless: bytes) -> None:
    assert not is_impaired(harmless)


def run(impairment: Impairment, count: int, seed: int = 0) -> tuple[list[int], Line]:
    """Pushes numbered packets, a millisecond apart, then waits for the rest; returns their order."""
    line = Line(impairment, seed)
    out = []
    for number in range(count):
        out += line.due(number / 1000)
        out += line.push(number.to_bytes(4, "big"), number / 1000)
    while (due_s := line.next_due_s()) is not None:
        out += line.due(due_s)
    return [int.from_bytes(packet, "big") for packet in out], line


def test_a_good_cable_changes_nothing() -> None:
    out, line = run(Impairment(), 100)
    assert out == list(range(100))
    assert line.statistics.as_dict() == dict.fromkeys(line.statistics.as_dict(), 0) | {"packets": 100}


def test_all_can_be_lost() -> None:
    out, line = run(Impairment(loss=1), 10)
    assert (out, line.statistics.lost) == ([], 10)


@pytest.mark.parametrize(("blocked", "protocol"), [("tcp", 6), ("udp", 17)])
def test_one_protocol_can_be_blocked(blocked: str, protocol: int) -> None:
    line = Line(Impairment(blocks=blocked), 0)
    for number, passes in ((protocol, False), (1, True)):
        for packet in (frame(0x0800, 23, number), frame(0x86DD, 20, number)):
            assert line.push(packet, 0.0) == ([packet] if passes else [])
    assert (line.statistics.packets, line.statistics.lost) == (4, 2)


def test_what_is_blocked_has_to_be_known() -> None:
    with pytest.raises(ValueError, match="blocks is tcp, udp or nothing, not 'icmp'"):
        Impairment(blocks="icmp")


def test_all_can_be_doubled() -> None:
    out, line = run(Impairment(duplicate=1), 3)
    assert (out, line.statistics.duplicated) == ([0, 0, 1, 1, 2, 2], 3)


def test_a_packet_is_overtaken_by_the_next_one() -> None:
    out, line = run(Impairment(reorder=1), 4)
    assert (out, line.statistics.reordered) == ([1, 0, 3, 2], 2)


def test_a_packet_that_nobody_overtakes_goes_on_after_20_ms() -> None:
    line = Line(Impairment(reorder=1), 0)
    assert line.push(b"a", 1.0) == []
    assert line.due(1.019) == []
    assert line.next_due_s() == pytest.approx(1.02)
    assert line.due(1.02) == [b"a"]
    assert (line.statistics.reordered, line.next_due_s()) == (0, None)


def test_a_delay_keeps_order_and_distance() -> None:
    line = Line(Impairment(delay_s=0.5), 0)
    assert line.push(b"a", 1.0) == line.push(b"b", 1.1) == []
    assert line.next_due_s() == 1.5
    assert line.due(1.499) == []
    assert line.due(1.55) == [b"a"]
    assert line.due(1.6) == [b"b"]


def test_a_rate_lets_packets_wait_for_one_another() -> None:
    line = Line(Impairment(rate_bytes_per_s=100), 0)
    for _ in range(2):
        line.push(bytes(50), 1.0)
    assert line.due(1.49) == []
    assert len(line.due(1.5)) == 1
    assert len(line.due(2.0)) == 1
    line.push(bytes(50), 5.0)  # the cable was free meanwhile, which saves nothing up
    assert line.next_due_s() == 5.5


def test_a_full_queue_drops_and_counts() -> None:
    out, line = run(Impairment(delay_s=10, queue_packets=3), 5)
    assert (out, line.statistics.dropped) == ([0, 1, 2], 2)


shares = st.floats(0, 1)


@given(
    st.builds(
        Impairment,
        loss=shares,
        duplicate=shares,
        reorder=shares,
        delay_s=st.floats(0, 1),
        rate_bytes_per_s=st.just(0.0) | st.floats(1, 1e9),
        queue_packets=st.integers(1, 50),
    ),
    st.integers(0, 200),
    st.integers(),
)
def test_every_packet_is_accounted_for(impairment: Impairment, count: int, seed: int) -> None:
    out, line = run(impairment, count, seed)
    done = line.statistics
    assert done.packets == count
    assert count + done.duplicated == done.lost + done.dropped + len(out)
    assert run(impairment, count, seed)[0] == out


def test_a_fate_depends_on_the_number_alone() -> None:
    """More faults of one kind do not shift those of another one."""
    lost = [set(range(500)) - set(run(Impairment(loss=0.1, duplicate=share), 500)[0]) for share in (0, 0.5)]
    assert lost[0] == lost[1] != set()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loss", -0.1),
        ("loss", 1.1),
        ("duplicate", float("nan")),
        ("reorder", 2),
        ("delay_s", -1),
        ("delay_s", float("inf")),
        ("rate_bytes_per_s", float("nan")),
        ("queue_packets", 0),
    ],
)
def test_a_number_out_of_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(Impairment(), **{field: value})  # type: ignore[arg-type]
