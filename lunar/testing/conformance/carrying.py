"""Checks of what a stream carries: its beginning, order, content, sizes and what stands beside a payload."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lunar.abc import Parcel
from lunar.testing.conformance.ends import content
from lunar.testing.conformance.subject import MIB, require

if TYPE_CHECKING:
    from lunar.testing.conformance.stage import Stage

__all__ = [
    "a_sender_that_nobody_listens_to_takes_nothing",
    "buffers_of_every_kind_are_taken",
    "many_processes_get_what_one_publisher_sends",
    "many_streams_between_two_processes_are_kept_apart",
    "messages_of_all_sizes_arrive",
    "start_says_where_a_stream_begins",
    "streams_connect_whichever_end_is_opened_first",
    "streams_go_both_ways_at_once",
    "what_is_sent_arrives_in_order_and_once",
    "what_stands_beside_a_payload_arrives",
]

# Sizes at which something may change: words, frames of Ethernet and of jumbo kind, datagrams, powers of two.
_SIZES = (0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 255, 256, 1471, 1472, 1473, 8999, 9000, 32_768, 60_000)
_LARGE_SIZES = (65_507, 65_508, 65_535, 65_536, 65_537, 262_143, MIB - 1, MIB, MIB + 1, 8 * MIB + 3, 64 * MIB)


def streams_connect_whichever_end_is_opened_first(stage: Stage) -> None:
    """The other end is opened when its process hears of the match, which may be much later."""
    first = stage.flow()
    first.open_sending()
    stage.pass_time(0.1)
    require(not first.talker.up, "`connected` was called before the other end was opened")
    first.open_receiving()
    stage.until(lambda: first.is_up, "a stream connects whose sending end was opened first")
    second = stage.flow(first.sender, first.receiver)
    second.open_receiving()
    stage.pass_time(0.1)
    require(not second.listener.running, "`started` was called before the other end was opened")
    second.open_sending()
    stage.until(lambda: second.is_up, "a stream connects whose receiving end was opened first")
    require(first.talker.times_up == second.talker.times_up == 1, "`connected` was called more than once")


def a_sender_that_nobody_listens_to_takes_nothing(stage: Stage) -> None:
    """Not connected counts as no room, so that what is published waits in the publisher's queue."""
    flow = stage.flow()
    talker = flow.open_sending()
    require(talker.end.send(Parcel(1, time.time_ns(), 0, b"")) is False, "`send` took a parcel before `connected`")
    stage.pass_time(0.05)
    require(talker.end.unacknowledged == 0, "`unacknowledged` counts though nothing was taken")
    talker.close()


def start_says_where_a_stream_begins(stage: Stage) -> None:
    """Both numbers of `Outgoing.start` are those of `IncomingHandler.started`."""
    flow = stage.flow()
    flow.talker.sequence, flow.talker.newest = 2**40, 2**40 + 3
    flow.open_sending()
    flow.open_receiving()
    stage.until(lambda: flow.is_up, "a stream connects and starts")
    require(flow.listener.starts == [(2**40, 2**40 + 3)], f"`started` was called with {flow.listener.starts}")
    stage.send(flow, 3)
    stage.settle(flow)
    require(flow.listener.numbers[0] == 2**40 + 1, f"the first parcel was number {flow.listener.numbers[0]}")


def what_is_sent_arrives_in_order_and_once(stage: Stage) -> None:
    """A thousand messages, as fast as there is room."""
    flow = stage.connect()
    for _ in range(20):
        stage.send(flow, 50, 100)
        if not stage.reliable:
            stage.pass_time(0.002)  # not more at once than a system's buffers hold
    stage.settle(flow)
    if stage.reliable:
        flow.listener.received_in_full(1000)
        stage.until(lambda: flow.talker.end.unacknowledged == 0, "`unacknowledged` falls to 0 when all has arrived")
    else:
        received = len(flow.listener.numbers)
        require(received >= 500, f"of more than 1000 parcels sent without haste only {received} arrived")
        require(flow.talker.end.unacknowledged == 0, "`unacknowledged` of a best-effort stream is not 0")
    # Losses are counted against sequence numbers: what arrived and what is lost make up all.
    last, lost = flow.listener.numbers[-1], flow.listener.lost_count
    require(
        len(flow.listener.numbers) + lost == last,
        f"{len(flow.listener.numbers)} of {last} parcels arrived and {lost} are said to be lost",
    )


