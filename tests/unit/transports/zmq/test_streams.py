"""Both sides of the protocol against each other, through every kind of break."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lunar_zmq import receiving, wire

from tests.unit.transports.zmq.both_ends import LISTENER, BothEnds


@pytest.fixture(params=[True, False], ids=["reliable", "best-effort"])
def both(request: pytest.FixtureRequest) -> BothEnds:
    ends = BothEnds(request.param)
    ends.open_talker()
    ends.open_listener()
    ends.connect()
    ends.settle()
    return ends


def test_a_stream_begins_where_its_publisher_says(both: BothEnds):
    assert both.receiver.starts == [0]
    assert both.send(b"one")
    both.settle()
    assert both.receiver.payloads == [b"one"]
    assert both.sender.end.unacknowledged == 0


@pytest.mark.parametrize("listener_first", [True, False])
def test_either_side_may_open_first(listener_first: bool):
    both = BothEnds(reliable=True)
    both.connect()
    first, second = (both.open_listener, both.open_talker)[:: 1 if listener_first else -1]
    first()
    both.settle()
    assert not both.sender.up
    second()
    both.settle()
    assert both.receiver.running


def test_nothing_is_sent_before_the_start():
    both = BothEnds(reliable=True)
    both.sender.start_at_once = False
    both.open_talker()
    both.open_listener()
    both.connect()
    both.settle()
    assert both.sender.up
    assert not both.send()
    both.sender.end.start(4, 4)
    both.settle()
    assert both.receiver.starts == [4]


def test_records_that_come_together_share_a_frame(both: BothEnds):
    for _ in range(10):
        both.send(b"x")
    both.flush()
    assert len(both.to_listener) == 1


def test_a_large_payload_is_a_frame_of_its_own_and_not_copied(both: BothEnds):
    large = bytes(100_000)
    both.send(b"before")
    both.send(large)
    both.send(b"after")
    both.flush()
    assert [payload is large for _, payload in both.to_listener] == [True, False]
    both.settle()
    assert both.receiver.payloads == [b"before", large, b"after"]


def test_acknowledgements_wait_for_company(both: BothEnds):
    for _ in range(100):
        both.send()
    both.flush()
    while both.carry_to_listener():
        pass
    both.tick(0.001)
    assert not both.to_talker
    both.tick(receiving.GRANT_WITHIN_S)
    assert len(both.to_talker) == 1


def test_without_room_the_sender_stops_and_goes_on_later(both: BothEnds, monkeypatch: pytest.MonkeyPatch):
    both.receiver.room = 0
    while both.send() and len(both.taken) < 2 * receiving.WINDOW:
        pass
    both.settle()
    assert both.receiver.got == []
    if both.reliable:
        assert len(both.taken) == receiving.WINDOW
    both.receiver.room = 1 << 60
    both.receiver.end.resume()
    both.settle()
    assert both.receiver.got == both.taken[: receiving.WINDOW]
    assert both.sender.writable_calls == (1 if both.reliable else 0)
    assert both.receiver.lost_count == len(both.taken) - receiving.WINDOW
    assert both.sender.lost == both.receiver.lost_count


def sent_ahead(both: BothEnds, payload: bytes) -> int:
    """How many of these a reliable sender gets rid of without a word from the other side."""
    count = 0
    while both.send(payload):
        count += 1
    return count


def test_a_window_bounds_the_bytes_on_their_way_and_holds_a_few_large_parcels():
    both = BothEnds(reliable=True)
    both.open_talker()
    both.open_listener()
    both.connect()
    both.settle()
    mebibyte = bytes(1 << 20)
    assert sent_ahead(both, mebibyte) == receiving.WINDOW_BYTES >> 20
    both.settle()
    huge = bytes(6 << 20)
    assert sent_ahead(both, huge) == 2  # what is as large has not been seen yet
    both.settle()
    assert sent_ahead(both, huge) == 4
    both.settle()
    assert sent_ahead(both, mebibyte) == 24
    both.settle()
    assert both.receiver.got == both.taken


def test_a_burst_without_a_promise_gets_through_where_one_that_can_wait_would_wait():
    both = BothEnds(reliable=False)
    both.open_talker()
    both.open_listener()
    both.connect()
    both.settle()
    for _ in range(70):
        both.send(bytes(1 << 20))
    both.settle()
    assert both.receiver.got == both.taken[:64]
    assert both.receiver.lost_count == both.sender.lost == 6


def test_a_short_cut_is_nobodys_business(both: BothEnds):
    both.send()
    both.cut()
    both.tick(0.3)
    assert not both.send()
    both.connect()
    both.settle()
    assert both.sender.up
    assert both.receiver.running
    assert both.sender.reasons == both.receiver.reasons == []
    assert both.sender.writable_calls == 1
    assert both.receiver.got == (both.taken if both.reliable else [])
    assert both.receiver.lost_count == len(both.taken) - len(both.receiver.got)


def test_a_long_cut_is_told_to_both_and_loses_nothing_reliable(both: BothEnds):
    both.send()
    both.settle()
    both.send()
    both.flush()
    both.cut()
    both.tick(1.5)  # it is noticed when something is sent next, which is at the latest a second later
    both.tick(1.5)
    assert both.sender.reasons == both.receiver.reasons == ["the connection was lost"]
    both.connect()
    both.settle()
    both.send()
    both.settle()
    assert both.receiver.got == (both.taken if both.reliable else [1, 3])
    assert both.receiver.lost_count == len(both.taken) - len(both.receiver.got)
    assert len(both.receiver.starts) == 2


def test_a_restart_of_the_publisher_begins_the_stream_anew(both: BothEnds):
    both.send()
    both.settle()
    both.sender.end.close()
    both.settle()
    assert both.receiver.reasons == ["the publisher's side closed the stream"]
    both.sender.up = False
    both.open_talker()
    both.settle()
    assert both.send()
    both.settle()
    assert both.receiver.got == [1, 2]
    assert both.receiver.starts == [0, 1]


def test_an_acknowledgement_that_was_lost_is_said_again():
    both = BothEnds(reliable=True)
    both.open_talker()
    both.open_listener()
    both.connect()
    both.settle()
    both.send()
    both.carry_to_listener()
    both.cut()
    both.connect()
    both.settle()
    assert both.sender.end.unacknowledged == 0


def test_what_arrived_is_not_sent_again():
    both = BothEnds(reliable=True)
    both.open_talker()
    both.open_listener()
    both.connect()
    both.settle()
    both.send(bytes(100_000))
    both.flush()
    both.carry_to_listener()
    both.cut()  # before the acknowledgement
    both.send()
    both.connect()
    while both.carry_to_talker() or (both.to_listener and both.to_listener[0][1] is None and both.carry_to_listener()):
        pass
    assert not both.to_listener  # no large one again
    assert both.receiver.got == [1, 2]


def test_a_publisher_that_was_closed_and_opened_during_a_cut_begins_anew(both: BothEnds):
    both.send()
    both.settle()
    both.cut()
    both.sender.end.close()
    both.sender.up = False
    both.open_talker()
    both.connect()
    both.settle()
    assert len(both.receiver.reasons) == 1
    both.send()
    both.settle()
    assert both.receiver.got == [1, 2]


def test_what_is_left_of_an_earlier_connection_does_not_count(both: BothEnds):
    both.send()
    both.flush()
    late = both.to_listener[0][0]
    both.cut()
    both.connect()
    both.settle()
    both.link.arrived(late, None, both.now_s)
    both.send()
    both.settle()
    assert both.receiver.got == ([1, 2] if both.reliable else [2])
    assert both.receiver.lost_count == 2 - len(both.receiver.got)


def test_a_close_of_the_subscriber_is_told(both: BothEnds):
    both.receiver.end.close()
    both.settle()
    assert both.sender.reasons == ["the subscriber's side closed the stream"]
    assert not both.send()


def test_a_close_during_a_cut_is_told_afterwards(both: BothEnds):
    both.cut()
    both.receiver.end.close()
    both.connect()
    both.settle()
    assert both.sender.reasons == ["the other end closed the stream while there was no connection"]


def test_what_is_held_comes_before_the_end(both: BothEnds):
    both.receiver.room = 0
    both.send()
    both.send()
    both.sender.end.close()
    both.settle()
    assert both.receiver.running
    both.receiver.room = 2
    both.receiver.end.resume()
    both.settle()
    assert both.receiver.got == [1, 2]
    assert not both.receiver.running


def test_another_reliability_waits_for_its_counterpart():
    both = BothEnds(reliable=True)
    both.open_talker()
    both.reliable = False
    both.open_listener()
    both.connect()
    both.settle()
    assert not both.sender.up
    both.open_talker()
    both.settle()
    assert both.receiver.running


def test_another_key_is_another_process(both: BothEnds):
    hello = wire.Hello(wire.VERSION, 2, bytes.fromhex(LISTENER), 8).pack()
    opening = wire.Open(both.reliable, False, 1, b"\xc3" * 16, 0, 0, 9, 9).pack()
    both.publishing.arrived(b"thief", b"", "another key", both.now_s)
    both.publishing.arrived(b"thief", hello + opening, "another key", both.now_s)
    both.send(b"mine")
    both.settle()
    assert both.receiver.payloads == [b"mine"]
    assert both.sender.reasons == []


def test_a_receiver_cannot_have_an_unbounded_queue_kept_for_it():
    both = BothEnds(reliable=True)
    both.open_talker()
    both.open_listener()
    both.connect()
    both.settle()
    both.publishing.arrived(both.routing_id, wire.Grant(1, 0, 2**64 - 1, 2**64 - 1, 0).pack(), "", both.now_s)
    for _ in range(100_000):
        if not both.send():
            break
    assert len(both.taken) == 1 << 16


def test_another_version_is_refused(both: BothEnds):
    both.publishing.arrived(b"new", b"", "", both.now_s)
    both.publishing.arrived(b"new", wire.Hello(wire.VERSION + 1, 2, b"n" * 16, 1).pack(), "", both.now_s)
    both.publishing.arrived(b"new", wire.Open(False, False, 1, b"\xc3" * 16, 0, 0, 9, 9).pack(), "", both.now_s)
    both.settle()
    assert both.receiver.running


@pytest.mark.parametrize(
    "record",
    [
        wire.Grant(1, 5, 9, 9, 0),
        wire.Open(True, True, 1, b"\xc3" * 16, 5, 0, 9, 9),
    ],
    ids=["acknowledges what was never sent", "opens twice"],
)
def test_a_subscriber_that_breaks_the_rules_loses_its_streams(record: wire.Grant | wire.Open):
    both = BothEnds(reliable=True)
    both.open_talker()
    both.open_listener()
    both.connect()
    both.settle()
    both.publishing.arrived(both.routing_id, record.pack(), "", both.now_s)
    assert len(both.sender.reasons) == 1
    assert "broke the rules" in both.sender.reasons[0]


@pytest.mark.parametrize(
    ("index", "sequence", "reason"), [(5, 9, "gap"), (0, 0, "order")], ids=["a gap", "a number that does not grow"]
)
def test_a_publisher_that_breaks_the_rules_is_found_out(index: int, sequence: int, reason: str):
    both = BothEnds(reliable=True)
    both.open_talker()
    both.open_listener()
    both.connect()
    both.settle()
    record = wire.DATA_HEADER.pack(wire.DATA, 1, 0, index, sequence, 0, 0)
    with pytest.raises(wire.Malformed, match=reason):
        both.link.arrived(wire.CONNECTION.pack(1) + record, None, both.now_s)


def test_a_publisher_cannot_go_beyond_its_credit(both: BothEnds):
    both.receiver.room = 0
    frame = wire.CONNECTION.pack(1)
    for index in range(receiving.WINDOW + 1):
        frame += wire.DATA_HEADER.pack(wire.DATA, 1, 0, index, index + 1, 0, 0)
    with pytest.raises(wire.Malformed, match="credit"):
        both.link.arrived(frame, None, both.now_s)


STEPS = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 12)),
    st.tuples(st.just("large"), st.integers(1, 2)),
    st.tuples(st.just("to_listener"), st.integers(1, 4)),
    st.tuples(st.just("to_talker"), st.integers(1, 4)),
    st.tuples(st.sampled_from(["cut", "connect", "full", "resume"]), st.just(0)),
    st.tuples(st.just("tick"), st.sampled_from([0, 5, 300, 1100])),
)


def step(both: BothEnds, what: str, how_many: int) -> None:
    match what:
        case "cut" if both.up:
            both.cut()
        case "connect" if not both.up:
            both.connect()
        case "full":
            both.receiver.room = 3
        case "resume":
            both.receiver.room = 1 << 60
            both.receiver.end.resume()
        case "tick":
            both.tick(how_many / 1000)
        case _:
            repeat(both, what, how_many)


def repeat(both: BothEnds, what: str, how_many: int) -> None:
    actions = {
        "send": lambda: both.send(b"12345"),
        "large": lambda: both.send(bytes(70_000)),
        "to_listener": both.carry_to_listener,
        "to_talker": both.carry_to_talker,
    }
    for _ in range(how_many if what in actions else 0):
        actions[what]()


@pytest.mark.parametrize("reliable", [True, False], ids=["reliable", "best-effort"])
@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60), st.booleans())
def test_whatever_happens_nothing_is_lost_uncounted_or_twice(reliable: bool, steps: list[tuple[str, int]], late: bool):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receiving, "WINDOW", 8)
        patch.setattr(receiving, "WINDOW_BYTES", 150_000)
        both = BothEnds(reliable)
        both.open_talker()
        both.open_listener()
        for what, how_many in steps:
            step(both, what, how_many)
        if late and both.up:
            both.cut()
        if not both.up:
            both.connect()
        both.settle()
        step(both, "resume", 0)
        both.settle()
        both.settle()
        got = both.receiver.got
        assert both.receiver.faults == []
        assert both.receiver.running
        assert both.sender.up
        assert got == sorted(set(got))
        assert set(got) <= set(both.taken)
        assert both.receiver.lost_count == len(both.taken) - len(got)
        assert both.sender.lost == both.receiver.lost_count
        if reliable:
            assert got == both.taken
            assert both.sender.end.unacknowledged == 0
