"""Frames from a hostile peer on the allow list: at worst it loses its own streams; nothing is raised at this side."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lunar_zmq import wire

from tests.unit.transports.zmq.both_ends import LISTENER, TALKER, BothEnds

SMALL = st.integers(0, 5)
NUMBER = st.one_of(SMALL, st.integers(0, 2**64 - 1))
STREAM = st.one_of(SMALL, st.integers(0, 2**32 - 1))
PUBLISHER = st.sampled_from([b"\xc3" * 16, bytes(16)])
ME = st.sampled_from([bytes.fromhex(LISTENER), bytes(16)])


def mangled(frames: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.one_of(
        frames,
        st.binary(max_size=60),
        st.builds(lambda frame, at, to: frame[:at] + to + frame[at + 1 :], frames, SMALL, st.binary(max_size=2)),
        st.builds(lambda frame, at: frame[:at], frames, st.integers(0, 80)),
    )


SUBSCRIBER_FRAMES = mangled(
    st.lists(
        st.one_of(
            st.builds(lambda *a: wire.Hello(*a).pack(), st.integers(0, 2), SMALL, ME, SMALL),
            st.builds(
                lambda *a: wire.Open(*a).pack(),
                *(st.booleans(), st.booleans(), STREAM, PUBLISHER, NUMBER, NUMBER, NUMBER, NUMBER),
            ),
            st.builds(lambda *a: wire.Grant(*a).pack(), STREAM, NUMBER, NUMBER, NUMBER, NUMBER),
            st.builds(lambda *a: wire.Close(*a).pack(), STREAM, st.text(max_size=5)),
            st.just(wire.READY),
        ),
        max_size=4,
    ).map(b"".join)
)


def data(*fields: int) -> bytes:
    kind, stream, size, index, sequence, time_ns, dropped = fields
    return wire.DATA_HEADER.pack(kind, stream, size, index, sequence, time_ns % 2**63, dropped) + bytes(min(size, 9))


PUBLISHER_FRAMES = mangled(
    st.builds(
        lambda connection, records: wire.CONNECTION.pack(connection) + b"".join(records),
        st.one_of(st.just(1), STREAM),
        st.lists(
            st.one_of(
                st.builds(
                    lambda *a: wire.Welcome(*a).pack(),
                    *(st.integers(0, 2), st.just(bytes.fromhex(TALKER)), st.sampled_from([7, 9])),
                ),
                st.builds(lambda *a: wire.Start(*a).pack(), STREAM, NUMBER, NUMBER),
                st.builds(lambda *a: wire.Tally(*a).pack(), STREAM, NUMBER),
                st.builds(lambda *a: wire.Close(*a).pack(), STREAM, st.text(max_size=5)),
                st.builds(lambda a: wire.Refusal(a).pack(), st.text(max_size=5)),
                st.builds(data, st.sampled_from([24, 24, 25, 26]), STREAM, SMALL, NUMBER, NUMBER, NUMBER, NUMBER),
            ),
            max_size=4,
        ),
    )
)


@pytest.mark.hostile
@pytest.mark.parametrize("reliable", [True, False])
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), SUBSCRIBER_FRAMES), max_size=20))
def test_a_publisher_survives_any_subscriber(reliable: bool, frames: list[tuple[bool, bytes]]):
    both = BothEnds(reliable)
    both.open_talker()
    both.up = True
    for new, frame in frames:
        if new:
            both.connections += 1
        both.publishing.arrived(both.routing_id, frame, "", both.now_s)
        if both.sender.up:
            both.send(b"x")
        both.tick(0.3)


@pytest.mark.hostile
@pytest.mark.parametrize("reliable", [True, False])
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), PUBLISHER_FRAMES, st.booleans()), max_size=20))
@example(
    [(False, bytes.fromhex("01000000 13000000 00000000") + wire.DATA_HEADER.pack(wire.DATA, 2, 0, 1, 0, 0, 0), False)]
)
def test_a_subscriber_survives_any_publisher(reliable: bool, frames: list[tuple[bool, bytes, bool]]):
    both = BothEnds(reliable)
    both.open_talker()
    both.open_listener()
    both.connect()
    both.settle()
    for full, frame, with_payload in frames:
        both.receiver.room = 0 if full else 1 << 60
        try:
            both.link.arrived(frame, b"12345" if with_payload else None, both.now_s)
        except wire.Malformed as fault:
            both.link.fault(str(fault))
            assert len(both.receiver.faults) == 1
            break
        both.link.tick(both.now_s)
