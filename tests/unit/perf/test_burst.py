"""Bursts are checked by the bus's sequence numbers at their ends."""

import itertools
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from lunar_perf.burst import BurstTally, batches
from lunar_perf.sequence import END, STAMP
from lunar_perf.work import Work


@dataclass(frozen=True)
class Info:
    sequence_number: int


@dataclass(frozen=True)
class Sample:
    message: memoryview
    info: Info


def sample(number: int, stamp: int = 0) -> Sample:
    return Sample(memoryview(STAMP.pack(stamp)), Info(number))


def feed(tally: BurstTally, numbers: list[int], cuts: set[int], end_number: int) -> None:
    samples = [*(sample(number) for number in numbers), sample(end_number, END)]
    edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(samples)), len(samples)]
    bursts = [samples[start:stop] for start, stop in itertools.pairwise(edges)]
    assert [tally.more(burst) for burst in bursts] == [True] * (len(bursts) - 1) + [False]


@given(st.integers(0, 10), st.integers(1, 150), st.sets(st.integers(1, 160)), st.data())
def test_gaps_within_and_between_bursts_are_counted(
    warmup: int, measured: int, cuts: set[int], data: st.DataObject
) -> None:
    numbers = list(range(1, warmup + measured + 1))
    dropped = data.draw(st.sets(st.sampled_from(numbers)))
    bursts = BurstTally(warmup)
    kept = [number for number in numbers if number not in dropped]
    feed(bursts, kept, cuts, end_number=warmup + measured + 1)
    lost = sum(number > warmup for number in dropped)
    assert bursts.tally.lost(measured) == lost
    assert bursts.tally.received == measured - lost


def test_several_end_markers_in_a_burst_are_no_messages() -> None:
    bursts = BurstTally(0)
    assert not bursts.more([sample(1), sample(2), sample(3, END), sample(4, END)])
    assert bursts.tally.received == 2


def test_a_burst_seen_again_is_counted_as_repeated() -> None:
    bursts = BurstTally(0)
    assert bursts.more([sample(1), sample(2)])
    assert bursts.more([sample(1), sample(2)])
    assert bursts.tally.repeated == 2
    assert bursts.tally.received == 2


def test_only_for_a_receiver_of_bursts_are_messages_sent_unstamped() -> None:
    unstamped = batches(Work(16, batch=3, receive="burst"))
    assert unstamped(0) is unstamped(3)
    stamped = batches(Work(16, batch=3))(7)
    assert [STAMP.unpack_from(message)[0] for message in stamped] == [7, 8, 9]
    assert {len(message) for message in stamped} == {16}
