"""The records: read back as they were written, and garbage refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lunar_zmq import wire

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
ID = st.binary(min_size=16, max_size=16)
REASON = st.text(st.characters(categories=["L", "N"]), max_size=90)

OF_SUBSCRIBER = st.one_of(
    st.builds(wire.Hello, st.integers(0, 255), U32, ID, U64),
    st.builds(wire.Open, st.booleans(), st.booleans(), U32, ID, U64, U64, U64, U64),
    st.builds(wire.Grant, U32, U64, U64, U64, U64),
    st.builds(wire.Close, U32, REASON),
)
OF_PUBLISHER = st.one_of(
    st.builds(wire.Welcome, st.integers(0, 255), ID, U64),
    st.builds(wire.Start, U32, U64, U64),
    st.builds(wire.Tally, U32, U64),
    st.builds(wire.Close, U32, REASON),
    st.builds(wire.Refusal, REASON),
)


@given(st.lists(OF_SUBSCRIBER))
def test_what_a_subscriber_says_is_read_back(records: list[wire.FromSubscriber]):
    frame = b"".join(record.pack() for record in records)  # type: ignore[union-attr]
    assert list(wire.records_of_subscriber(frame + wire.READY)) == [*records, wire.Ready()]


@given(st.lists(OF_PUBLISHER))
def test_what_a_publisher_says_is_read_back(records: list[wire.FromPublisher]):
    frame = b"".join(record.pack() for record in records) + wire.ALIVE  # type: ignore[union-attr]
    at, read = 0, []
    while at < len(frame):
        record, at = wire.parse_control(frame, at)
        read.append(record)
    assert read == [*records, wire.Alive()]


@given(OF_SUBSCRIBER, st.data())
def test_a_cut_record_of_a_subscriber_is_refused(record: wire.Hello, data: st.DataObject):
    frame = record.pack()
    cut = frame[: data.draw(st.integers(1, len(frame) - 1))]
    with pytest.raises(wire.Malformed):
        list(wire.records_of_subscriber(cut))


@given(OF_PUBLISHER, st.data())
def test_a_cut_record_of_a_publisher_is_refused(record: wire.Welcome, data: st.DataObject):
    frame = record.pack()
    cut = frame[: data.draw(st.integers(1, len(frame) - 1))]
    with pytest.raises(wire.Malformed):
        wire.parse_control(cut, 0)


@given(st.binary(max_size=200))
def test_garbage_is_read_or_refused(frame: bytes):
    with contextlib.suppress(wire.Malformed):
        list(wire.records_of_subscriber(frame))
    with contextlib.suppress(wire.Malformed):
        wire.parse_control(frame, 0)


def test_a_reason_is_bounded_and_fit_to_be_printed():
    frame = wire.Close(1, "\x1b[31mred\n" + "é" * 1000).pack()
    [record] = wire.records_of_subscriber(frame)
    assert isinstance(record, wire.Close)
    assert record.reason.startswith("?[31mred?é")
    assert len(frame) < 500
