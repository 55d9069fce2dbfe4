"""A payload that comes back differently is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lunar_perf.payload import CorruptPayload, check_echo, pattern, stamped


@given(st.integers(0, 5000))
def test_a_pattern_has_the_size_asked_for(size_bytes: int) -> None:
    assert len(pattern(size_bytes)) == size_bytes


def test_a_message_too_small_for_its_number_is_refused() -> None:
    assert len(stamped(8)) == 8
    with pytest.raises(ValueError, match="sequence number of 8 bytes"):
        stamped(7)


@given(st.integers(2, 2000), st.data())
def test_one_wrong_byte_or_a_shift_is_corruption(size_bytes: int, data: st.DataObject) -> None:
    sent = pattern(size_bytes)
    check_echo(sent, bytes(sent))
    wrong = bytearray(sent)
    wrong[data.draw(st.integers(0, size_bytes - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptPayload):
        check_echo(sent, bytes(wrong))
    with pytest.raises(CorruptPayload):
        check_echo(sent, sent[1:] + sent[:1])
