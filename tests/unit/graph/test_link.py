"""A link's two ends over a socket pair: packets, descriptors, backlog and greeting."""

import os
import socket
from collections.abc import Iterator
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar.errors import PeerFault
from lunar.graph.link import PROTOCOL, Link, Operation
from lunar.graph.waiting import Bells

NAME = f"{'0' * 16}-{'a' * 32}.sock"

texts = st.text(st.characters(codec="utf-8"), max_size=30)
operations = st.lists(
    st.fixed_dictionaries({"op": st.text(min_size=1, max_size=8)}, optional={"n": st.integers(), "text": texts}),
    max_size=30,
)


class Ends:
    """Both ends; `backlogs` counts how often each said that something waits for room."""

    def __init__(self) -> None:
        self.bells = Bells()
        self.backlogs: list[Link] = []
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self.ours, self.theirs = (
            Link(end, self.bells, self.backlogs.append, pid=os.getpid(), uid=os.geteuid()) for end in (ours, theirs)
        )

    def receive_all(self) -> list[tuple[Operation, list[int]]]:
        """What has arrived at the other end, in order."""
        received: list[tuple[Operation, list[int]]] = []
        while True:
            try:
                packet = self.theirs.receive()
            except BlockingIOError:
                return received
            assert packet is not None
            received += packet

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()
        self.bells.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(bursts=st.lists(operations, max_size=4))
def test_operations_arrive_whole_and_in_order(ends: Ends, bursts: list[list[Operation]]) -> None:
    for burst in bursts:
        ends.ours.send_operations(burst)
    received = ends.receive_all()
    assert [operation for operation, _ in received] == [operation for burst in bursts for operation in burst]
    assert all(fds == [] for _, fds in received)


def test_what_does_not_fit_into_a_packet_goes_in_several(ends: Ends) -> None:
    sent: list[Operation] = [{"op": "node", "n": number, "text": "x" * 1000} for number in range(100)]
    ends.ours.send_operations(sent)
    packets = 0
    received: list[Operation] = []
    while len(received) < len(sent):
        packet = ends.theirs.receive()
        assert packet is not None
        received += [operation for operation, _ in packet]
        packets += 1
    assert received == sent
    assert packets > 1


def test_descriptors_belong_to_the_first_operation_and_stay_the_sender_s(ends: Ends) -> None:
    reading, writing = socket.socketpair()
    with reading, writing:
        ends.ours.send_operations([{"op": "first"}, {"op": "second"}], [reading.fileno(), writing.fileno()])
        reading.close()
        (first, fds), (second, none) = ends.receive_all()
        assert (first["op"], first["fds"], second, none) == ("first", 2, {"op": "second"}, [])
        writing.send(b"through")
    assert os.read(fds[0], 10) == b"through"
    for fd in fds:
        assert not os.get_inheritable(fd)
        os.close(fd)


def test_what_the_socket_does_not_take_waits_and_keeps_its_order(ends: Ends) -> None:
    memory = os.memfd_create("passed")
    count = 0
    while not ends.ours.has_backlog:
        ends.ours.send_operations([{"op": "node", "n": count, "text": "x" * 5000}])
        count += 1
    for _ in range(5):
        ends.ours.send_operations([{"op": "node", "n": count}], [memory])
        count += 1
    os.close(memory)
    assert ends.backlogs == [ends.ours] * 6
    received: list[object] = []
    while len(received) < count:
        for operation, fds in ends.receive_all():
            received.append(operation["n"])
            for fd in fds:
                os.close(fd)
        ends.ours.flush()
    assert received == list(range(count))
    assert not ends.ours.has_backlog


def test_sending_to_a_peer_that_has_gone_is_no_error(ends: Ends) -> None:
    ends.theirs.close()
    ends.ours.send_operations([{"op": "node"}])
    ends.ours.flush()
    assert not ends.ours.has_backlog
    assert ends.ours.receive() is None


def test_the_end_of_the_peer_comes_after_what_it_said(ends: Ends) -> None:
    ends.ours.send_operations([{"op": "bye"}])
    ends.ours.close()
    received = ends.theirs.receive()
    assert received is not None
    assert [operation["op"] for operation, _ in received] == ["bye"]
    assert ends.theirs.receive() is None


def test_a_closed_link_sends_nothing_and_closes_once(ends: Ends) -> None:
    ends.ours.close()
    ends.ours.close()
    ends.ours.send_operations([{"op": "node"}])
    assert ends.theirs.receive() is None


