import array
import hashlib

import pytest

from lunar.errors import LunarError, TypeMismatch
from lunar.messages import RAW_BYTES, message_type


def test_bytes_stands_for_raw_bytes() -> None:
    assert message_type(bytes) is RAW_BYTES
    assert RAW_BYTES.name == "bytes"


def test_the_identity_is_what_it_is_said_to_be() -> None:
    assert hashlib.sha256(b"lunar:bytes").hexdigest()[:32] == RAW_BYTES.hash


@pytest.mark.parametrize("python_type", [str, int, bytearray, memoryview, object, type(None), list[int], b"", None])
def test_refuses_other_types_and_names_the_one_that_is_supported(python_type: type) -> None:
    with pytest.raises(TypeMismatch, match="expected bytes, the only one that is supported") as caught:
        message_type(python_type)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, LunarError)
    assert caught.value.got == repr(python_type)


@pytest.mark.parametrize(
    "value", [b"", b"abc", bytearray(b"abc"), memoryview(b"abcdef")[2:4], array.array("H", [1, 2])], ids=repr
)
def test_encodes_any_contiguous_buffer_without_a_copy(value: bytes | bytearray | memoryview) -> None:
    assert memoryview(RAW_BYTES.encode(value)).tobytes() == memoryview(value).tobytes()


def test_encoding_shares_the_memory() -> None:
    value = bytearray(b"abc")
    encoded = memoryview(RAW_BYTES.encode(value))
    value[0] = ord("z")
    assert encoded.tobytes() == b"zbc"


@pytest.mark.parametrize("value", ["abc", 7, None, [1, 2]])
def test_refuses_to_encode_what_has_no_buffer(value: object) -> None:
    with pytest.raises(TypeMismatch, match=f"publishing: got {type(value).__name__}, expected a bytes-like object"):
        RAW_BYTES.encode(value)  # type: ignore[arg-type]


def test_refuses_to_encode_a_strided_view() -> None:
    with pytest.raises(TypeMismatch, match="got a strided memoryview, expected contiguous bytes; copy it first"):
        RAW_BYTES.encode(memoryview(b"abcdef")[::2])


def test_decodes_to_the_view_itself() -> None:
    view = memoryview(b"abc")
    assert RAW_BYTES.decode(view) is view
