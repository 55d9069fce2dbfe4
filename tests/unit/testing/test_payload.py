"""Numbered payloads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar.errors import VerificationError
from lunar.testing import NUMBERED_BYTES, numbered, read_number

numbers = st.integers(0, 2**64 - 1)
sizes = st.integers(NUMBERED_BYTES, 300)


@given(numbers, sizes)
def test_the_number_and_the_size_are_as_given(number: int, size_bytes: int) -> None:
    payload = numbered(number, size_bytes)
    assert len(payload) == size_bytes
    assert read_number(memoryview(payload)) == number


@given(numbers, sizes, st.data())
def test_a_changed_bit_is_found(number: int, size_bytes: int, data: st.DataObject) -> None:
    payload = bytearray(numbered(number, size_bytes))
    bit = data.draw(st.integers(0, 8 * size_bytes - 1))
    payload[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError, match="not whole"):
        read_number(payload)


@given(st.lists(numbers, min_size=2, max_size=2, unique=True), st.integers(NUMBERED_BYTES + 8, 300), st.data())
def test_a_mixture_of_two_is_found(pair: list[int], size_bytes: int, data: st.DataObject) -> None:
    first, second = (numbered(number, size_bytes) for number in pair)
    cut = data.draw(st.integers(NUMBERED_BYTES, size_bytes - 8))
    mixed = first[:cut] + second[cut:]
    with pytest.raises(VerificationError, match="not whole"):
        read_number(mixed)


def test_too_few_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        numbered(1, NUMBERED_BYTES - 1)
    with pytest.raises(VerificationError, match="too few"):
        read_number(b"")
