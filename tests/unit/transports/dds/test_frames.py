"""What DDS samples hold, taken apart again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lunar_dds import frames

from lunar.errors import PeerFault

pytestmark = pytest.mark.native

IDS = st.binary(min_size=16, max_size=16)
COUNTS = st.integers(0, 2**64 - 1)


@given(
    kind=st.integers(frames.SHARED, frames.CLOSE),
    publisher=IDS,
    session=st.integers(0, 2**32 - 1),
    sequence=COUNTS,
    time_ns=st.integers(-(2**63), 2**63 - 1),
    dropped=COUNTS,
    extra=COUNTS,
    audience=st.lists(IDS, max_size=5),
    payload=st.binary(max_size=50),
)
def test_what_is_laid_out_is_read_again(
    kind: int,
    publisher: bytes,
    session: int,
    sequence: int,
    time_ns: int,
    dropped: int,
    extra: int,
    audience: list[bytes],
    payload: bytes,
) -> None:
    head = frames.head(
        kind,
        publisher,
        len(payload),
        session=session,
        sequence=sequence,
        time_ns=time_ns,
        dropped=dropped,
        extra=extra,
        audience=b"".join(audience),
    )
    content = memoryview(head + payload + b"\0" * (-len(head + payload) % 4))
    frame = frames.parse(content)
    assert (frame.kind, frame.publisher, frame.session) == (kind, publisher, session)
    assert (frame.sequence, frame.time_ns, frame.dropped, frame.extra) == (sequence, time_ns, dropped, extra)
    assert all(frame.is_for(each) == (kind != frames.SHARED) for each in audience)
    assert (bytes(frame), frame.payload_bytes) == (payload, len(payload))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        frame = frames.parse(memoryview(content))
    except PeerFault:
        return
    assert bytes(frame) in content
    assert frame.payload_bytes == len(bytes(frame))


def test_a_shared_parcel_is_for_all_but_its_audience() -> None:
    def frame(kind: int, *audience: bytes) -> frames.Frame:
        return frames.parse(memoryview(frames.head(kind, b"p" * 16, audience=b"".join(audience))))

    one, other = b"\1" * 16, b"\2" * 16
    assert frame(frames.SHARED).is_for(one)
    assert frame(frames.SHARED, other).is_for(one)
    assert not frame(frames.SHARED, other, one).is_for(one)
    assert frame(frames.DIRECTED, other, one).is_for(one)
    assert not frame(frames.DIRECTED, other).is_for(one)
    assert not frame(frames.DIRECTED).is_for(one)


def test_an_id_across_two_of_the_audience_is_not_meant() -> None:
    named = frames.head(frames.DIRECTED, b"p" * 16, audience=b"a" * 8 + b"b" * 8 + b"c" * 16)
    assert not frames.parse(memoryview(named)).is_for(b"b" * 8 + b"c" * 8)


@pytest.mark.parametrize("kind", [0, 9, 255])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    with pytest.raises(PeerFault, match=f"kind {kind}"):
        frames.parse(memoryview(frames.head(kind, b"p" * 16)))