def test_a_backlog_gives_its_descriptors_back_when_the_link_closes(ends: Ends) -> None:
    while not ends.ours.has_backlog:
        ends.ours.send_operations([{"op": "node", "text": "x" * 5000}])
    before = set(os.listdir("/proc/self/fd"))
    reading, writing = os.pipe()
    ends.ours.send_operations([{"op": "node"}], [reading, writing])
    os.close(reading)
    os.close(writing)
    assert len(set(os.listdir("/proc/self/fd"))) == len(before) + 2
    ends.ours.close()
    assert len(set(os.listdir("/proc/self/fd"))) < len(before)


def greet(ends: Ends) -> tuple[Operation, list[int]]:
    ends.ours.greet("a" * 32, NAME, 7)
    ((hello, fds),) = ends.receive_all()
    return hello, fds


def test_a_greeting_brings_the_bells(ends: Ends) -> None:
    with pytest.raises(PeerFault, match="speaks before it has greeted"):
        _ = ends.theirs.peer
    hello, fds = greet(ends)
    assert (hello["protocol"], hello["id"], hello["name"], hello["domain"]) == (PROTOCOL, "a" * 32, NAME, 7)
    ends.theirs.take_greeting(hello, fds)
    assert ends.theirs.greeted
    assert ends.theirs.peer is ends.theirs.peer


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": "lunar-link/9.9"}, "two versions of Lunar"),
        ({"protocol": None}, "two versions of Lunar"),
        ({"bells_bytes": 0}, "does not bring its bells"),
        ({"bells_bytes": "many"}, "does not bring its bells"),
        ({"bells_bytes": 1 << 40}, "does not bring its bells"),
        ({"bells_bytes": 4096}, "its bells are not bells"),
    ],
)
def test_a_greeting_that_is_none_is_a_fault_and_its_descriptors_are_closed(
    ends: Ends, change: dict[str, object], reason: str
) -> None:
    hello, fds = greet(ends)
    with pytest.raises(PeerFault, match=reason):
        ends.theirs.take_greeting({**hello, **change}, fds)
    assert not ends.theirs.greeted
    for fd in (3, 4):
        assert fd not in fds or not os.path.exists(f"/proc/self/fd/{fd}")


def test_a_second_greeting_is_a_fault(ends: Ends) -> None:
    hello, fds = greet(ends)
    ends.theirs.take_greeting(hello, fds)
    with pytest.raises(PeerFault, match="greets twice"):
        ends.theirs.take_greeting(hello, [])


def test_a_bell_that_is_no_unix_socket_is_a_fault(ends: Ends) -> None:
    hello, fds = greet(ends)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        with pytest.raises(PeerFault, match="not a Unix socket"):
            ends.theirs.take_greeting(hello, [fds[0], other.detach()])
        page = os.dup(ends.bells.fd)
        with pytest.raises(PeerFault, match="not a Unix socket"):
            ends.theirs.take_greeting(hello, [page, os.memfd_create("no socket")])
        os.close(fds[1])
    with pytest.raises(PeerFault, match="bells are not bells"):
        ends.theirs.take_greeting(hello, [os.memfd_create("no page"), os.memfd_create("no socket")])


@pytest.mark.parametrize(
    "packet",
    [b"", b"{", b"7", b'{"op":"node"}', b"[7]", b'[{"no":"op"}]', b'[{"op":7}]', b'[{"op":"x","fds":1}]',
     b'[{"op":"x","fds":-1}]', b'[{"op":"x","fds":"two"}]', b"\xff\xfe", b"[" * 100_000],
    ids=lambda packet: repr(packet[:24]),
)  # fmt: skip
def test_a_packet_that_is_none_is_a_fault(ends: Ends, packet: bytes) -> None:
    ends.ours.socket.send(packet)
    with pytest.raises(PeerFault):
        ends.theirs.receive()


def test_a_packet_that_is_too_long_is_a_fault(ends: Ends) -> None:
    ends.ours.socket.send(b"[" + b" " * (1 << 17) + b"]")
    with pytest.raises(PeerFault, match="more than 131072 bytes"):
        ends.theirs.receive()


def test_descriptors_that_belong_to_nothing_are_closed(ends: Ends) -> None:
    before = len(os.listdir("/proc/self/fd"))
    first, second = os.memfd_create("first"), os.memfd_create("second")
    socket.send_fds(ends.ours.socket, [b'[{"op":"x","fds":1}]'], [first, second])
    os.close(first)
    os.close(second)
    with pytest.raises(PeerFault, match="belong to no operation"):
        ends.theirs.receive()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_transport_s_message_goes_as_an_operation(ends: Ends) -> None:
    ends.ours.send({"op": "match", "n": 1})
    ((operation, _),) = ends.receive_all()
    body = cast("dict[str, object]", operation["body"])
    assert (operation["op"], operation["transport"], body) == ("transport", "shm", {"op": "match", "n": 1})
