"""How a fan-out run spreads its subscriptions."""

from hypothesis import given
from hypothesis import strategies as st
from lunar_perf.fanout import FanoutWork


def work(subscriptions: int, processes: int) -> FanoutWork:
    return FanoutWork(64, subscriptions, processes, 1, 1, loan=False, idle=False, channel="c")


def test_the_issue_s_case_has_points_below_and_above_the_number_of_processes() -> None:
    assert work(32, 8).steps() == [1, 2, 4, 8, 16, 24, 32]


@given(st.integers(1, 200), st.integers(1, 20))
def test_steps_rise_to_the_number_asked_for(subscriptions: int, processes: int) -> None:
    steps = work(subscriptions, min(processes, subscriptions)).steps()
    assert steps == sorted(set(steps))
    assert steps[-1] == subscriptions


@given(st.integers(1, 200), st.integers(1, 20))
def test_every_subscription_is_opened_by_one_process(subscriptions: int, processes: int) -> None:
    spread = work(subscriptions, min(processes, subscriptions))
    for step in spread.steps():
        shares = [spread.share(index, step) for index in range(spread.processes)]
        assert sum(shares) == step
        assert max(shares) - min(shares) <= 1


def test_work_survives_the_command_line() -> None:
    assert FanoutWork.from_json(work(5, 2).to_json()) == work(5, 2)
