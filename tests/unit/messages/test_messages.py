import hashlib

import pytest

from lunar.errors import LunarError, TypeMismatch
from lunar.messages import RAW_BYTES, MessageType, message_type


def test_bytes_stands_for_raw_bytes() -> None:
    assert message_type(bytes) is RAW_BYTES
    assert RAW_BYTES.name == "bytes"


def test_the_identity_is_what_it_is_said_to_be() -> None:
    assert hashlib.sha256(b"lunar:bytes").hexdigest()[:32] == RAW_BYTES.hash


@pytest.mark.parametrize("python_type", [str, int, bytearray, memoryview, object, type(None), list[int], b"", None])
def test_refuses_other_types_and_names_those_that_are_supported(python_type: type) -> None:
    with pytest.raises(TypeMismatch, match="expected bytes, a class from") as caught:
        message_type(python_type)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, LunarError)
    assert caught.value.got == repr(python_type)


def test_raw_bytes_travel_as_they_are() -> None:
    kind: MessageType = RAW_BYTES
    assert (kind.encoder(), kind.decoder(verify=True), kind.described, kind.plan) == (None,) * 4
