"""Streams over Cyclone DDS, between engines of processes on the loopback interface."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lunar import testing

PROGRAM = Path(__file__).parent / "engine_child.py"
A, B, C = "0a" * 16, "0b" * 16, "0c" * 16
P = "f1" * 16

Start = Callable[..., testing.Child]


@pytest.fixture
def start(domain: int) -> Iterator[Start]:
    with ExitStack() as ends:
        yield lambda identity, *more: ends.enter_context(testing.Child(PROGRAM, identity, str(domain), *more))


def until(child: testing.Child, check: str, remote: str, publisher: str = P) -> Any:
    return child.call("until", 30.0, check=check, publisher=publisher, remote=remote)


def connect(sender: testing.Child, receiver: testing.Child, to: str = B, **how: Any) -> None:
    reliable = how.pop("reliable", True)
    sender.call("open_outgoing", publisher=P, remote=to, reliable=reliable)
    receiver.call("open_incoming", publisher=P, remote=A, reliable=reliable, **how)
    assert until(sender, "s.log", to)["log"] == ["connected"]


def send(child: testing.Child, sizes: list[int], *remotes: str, first: int = 1, dropped: int = 0) -> None:
    child.call("send", publisher=P, remotes=remotes or [B], first=first, sizes=sizes, dropped=dropped)


def test_all_sizes_arrive_once_and_in_order(start: Start) -> None:
    a, b = start(A), start(B)
    connect(a, b)
    sizes = [0, 1, 3, 4, 64, 1000, 65_000, 65_535, 65_536, 200_000, 1 << 20, 5_000_001]
    send(a, sizes)
    got = until(b, f"len(r.got) >= {len(sizes)}", A)
    assert got["got"] == [[number, size, 0, "right"] for number, size in enumerate(sizes, 1)]
    assert got["log"] == ["started 0 0"]
    assert until(a, "not s.out.unacknowledged", B)["unacknowledged"] == 0


@pytest.mark.slow
def test_64_mib_arrive(start: Start) -> None:
    a, b = start(A), start(B)
    connect(a, b)
    send(a, [64 << 20, 10])
    assert until(b, "len(r.got) >= 2", A)["got"] == [[1, 64 << 20, 0, "right"], [2, 10, 0, "right"]]


def test_a_thousand_small_ones_arrive(start: Start) -> None:
    a, b = start(A), start(B)
    connect(a, b)
    send(a, [64] * 5000)
    got = until(b, "len(r.got) >= 5000", A)
    assert (got["count"], got["gaps"], got["wrong"]) == (5000, 0, 0)


def test_the_sender_stops_when_there_is_no_room_and_goes_on_when_there_is(start: Start) -> None:
    a, b = start(A), start(B)
    connect(a, b, room=10)
    send(a, [1000] * 1000)
    assert until(b, "r.refused", A)["count"] == 10
    waiting = until(a, "s.out.unacknowledged >= 246", B)
    assert waiting["todo"] > 700
    b.call("resume", publisher=P, remote=A, room=1 << 60)
    got = until(b, "len(r.got) >= 1000", A)
    assert (got["count"], got["gaps"], got["wrong"]) == (1000, 0, 0)
    assert until(a, "not s.todo and not s.out.unacknowledged", B)["todo"] == 0


def test_three_processes_share_what_is_written_and_the_slow_one_holds_nobody_up(start: Start) -> None:
    a, b, c = start(A), start(B), start(C)
    connect(a, b)
    connect(a, c, to=C, room=5)
    send(a, [2000] * 800, B, C)
    got = until(b, "len(r.got) >= 800", A)
    assert (got["count"], got["gaps"], got["wrong"]) == (800, 0, 0)
    assert until(c, "r.refused", A)["count"] == 5
    c.call("resume", publisher=P, remote=A, room=1 << 60)
    got = until(c, "len(r.got) >= 800", A)
    assert (got["count"], got["gaps"], got["wrong"]) == (800, 0, 0)
    send(a, [10] * 50, B, C, first=801)
    for child in (b, c):
        got = until(child, "len(r.got) >= 850", A)
        assert (got["count"], got["gaps"], got["wrong"]) == (850, 0, 0)


def test_what_was_dropped_before_is_told(start: Start) -> None:
    a, b = start(A), start(B)
    connect(a, b)
    send(a, [8, 8])
    send(a, [8, 8], first=10, dropped=7)
    assert until(b, "len(r.got) >= 4", A)["got"] == [
        [number, 8, dropped, "right"] for number, dropped in ((1, 0), (2, 0), (10, 7), (11, 7))
    ]


def test_best_effort_counts_only_the_network_s_gaps(start: Start) -> None:
    a, b = start(A), start(B)
    connect(a, b, reliable=False)
    until(b, "r.log", A)
    send(a, [100] * 3)
    send(a, [100] * 2, first=6, dropped=1)
    got = until(b, "len(r.got) >= 5", A)
    assert [each[0] for each in got["got"]] == [1, 2, 3, 6, 7]
    assert got["lost"] == 1
    assert until(a, "s.lost", B)["lost"] == 1


def test_a_closed_stream_is_told_at_either_end(start: Start) -> None:
    a, b = start(A), start(B)
    connect(a, b)
    send(a, [1])
    until(b, "len(r.got) == 1", A)
    b.call("close_stream", publisher=P, remote=A)
    assert until(a, "len(s.log) == 2", B)["log"] == ["connected", "disconnected"]
    b.call("open_incoming", publisher=P, remote=A)
    assert until(a, "len(s.log) == 3", B)["log"] == ["connected", "disconnected", "connected"]
    send(a, [1, 2], first=2)
    assert until(b, "len(r.got) == 2", A)["log"] == ["started 1 0"]
    a.call("close_stream", publisher=P, remote=B)
    assert until(b, "len(r.log) == 2", A)["log"] == ["started 1 0", "stopped"]


def test_a_killed_publisher_is_noticed(start: Start) -> None:
    a, b = start(A, "1.5"), start(B, "1.5")
    connect(a, b)
    assert until(b, "r.log", A)["log"] == ["started 0 0"]
    a.kill()
    assert until(b, "len(r.log) == 2", A)["log"] == ["started 0 0", "stopped"]


def test_nothing_is_lost_when_the_connection_is_lost_for_longer_than_the_lease(start: Start) -> None:
    a, b = start(A, "1.5"), start(B, "1.5")
    connect(a, b, room=20)
    send(a, [500] * 400)
    until(b, "r.refused", A)
    b.stop()
    assert until(a, "len(s.log) == 2", B)["log"] == ["connected", "disconnected"]
    b.resume()
    b.call("resume", publisher=P, remote=A, room=1 << 60)
    got = until(b, "len(r.got) >= 400", A)
    assert (got["count"], got["gaps"], got["wrong"]) == (400, 0, 0)
