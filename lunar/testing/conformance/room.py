"""Checks of what happens when there is no room, and of waking: who waits, who is told, and who may sleep."""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Final

from lunar.testing.conformance.subject import require

if TYPE_CHECKING:
    from lunar.testing.conformance.stage import Flow, Stage

__all__ = [
    "a_full_receiver_costs_best_effort_only_losses",
    "a_full_receiver_stops_its_sender_and_loses_nothing",
    "a_process_that_has_nothing_to_do_sleeps",
    "sending_from_within_writable_goes_on_to_the_end",
    "the_descriptor_is_readable_when_something_has_come",
    "writable_follows_every_refusal",
]

# Whoever takes this much from a sender whose receiver takes nothing keeps it in memory without a bound.
_MOST_PARCELS: Final = 100_000
_PARCEL_BYTES: Final = 4096


def a_full_receiver_stops_its_sender_and_loses_nothing(stage: Stage) -> None:
    """`deliver` that returns False: nothing else is offered, the sender runs out of room, and `resume` ends it."""
    flow = stage.connect()
    flow.listener.full = True
    taken = _send_until_refused(stage, flow)
    require(flow.listener.numbers == [], "a parcel was taken for delivered that was refused")
    flow.listener.resume()
    stage.until(lambda: not flow.talker.refused, "`writable` is called after there is room again")
    stage.settle(flow)
    flow.listener.received_in_full(taken)
    require(flow.listener.lost_count == 0, "a reliable stream has counted losses")


def _send_until_refused(stage: Stage, flow: Flow) -> int:
    talker = flow.talker
    end_s = time.monotonic() + stage.subject.patience_s
    while not talker.refused:
        require(time.monotonic() < end_s, "the sender always finds room again though nothing is delivered")
        talker.send_numbered(_PARCEL_BYTES)
        require(talker.sequence < _MOST_PARCELS, f"the sender takes {_MOST_PARCELS} parcels though none is delivered")
        if talker.sequence % 16 == 0:
            stage.pass_time(0)
        if talker.refused:  # perhaps there was only nobody who carried them on
            stage.pass_time(0.05)
    return talker.sequence


def writable_follows_every_refusal(stage: Stage) -> None:
    """Stop and go, again and again."""
    flow = stage.connect()
    for _ in range(5):
        flow.listener.full = True
        _send_until_refused(stage, flow)
        stage.until(lambda: flow.listener.refused, "a parcel is offered")
        flow.listener.resume()
        stage.until(lambda: not flow.talker.refused, "`writable` is called after there is room again")
    stage.settle(flow)
    flow.listener.received_in_full(flow.talker.sequence)


def sending_from_within_writable_goes_on_to_the_end(stage: Stage) -> None:
    """`send` may be called from `connected` and `writable`, as a bus does that has more."""
    flow = stage.flow()
    count = 3000

    def go_on() -> None:
        while flow.talker.sequence < count and flow.talker.send_numbered(1000):
            pass

    flow.talker.on_connected = flow.talker.on_writable = go_on
    flow.open_sending()
    flow.open_receiving()
    stage.until(lambda: flow.listener.numbers[-1:] == [count], f"{count} parcels arrive that are sent as room comes")
    flow.listener.received_in_full(count)


def a_full_receiver_costs_best_effort_only_losses(stage: Stage) -> None:
    """Whoever sends with best effort is not held up for good; what was lost is counted, at both ends alike."""
    flow = stage.connect()
    talker, listener = flow.talker, flow.listener
    stage.send(flow, 3)
    stage.settle(flow)
    listener.full = True
    for _ in range(3000):
        if talker.refused:
            break
        talker.send_numbered(1000)
    stage.pass_time(0.05)
    listener.resume()
    stage.pass_time(0.05)
    stage.until(lambda: not talker.refused, "`writable` is called after there is room again")
    stage.settle(flow)
    received, last, lost = len(listener.numbers), listener.numbers[-1], listener.lost_count
    require(received + lost == last, f"{received} of {last} parcels arrived and {lost} are said to be lost")
    if lost:
        stage.until(
            lambda: talker.lost == listener.lost_count,
            f"the sender is told of {listener.lost_count} losses (it was told of {talker.lost})",
        )


def the_descriptor_is_readable_when_something_has_come(stage: Stage) -> None:
    """Work that nobody wakes for is not done."""
    flow = stage.connect()
    engine = flow.receiver.engine
    fd = engine.fileno()
    stage.pass_time(0.2)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    for _ in range(10):
        before = len(flow.listener.numbers)
        stage.send(flow, 1)
        # The sender may need turns to send it; the receiver gets none.
        for _ in range(100):
            if poll.poll(0):
                break
            flow.sender.engine.work()
            poll.poll(10)
        require(poll.poll(0), "a parcel was sent and the receiver's descriptor does not become readable")
        if not stage.reliable:
            stage.settle(flow)
        stage.until(lambda before=before: len(flow.listener.numbers) > before, "what was announced is delivered")  # type: ignore[misc]
    require(engine.fileno() == fd, "`fileno` is not the same each time")


def a_process_that_has_nothing_to_do_sleeps(stage: Stage) -> None:
    """Signs of life may wake it, but not often."""
    flow = stage.connect()
    stage.send(flow, 3)
    stage.settle(flow)
    stage.pass_time(0.3)
    before = flow.sender.turns + flow.receiver.turns
    stage.pass_time(0.5)
    turns = flow.sender.turns + flow.receiver.turns - before
    require(turns <= 60, f"two engines with nothing to do took {turns} turns in half a second")
