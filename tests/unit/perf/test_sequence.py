"""A receiver's tally counts exactly what was lost, whatever was."""

from hypothesis import given
from hypothesis import strategies as st
from lunar_perf.sequence import END, FINISHED, WARM_UP, Tally


def receive(numbers: list[int]) -> Tally:
    """The loop that every peer has."""
    tally, expected = Tally(), WARM_UP
    for number in numbers:
        if number == expected:
            expected += 1
        else:
            expected = tally.resync(number, expected)
            if expected == FINISHED:
                break
    assert expected == FINISHED
    return tally


def sent(warmup: int, measured: int) -> list[int]:
    return [*(WARM_UP + index for index in range(warmup)), *range(measured)]


def test_nothing_lost() -> None:
    tally = receive([*sent(5, 1000), END])
    assert (tally.received, tally.lost(1000), tally.repeated) == (1000, 0, 0)
    assert tally.elapsed_s > 0


@given(st.integers(0, 20), st.integers(1, 200), st.data())
def test_every_lost_message_is_counted_and_none_of_the_warm_up(warmup: int, measured: int, data: st.DataObject) -> None:
    numbers = sent(warmup, measured)
    dropped = data.draw(st.sets(st.sampled_from(numbers), max_size=len(numbers)))
    tally = receive([*(number for number in numbers if number not in dropped), END])
    lost = sum(number < WARM_UP for number in dropped)
    assert tally.lost(measured) == lost
    assert tally.received == measured - lost


@given(st.integers(1, 100), st.data())
def test_a_repeated_or_late_message_is_not_counted_as_received(measured: int, data: st.DataObject) -> None:
    numbers = sent(3, measured)
    index = data.draw(st.integers(3, len(numbers) - 1))
    later = data.draw(st.integers(index + 1, len(numbers)))
    tally = receive([*numbers[:later], numbers[index], *numbers[later:], END])
    assert (tally.received, tally.lost(measured), tally.repeated) == (measured, 0, 1)


def test_when_everything_is_lost_the_rate_is_over_no_time() -> None:
    tally = receive([WARM_UP, END])
    assert (tally.received, tally.lost(77), tally.elapsed_s) == (0, 77, 0.0)
