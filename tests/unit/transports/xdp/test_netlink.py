"""Netlink messages: packed and taken apart, and no length of theirs believed."""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lunar_xdp.links import read_link
from lunar_xdp.netlink import GENERIC, Message, NetlinkSocket, attribute, number, pack, read_attributes, read_messages
from lunar_xdp.paths import read_neighbour, read_route

attributes = st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=20), max_size=6)
bodies = st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=6)


@pytest.fixture
def asking() -> Iterator[NetlinkSocket]:
    with closing(NetlinkSocket()) as asking:
        yield asking


@given(bodies)
def test_messages_are_read_as_they_were_packed(messages: list[tuple[int, bytes]]):
    data = b""
    for sequence, (kind, body) in enumerate(messages):
        data += bytes(-len(data) % 4) + pack(kind, sequence, body)
    assert list(read_messages(data)) == [Message(kind, n, body) for n, (kind, body) in enumerate(messages)]


@given(attributes)
def test_attributes_are_read_as_they_were_packed(wanted: dict[int, bytes]):
    data = b"1234" + b"".join(attribute(kind, value) for kind, value in wanted.items())
    assert read_attributes(data, 4) == wanted


def test_flags_of_an_attributes_kind_are_no_part_of_it():
    assert read_attributes(attribute(0x8000 | 5, b"nested")) == {5: b"nested"}


@pytest.mark.parametrize("length", [0, 3, 15, 21, 1 << 31, (1 << 32) - 1])
def test_a_message_of_impossible_length_ends_the_datagram(length: int):
    good = pack(1, 2, b"good")
    assert list(read_messages(good + struct.pack("=IHHII", length, 1, 0, 3, 0) + b"1234")) == [Message(1, 2, b"good")]


@pytest.mark.parametrize("length", [0, 3, 9, 65535])
def test_an_attribute_of_impossible_length_ends_them(length: int):
    assert read_attributes(attribute(1, b"good") + struct.pack("=HH", length, 2) + b"1234") == {1: b"good"}


@given(st.binary(max_size=200))
def test_garbage_is_read_without_harm(data: bytes):
    for message in read_messages(data):
        assert len(message.body) < len(data)
    assert sum(map(len, read_attributes(data).values())) <= len(data)


@given(st.sampled_from([read_link, read_route, read_neighbour]), st.binary(max_size=16), attributes)
def test_garbage_is_a_link_a_route_a_neighbour_or_none(read, start: bytes, behind: dict[int, bytes]):
    """The kernel would not send it; but what is read must not depend on that."""
    family = bytes([socket.AF_INET]) if start[:1] > b"\x80" else start[:1]
    read(family + start[1:] + b"".join(attribute(kind, value) for kind, value in behind.items()))


def test_a_number_has_whatever_size():
    found = {1: b"\x05", 2: struct.pack("=H", 0x1234), 3: struct.pack("=Q", 1 << 40), 4: b""}
    assert [number(found, kind, 7) for kind in (1, 2, 3, 4, 5)] == [5, 0x1234, 1 << 40, 7, 7]


def test_the_kernels_error_is_raised(asking: NetlinkSocket):
    with pytest.raises(OSError, match=os.strerror(errno.ENODEV)) as caught:
        asking.ask(18, struct.pack("=BxHiII", 0, 0, 0x7FFFFFFF, 0, 0))
    assert caught.value.errno == errno.ENODEV


def test_a_listener_does_not_wait():
    with closing(NetlinkSocket(groups=(1,))) as listener:
        assert list(listener.listen()) == []


def test_a_protocol_that_is_not_there_leaves_nothing_open(no_leaks: object):
    with pytest.raises(OSError, match="not supported"):
        NetlinkSocket(protocol=31)
    with pytest.raises(OSError, match="argument"):
        NetlinkSocket(groups=(1 << 20,))


def test_the_kernels_controller_answers_as_well():
    with closing(NetlinkSocket(GENERIC)) as asking:
        answer = asking.ask(16, struct.pack("=BBH", 3, 1, 0) + attribute(2, b"nlctrl\0"))
    assert number(read_attributes(answer.body, 4), 1) == 16


def test_what_is_not_the_kernels_does_not_count():
    """Whoever may, can write to another process's netlink socket."""
    with (
        closing(NetlinkSocket(groups=(1,))) as listener,
        closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)) as forger,
    ):
        with closing(socket.socket(fileno=os.dup(listener.fileno()))) as same:
            port_id = same.getsockname()[0]
        try:
            forger.sendto(pack(16, 0, b"forged"), (port_id, 0))
        except OSError as error:
            pytest.skip(f"the kernel does not let this process write to another one's netlink socket: {error}")
        assert list(listener.listen()) == []
