"""Checks of ends: streams and engines that are closed at any time, opened again and forgotten; and bad addresses."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from lunar.errors import ConfigError, LunarError, PeerFault
from lunar.testing.conformance.ends import Listener, Talker, content
from lunar.testing.conformance.subject import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lunar.testing.conformance.stage import Flow, Stage

__all__ = [
    "a_forgotten_process_may_come_again",
    "a_transport_describes_itself",
    "addresses_that_are_none_are_the_peer_s_fault",
    "closing_an_engine_sends_what_was_taken",
    "closing_an_engine_tells_the_other_ends",
    "closing_either_end_tells_the_other",
    "closing_leaves_no_descriptor_open",
    "closing_twice_does_nothing",
    "closing_within_a_handler_is_allowed",
    "ends_may_be_closed_at_any_time",
    "forgetting_a_stranger_does_nothing",
    "recalling_gives_back_what_has_not_arrived",
    "recalling_one_stream_of_a_publisher_leaves_the_others",
    "recalling_works_after_the_other_end_has_closed",
    "streams_can_be_opened_again",
    "unknown_settings_are_refused",
]


def closing_either_end_tells_the_other(stage: Stage) -> None:
    """The sender hears `disconnected`, the receiver `stopped`; who closed it hears nothing."""
    flow = stage.connect()
    flow.listener.close()
    stage.until(lambda: flow.talker.reasons, "`disconnected` is called when the receiving end was closed")
    require(flow.talker.end.unacknowledged == 0, "`unacknowledged` counts parcels of a stream that has ended")
    flow = stage.connect(flow.sender, flow.receiver)
    flow.talker.close()
    stage.until(lambda: flow.listener.reasons, "`stopped` is called when the sending end was closed")


def closing_an_engine_tells_the_other_ends(stage: Stage) -> None:
    """As does a process that leaves in order."""
    flow = stage.connect()
    third = stage.host()
    back = stage.connect(third, flow.sender)
    flow.receiver.close()
    stage.until(lambda: flow.talker.reasons, "`disconnected` is called when the receiver's engine was closed")
    third.close()
    stage.until(lambda: back.listener.reasons, "`stopped` is called when the sender's engine was closed")


def closing_an_engine_sends_what_was_taken(stage: Stage) -> None:
    """A program that publishes and ends has published."""
    flow = stage.connect()
    stage.send(flow, 40)
    flow.sender.close()
    stage.until(lambda: flow.listener.reasons, "`stopped` is called when the sender's engine was closed")
    flow.listener.received_in_full(40)


def recalling_gives_back_what_has_not_arrived(stage: Stage) -> None:
    """What another transport is to carry: all that nobody has taken, oldest first; of best effort nothing."""
    flow = stage.connect()
    stage.send(flow, 10)
    stage.settle(flow)
    arrived = flow.talker.sequence
    flow.listener.full = True
    for size_bytes in (0, 1, 100, 70_000, 100):
        require(flow.talker.send_numbered(size_bytes), "the first few parcels to a full receiver are not taken")
    stage.pass_time(0.05)
    _recall(stage, flow, arrived)
    flow.listener.resume()
    stage.until(lambda: flow.listener.reasons, "`stopped` is called when the sending end was recalled")
    require(not flow.talker.end.recall(), "`recall` gives the same back twice")


def recalling_works_after_the_other_end_has_closed(stage: Stage) -> None:
    """Its transport may have failed, and it hears of that before the sender does."""
    flow = stage.connect()
    flow.listener.full = True
    for _ in range(5):
        require(flow.talker.send_numbered(), "the first few parcels to a full receiver are not taken")
    stage.pass_time(0.05)
    flow.receiver.close()
    stage.until(lambda: not flow.talker.up, "`disconnected` is called when the receiver's engine was closed")
    _recall(stage, flow, 0)


def recalling_one_stream_of_a_publisher_leaves_the_others(stage: Stage) -> None:
    """They may share what carries them; but what was not given to a stream is not its own to give back."""
    sender = stage.host()
    one = stage.connect(sender)
    other = stage.connect(sender, publisher_id=one.publisher_id)
    stage.send(one, 5)
    stage.send(other, 5)
    for flow in (one, other):
        stage.settle(flow)
    arrived = other.talker.sequence
    other.listener.full = True
    stage.send(other, 3)
    stage.send(one, 6)
    _recall(stage, other, arrived)
    stage.send(one, 5)
    stage.settle(one)
    if stage.reliable:
        one.listener.received_in_full(one.talker.sequence)


def _recall(stage: Stage, flow: Flow, arrived: int) -> None:
    """Recalls what came after `arrived`; of that before, some may not be known to have arrived."""
    talker = flow.talker
    talker.closed = True
    recalled = talker.end.recall()
    if not stage.reliable:
        require(not recalled, "`recall` gives something of a best-effort stream back")
        return
    numbers = [parcel.sequence_number for parcel in recalled]
    first = min([*numbers, arrived + 1])
    require(numbers == list(range(first, talker.sequence + 1)), f"`recall` gives {numbers} back, not what is missing")
    for parcel in recalled:
        with memoryview(parcel.payload) as payload:
            same = payload.tobytes() == content(parcel.sequence_number, payload.nbytes)
        require(same and parcel.source_time_ns > 0, f"parcel {parcel.sequence_number} comes back as another one")
    require(talker.end.unacknowledged == 0, "`unacknowledged` counts parcels of a stream that was recalled")


def closing_twice_does_nothing(stage: Stage) -> None:
    """At both ends, and of engines with and without streams."""
    flow = stage.connect()
    flow.talker.close()
    flow.talker.close()
    stage.pass_time(0.02)
    flow.listener.close()
    flow.listener.close()
    stage.pass_time(0.02)
    flow.talker.close()
    unused = stage.host()
    for host in (flow.sender, flow.receiver, unused):
        host.close()
        host.close()
    flow.talker.close()
    flow.listener.close()


def streams_can_be_opened_again(stage: Stage) -> None:
    """By the same publisher between the same processes: a subscription that went and another that came."""
    flow = stage.connect()
    for _ in range(3):
        stage.send(flow, 3)
        stage.settle(flow)
        flow.listener.close()
        stage.until(lambda: not flow.talker.up, "`disconnected` is called when the receiving end was closed")
        sequence = flow.talker.sequence
        flow.open_receiving()
        stage.until(lambda: flow.is_up, "a stream connects again whose receiving end was opened again")
        require(flow.listener.starts[0][0] == sequence, f"it starts at {flow.listener.starts[0]}, not at {sequence}")
    for _ in range(3):
        stage.send(flow, 3)
        stage.settle(flow)
        require(flow.listener.numbers, "nothing arrives on a stream that was opened again")
        flow.talker.close()
        stage.until(lambda: not flow.listener.running, "`stopped` is called when the sending end was closed")
        flow.open_sending()
        stage.until(lambda: flow.is_up, "a stream connects again whose sending end was opened again")


def ends_may_be_closed_at_any_time(stage: Stage) -> None:
    """Before they connect, with parcels on their way, with the other end full, and both at once."""
    one, other = stage.host(), stage.host()
    for when in range(12):
        flow = stage.flow(one, other)
        flow.open_sending()
        flow.open_receiving()
        if when >= 4:
            stage.until(lambda flow=flow: flow.is_up, "a stream connects after others were closed")  # type: ignore[misc]
            flow.listener.full = when >= 8
            for _ in range(20):
                flow.talker.send_numbered(2000)
        closing: dict[int, tuple[Talker | Listener, ...]] = {
            0: (flow.talker,),
            1: (flow.listener,),
            2: (flow.talker, flow.listener),
            3: (flow.listener, flow.talker),
        }
        for handler in closing[when % 4]:
            handler.close()
        stage.pass_time(0.005)
        flow.talker.close()
        flow.listener.close()
    after = stage.connect(one, other)
    stage.send(after, 5)
    stage.settle(after)


def closing_within_a_handler_is_allowed(stage: Stage) -> None:
    """`close` is among the few calls that a handler may make."""
    one, other = stage.host(), stage.host()
    for close_within in (_connected, _started, _deliver, _writable):
        flow = stage.flow(one, other)
        flow.open_sending()
        flow.open_receiving()
        close_within(stage, flow)
        stage.pass_time(0.02)
        flow.talker.close()
        flow.listener.close()
    after = stage.connect(one, other)
    stage.send(after, 5)
    stage.settle(after)


def _connected(stage: Stage, flow: Flow) -> None:
    flow.talker.on_connected = flow.talker.close
    stage.until(lambda: flow.talker.closed, "`connected` is called")


def _started(stage: Stage, flow: Flow) -> None:
    flow.listener.on_started = flow.listener.close
    stage.until(lambda: flow.listener.closed, "`started` is called")


def _deliver(stage: Stage, flow: Flow) -> None:
    flow.listener.on_deliver = flow.listener.close
    stage.until(lambda: flow.is_up, "a stream connects")
    for _ in range(20):
        if not flow.talker.send_numbered():
            break
    stage.until(lambda: flow.listener.closed, "`deliver` is called")


def _writable(stage: Stage, flow: Flow) -> None:
    flow.talker.on_writable = flow.talker.close
    _fill_and_empty(stage, flow)


def _fill_and_empty(stage: Stage, flow: Flow) -> None:
    stage.until(lambda: flow.is_up, "a stream connects")
    flow.listener.full = True
    for _ in range(2000):
        if not flow.talker.send_numbered(1000):
            break
    if flow.talker.refused:
        stage.until(lambda: flow.listener.refused, "a parcel is offered")
        flow.listener.resume()
        stage.until(lambda: flow.talker.closed, "`writable` is called")


def a_forgotten_process_may_come_again(stage: Stage) -> None:
    """`forget` drops what is known of a process; nothing forbids to meet it later."""
    flow = stage.connect()
    one, other = flow.sender, flow.receiver
    for _ in range(2):
        flow.talker.close()
        flow.listener.close()
        stage.pass_time(0.02)
        one.engine.forget(other.id)
        other.engine.forget(one.id)
        flow = stage.connect(one, other)
        stage.send(flow, 5)
        stage.settle(flow)


def forgetting_a_stranger_does_nothing(stage: Stage) -> None:
    """A process that never had a stream goes like any other."""
    flow = stage.connect()
    flow.sender.engine.forget("ef" * 16)
    stage.send(flow, 5)
    stage.settle(flow)


def addresses_that_are_none_are_the_peer_s_fault(stage: Stage) -> None:
    """What another process announces is unchecked: it raises PeerFault, nothing else, and leaves nothing open."""
    flow = stage.flow()
    right = dict(flow.receiver.engine.address)
    _refuse(flow, {}, must=True)
    _refuse(flow, {"": 0, "address": "nowhere"}, must=True)
    strange: tuple[object, ...] = (
        None,
        True,
        -1,
        2**70,
        1.5,
        "",
        "x" * 4000,
        "\0\n",
        [],
        [None] * 50,
        [[]],
        {},
        {"": {}},
    )
    for key in right:
        _refuse(flow, {name: value for name, value in right.items() if name != key}, must=False)
        for value in strange:
            _refuse(flow, {**right, key: value}, must=False)
    again = stage.connect(flow.sender, flow.receiver)
    stage.send(again, 3)
    stage.settle(again)


def _refuse(flow: Flow, address: Mapping[str, object], *, must: bool) -> None:
    stream = replace(flow._stream(flow.receiver), address=address)
    for open_end in (
        lambda: flow.sender.engine.open_outgoing(stream, Talker()),
        lambda: flow.sender.engine.open_incoming(stream, Listener()),
    ):
        try:
            opened = open_end()
        except PeerFault:
            continue
        except LunarError as error:
            raise AssertionError(f"the address {address!r:.100} raises {error!r} instead of PeerFault") from error
        except Exception as error:
            raise AssertionError(f"the address {address!r:.100} raises {error!r} instead of PeerFault") from error
        opened.close()
        require(not must, f"the address {address!r:.100} was taken for one")


def unknown_settings_are_refused(stage: Stage) -> None:
    """A typing error in a configuration is not to go unnoticed."""
    known = dict(stage.subject.settings)
    spoilt = replace(stage.subject, settings={**known, "no_such_setting": 1})
    try:
        engine = type(stage)(spoilt, reliable=stage.reliable).host().engine
    except ConfigError as error:
        require("no_such_setting" in str(error), f"the error does not name the setting: {error}")
        return
    engine.close()
    require(False, "`open` takes a setting that nobody knows")


def a_transport_describes_itself(stage: Stage) -> None:
    """Its name, capabilities and probe; and addresses that can be announced."""
    transport = stage.subject.transport()
    require(transport.name and transport.name == stage.subject.transport().name, "its name is not the same each time")
    require(transport.capabilities == transport.capabilities, "its capabilities are not the same each time")
    can = transport.capabilities_under(stage.subject.settings)
    require(can.reach == "network", f"its reach is {can.reach!r}, not 'network'")
    probe = transport.probe()
    require(probe.ok, f"its probe says no: {probe.reason}; {probe.remedy}")
    flow = stage.connect()
    for host in (flow.sender, flow.receiver):
        try:
            announced = json.dumps(dict(host.engine.address))
        except (TypeError, ValueError) as error:
            raise AssertionError(f"its address is not ready for JSON: {error}") from error
        require(len(announced) < 4096, f"its address has {len(announced)} bytes, 4095 are allowed")
        require(json.loads(announced) == dict(host.engine.address), "its address is another one after JSON")
    require(flow.sender.engine.address != flow.receiver.engine.address, "two processes have the same address")


def closing_leaves_no_descriptor_open(stage: Stage) -> None:
    """Neither streams nor engines; what a library opens once for all is not counted."""
    stay = stage.host()
    held = []
    for _ in range(3):
        flow = stage.connect(stay)
        stage.send(flow, 5)
        stage.settle(flow)
        flow.talker.close()
        flow.receiver.close()
        stay.engine.forget(flow.receiver.id)
        stage.pass_time(0.15)
        held.append(len(os.listdir("/proc/self/fd")))
    require(held[-1] <= held[0], f"descriptors stay open: {held} after one, two and three meetings")
