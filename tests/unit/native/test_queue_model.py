"""The native queue, through its Python types, against a deque: a state machine that Hypothesis drives."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lunar import errors
from lunar._native._bus import Sample
from tests.unit.native.wire import Wire

pytestmark = pytest.mark.native

sizes = st.one_of(st.integers(8, 200), st.sampled_from([4096, 65_536, 300_000]))


def message(number: int, size_bytes: int) -> bytes:
    return number.to_bytes(8, "little") + bytes([number % 256]) * (size_bytes - 8)


class QueueMachine(RuleBasedStateMachine):
    """One publisher, one subscription. The model: numbers not yet taken, samples held, and what was lost why."""

    waits = False

    @initialize(depth=st.sampled_from([1, 2, 3, 4, 7, 16, 300]))
    def open(self, depth: int) -> None:
        self.depth = depth
        self.wire = Wire(depth, waits=self.waits)
        self.next_number = 1
        self.queued: deque[tuple[int, int]] = deque()
        self.held: list[tuple[Sample[memoryview], int, int]] = []
        self.overwritten = self.lost_held = self.received = 0

    def teardown(self) -> None:
        if hasattr(self, "wire"):
            for sample, number, size_bytes in self.held:
                assert bytes(sample.message) == message(number, size_bytes)
            self.held.clear()
            self.wire.close()
            assert self.wire.faults == []

    # ---- the model

    def _slots_left(self) -> int:
        return self.wire.slots - len(self.queued) - len(self.held)

    def _has_room(self) -> bool:
        return len(self.queued) < self.depth and self._slots_left() > 0

    def _publish(self, size_bytes: int) -> None:
        """What a publish that is accepted does to the model."""
        if len(self.queued) == self.depth:
            self.queued.popleft()
            self.overwritten += 1
        if self._slots_left():
            self.queued.append((self.next_number, size_bytes))
        else:
            self.lost_held += 1
        self.next_number += 1

    def _took(self, sample: Sample[memoryview]) -> tuple[int, int]:
        number, size_bytes = self.queued.popleft()
        assert bytes(sample.message) == message(number, size_bytes)
        assert (sample.sequence_number, sample.size_bytes) == (number, size_bytes)
        self.received += 1
        return number, size_bytes

    # ---- what may happen

    @rule(size_bytes=sizes)
    def publish(self, size_bytes: int) -> None:
        payload = message(self.next_number, size_bytes)
        if self.waits and not self._has_room():
            with pytest.raises(errors.WouldBlock):
                self.wire.writer.publish_nowait(payload)
            return
        self.wire.writer.publish_nowait(payload)
        self._publish(size_bytes)

    @rule(size_bytes=sizes, discard=st.booleans())
    def lend(self, size_bytes: int, discard: bool) -> None:
        loan = self.wire.writer.loan(size_bytes)
        if self.waits and not self._has_room():
            with pytest.raises(errors.WouldBlock):
                loan.__enter__()
            return
        buffer = loan.__enter__()
        buffer[:] = message(self.next_number, size_bytes)
        if discard:
            loan.__exit__(KeyError, KeyError(), None)
            return
        loan.__exit__(None, None, None)
        self._publish(size_bytes)

    @rule(count=st.integers(0, 40), size_bytes=st.integers(8, 100))
    def publish_many(self, count: int, size_bytes: int) -> None:
        messages = [message(self.next_number + index, size_bytes) for index in range(count)]
        accepted = self.wire.writer.publish_many(messages)
        if self.waits:
            assert accepted == min(count, self.depth - len(self.queued), self._slots_left())
        else:
            assert accepted == count
        for _ in range(accepted):
            self._publish(size_bytes)

    @rule()
    def receive(self) -> None:
        if not self.queued:
            with pytest.raises(errors.WouldBlock):
                self.wire.reader.receive_nowait()
            return
        number, size_bytes = self.queued.popleft()
        assert bytes(self.wire.reader.receive_nowait()) == message(number, size_bytes)
        self.received += 1

    @rule(limit=st.integers(0, 20))
    def take_and_drop(self, limit: int) -> None:
        samples = self.wire.reader.take(limit)
        assert len(samples) == min(limit, len(self.queued))
        for sample in samples:
            self._took(sample)

    @rule(limit=st.integers(1, 400))
    def take_and_hold(self, limit: int) -> None:
        samples = self.wire.reader.take(limit)
        assert len(samples) == min(limit, len(self.queued))
        for sample in samples:
            self.held.append((sample, *self._took(sample)))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def drop_one(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.held) - 1))
        sample, number, size_bytes = self.held.pop(index)
        assert bytes(sample.message) == message(number, size_bytes)

    @rule()
    def drop_all(self) -> None:
        self.held.clear()

    @rule()
    def hold_as_much_as_there_is(self) -> None:
        while self._slots_left() and len(self.held) < 1100:
            self.publish_many(min(self.depth, 40), 8)
            self.take_and_hold(400)

    # ---- what must always be true

    @invariant()
    def both_sides_count_alike(self) -> None:
        if not hasattr(self, "wire"):
            return
        sending, receiving = self.wire.sending, self.wire.receiving
        assert sending.queued == receiving.queued == len(self.queued)
        assert sending.held == receiving.held == len(self.held)
        assert sending.lost_overwritten == receiving.lost_overwritten == self.overwritten
        assert sending.lost_held == receiving.lost_held == self.lost_held
        assert self.wire.writer._published == self.next_number - 1
        assert self.wire.reader._received == receiving.received == self.received
        published = self.received + len(self.queued) + self.overwritten + self.lost_held
        assert published == self.next_number - 1


class LosslessMachine(QueueMachine):
    """The same where the publisher waits: nothing is ever lost."""

    waits = True

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "wire"):
            assert (self.overwritten, self.lost_held, self.wire.losses) == (0, 0, [])


for machine in (QueueMachine, LosslessMachine):
    machine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)

TestKeepLast = QueueMachine.TestCase
TestLossless = LosslessMachine.TestCase
