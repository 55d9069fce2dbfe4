"""Small messages are drafted, larger ones measured: nothing shows where the one ends and the other begins."""

import struct
from typing import Any

import pytest

from lunar import Node, QoS
from lunar.messages import Message, decode, encode, encode_into
from lunar.msgs import DiagnosticArray, DiagnosticStatus, KeyValue, String
from lunar.testing import isolated

pytestmark = pytest.mark.hostile

LENGTHS = [0, 1, 900, *range(990, 1030), 2000, 5000]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_text_of_any_length_is_written_whole(length: int) -> None:
    blob = encode(String(data="x" * length))
    (count,) = struct.unpack_from("<I", blob, len(blob) - length - 5)
    assert (count, blob[-length - 1 :]) == (length, b"x" * length + b"\0")
    assert decode(String, blob).data == "x" * length
    assert encode(decode(String, blob)) == blob


def nested(length: int) -> Message:
    values = [KeyValue(key=f"key {number}", value="v" * (length // 10)) for number in range(10)]
    return DiagnosticArray(status=[DiagnosticStatus(name="n", values=values), DiagnosticStatus(message="last")])


@pytest.mark.parametrize("length", range(0, 1200, 40))
def test_tables_around_the_end_of_a_draft_are_whole(length: int) -> None:
    message = nested(length)
    blob = encode(message)
    read: Any = decode(DiagnosticArray, blob)
    assert read == message
    assert encode(read) == blob
    assert read.copy() == message


@pytest.mark.parametrize("length", [10, 980, 1010, 3000])
def test_what_does_not_fit_is_not_written_at_all(length: int) -> None:
    message = String(data="x" * length)
    size = len(encode(message))
    into = bytearray(b"\xa5" * (size + 10))
    with pytest.raises(ValueError, match="do not fit"):
        encode_into(message, into, 11)
    assert into == b"\xa5" * (size + 10)
    assert encode_into(message, into, 10) == size
    assert bytes(into) == b"\xa5" * 10 + encode(message)


def test_a_publisher_sends_each_message_as_it_is_at_that_time() -> None:
    qos = QoS(depth=100)
    message = String(data="")
    sent = [letter * length for letter in "ab" for length in (5, 5, 2000, 5, 1000)]
    with isolated(), Node("texts") as node:
        pub = node.create_publisher(String, "texts", qos=qos)
        sub = node.create_subscription(String, "texts", qos=qos)
        pub.wait_for_subscribers_blocking(1, 10)
        for text in sent:
            message.data = text
            pub.publish_blocking(message)
        assert [sub.receive_blocking(10).data for _ in sent] == sent
