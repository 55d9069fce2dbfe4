"""Work travels to the measured processes and back unchanged."""

import pytest
from lunar_perf.outcome import Outcome
from lunar_perf.pinning import place
from lunar_perf.sequence import Tally
from lunar_perf.stride import stride
from lunar_perf.work import Work, new_channel, role_of


def test_work_survives_the_command_line() -> None:
    work = Work(64, count=3, wait="spin", receive="burst", reliability="best_effort", loan=True, loop="uvloop")
    assert Work.from_json(work.to_json()) == work


def test_an_outcome_survives_the_pipe() -> None:
    outcome = Outcome(1.5, 2.5, [3, 4], 5, Tally(6, 7, 8, 9, 10))
    assert Outcome.from_json(outcome.to_json()) == outcome
    assert "\n" not in outcome.to_json()


def test_no_two_runs_share_a_channel() -> None:
    assert len({new_channel() for _ in range(100)}) == 100


def test_an_unknown_role_is_named() -> None:
    assert role_of("pong") == "pong"
    with pytest.raises(ValueError, match="'pang'"):
        role_of("pang")


@pytest.mark.parametrize(
    ("available", "others", "expected", "noted"),
    [
        ((0, 1), 1, (0, (1,)), False),
        ((2, 5, 7), 2, (2, (5, 7)), False),
        ((0, 1), 3, (0, (1, 1, 1)), True),
        ((4,), 1, (4, (4,)), True),
    ],
)
def test_the_first_side_has_a_core_of_its_own_where_there_is_one(
    available: tuple[int, ...], others: int, expected: tuple[int, tuple[int, ...]], noted: bool
) -> None:
    placement = place(others, available)
    assert (placement.first, placement.others) == expected
    assert bool(placement.note) is noted


def test_large_messages_are_timed_one_by_one_and_small_ones_in_groups() -> None:
    assert [stride(size) for size in (1, 64, 1 << 16, 1 << 20, 1 << 30)] == [256, 256, 16, 1, 1]