def messages_of_all_sizes_arrive(stage: Stage) -> None:
    """From 0 B up to what is asked for, each followed by a small one."""
    flow = stage.connect()
    most = stage.subject.largest_bytes if stage.reliable else 65_536
    limit = flow.sender.transport.capabilities.largest_message_bytes
    sizes = [size for size in (*_SIZES, *_LARGE_SIZES) if size <= most and (limit is None or size <= limit)]
    for size in sizes:
        for _ in range(5):  # best effort may lose one, but hardly five
            stage.send(flow, 1, size)
            stage.send(flow, 1, 1)
            stage.settle(flow)
            if size in flow.listener.sizes:
                break
        require(size in flow.listener.sizes, f"no message of {size} bytes has arrived")


def what_stands_beside_a_payload_arrives(stage: Stage) -> None:
    """The source time and the count of what was dropped before; a gap that the sender made is no loss."""
    flow = stage.connect()
    talker, listener = flow.talker, flow.listener
    before_ns = time.time_ns()
    stage.send(flow, 2)
    require(talker.send_numbered(skipping=5), "`send` has no room for a third parcel")
    stage.settle(flow)
    # Best effort may lose any of these, but then says so.
    arrived = dict(zip(listener.numbers, listener.drops, strict=True))
    right = {number: 5 if number >= 8 else 0 for number in arrived}
    require(arrived == right, f"parcels and their `dropped` are {arrived}, not {right}")
    require(8 in arrived or listener.lost_count, "parcel 8 has neither arrived nor is it counted as lost")
    if stage.reliable:
        require(listener.lost_count == 0, f"a gap that the sender made was counted as {listener.lost_count} lost")
    in_time = all(before_ns <= each <= time.time_ns() for each in listener.times_ns)
    require(in_time, "a source time is not the one that was sent")


def buffers_of_every_kind_are_taken(stage: Stage) -> None:
    """A payload may be read-only or not, and need not be of single bytes."""
    flow = stage.connect()
    text = content(1, 64)
    require(flow.talker.send(text), "`send` does not take bytes")
    require(flow.talker.send(bytearray(content(2, 64))), "`send` does not take a bytearray")
    require(flow.talker.send(memoryview(content(3, 64)).cast("I")), "`send` does not take a view of integers")
    require(
        flow.talker.send(memoryview(bytearray(b"x" + content(4, 64)))[1:]), "`send` does not take a part of a buffer"
    )
    stage.settle(flow)
    if stage.reliable:
        flow.listener.received_in_full(4)
    require(set(flow.listener.sizes) == {64}, f"64 bytes became {flow.listener.sizes}")


def streams_go_both_ways_at_once(stage: Stage) -> None:
    """Two processes publish to each other."""
    one, other = stage.host(), stage.host()
    flows = [stage.connect(one, other), stage.connect(other, one)]
    for _ in range(50):
        for flow in flows:
            stage.send(flow, 1)
    for flow in flows:
        stage.settle(flow)
        if stage.reliable:
            flow.listener.received_in_full(50)


def many_streams_between_two_processes_are_kept_apart(stage: Stage) -> None:
    """Each has its own numbers; some are closed while the others go on."""
    one, other = stage.host(), stage.host()
    flows = [stage.flow(one, other) for _ in range(40)]
    for flow in flows:
        flow.open_sending()
        flow.open_receiving()
    stage.until(lambda: all(flow.is_up for flow in flows), "40 streams connect")
    for which, flow in enumerate(flows):
        stage.send(flow, 1 + which % 7)
    for flow in flows[::2]:
        flow.talker.close()
        flow.listener.close()
    for flow in flows[1::2]:
        stage.send(flow, 3)
        stage.settle(flow)
    if stage.reliable:
        for which, flow in enumerate(flows):
            if which % 2:
                flow.listener.received_in_full(4 + which % 7)


def many_processes_get_what_one_publisher_sends(stage: Stage) -> None:
    """Each by its own stream, with its own beginning, room and end."""
    sender = stage.host()
    publisher_id = "ab" * 16
    flows = [stage.connect(sender, publisher_id=publisher_id) for _ in range(3)]
    full = flows[0].listener
    full.full = stage.reliable
    for _ in range(20):
        for flow in flows:
            require(flow.talker.send_numbered(), "`send` refuses within 20 small parcels")
        stage.pass_time(0.001)
    for flow in flows[1:]:
        stage.settle(flow)
    if stage.reliable:
        for flow in flows[1:]:
            flow.listener.received_in_full(20)
        require(full.numbers == [], "a parcel was taken for delivered that was refused")
        full.resume()
        stage.settle(flows[0])
        full.received_in_full(20)
    flows[1].listener.close()
    stage.until(lambda: not flows[1].talker.up, "`disconnected` is called when the other end was closed")
    require(flows[0].talker.up and flows[2].talker.up, "closing one stream of a publisher ends the others")
    for flow in flows[::2]:
        stage.send(flow, 5)
        stage.settle(flow)
        if stage.reliable:
            flow.listener.received_in_full(25)
