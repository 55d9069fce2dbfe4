"""What carries frames: natively and through pyzmq, with the same outcome."""

import errno
from collections.abc import Iterator

import pytest
import zmq
from lunar_zmq._frames import Frames
from lunar_zmq.frames import FrameCarrier, PyzmqFrames, open_frames
from zmq.backend.cython import _zmq

pytestmark = pytest.mark.native

LARGE = bytes(range(256)) * 1024


class Pair:
    """A ROUTER that refuses what it cannot deliver, and a DEALER that it knows as b"dealer"."""

    def __init__(self, frames: FrameCarrier) -> None:
        self.frames = frames
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.dealer = self.context.socket(zmq.DEALER)
        self.router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.dealer.setsockopt(zmq.ROUTING_ID, b"dealer")
        self.router.bind("inproc://pair")
        self.dealer.connect("inproc://pair")
        self.dealer.send(b"")
        self.router.recv_multipart()

    def send(self, frame: bytes, payload: object = None, to: bytes = b"dealer") -> int:
        return self.frames.send(self.router.underlying, to, frame, payload)  # type: ignore[arg-type]

    def receive(self) -> tuple[bytes, bytes | None] | None:
        came = self.frames.receive(self.dealer.underlying)
        if came is None:
            return None
        frame, payload = came
        return frame, None if payload is None else bytes(payload)

    def close(self) -> None:
        self.context.destroy(linger=0)
        self.frames.collect()


@pytest.fixture(params=["native", "pyzmq"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    pair = Pair(Frames(_zmq.__file__) if request.param == "native" else PyzmqFrames())
    yield pair
    pair.close()


@pytest.fixture
def native() -> Iterator[Pair]:
    pair = Pair(Frames(_zmq.__file__))
    yield pair
    pair.close()


def test_here_they_are_native():
    assert isinstance(open_frames(), Frames)


def test_frames_and_payloads_arrive_in_order(pair: Pair):
    assert pair.send(b"alone") == 0
    assert pair.send(b"header", LARGE) == 0
    assert pair.send(b"", memoryview(LARGE)[1:]) == 0
    assert [pair.receive() for _ in range(4)] == [(b"alone", None), (b"header", LARGE), (b"", LARGE[1:]), None]


def test_a_dealer_sends_without_a_routing_id(pair: Pair):
    assert pair.frames.send(pair.dealer.underlying, None, b"said", None) == 0
    assert pair.router.recv_multipart() == [b"dealer", b"said"]


def test_nothing_to_receive_is_no_error(pair: Pair):
    assert pair.receive() is None


def test_events_tell_of_a_message(pair: Pair):
    assert not pair.frames.events(pair.dealer.underlying) & zmq.POLLIN
    pair.send(b"frame")
    assert pair.frames.events(pair.dealer.underlying) & zmq.POLLIN


def test_frames_that_nobody_should_send_are_dropped(pair: Pair):
    pair.router.send_multipart([b"dealer", b"first", b"second", b"third", b"fourth"])
    pair.send(b"next")
    assert [pair.receive() for _ in range(3)] == [(b"first", b"second"), (b"next", None), None]


def test_who_cannot_be_reached_is_told_and_nothing_is_kept(pair: Pair):
    assert pair.send(b"frame", LARGE, to=b"nobody") == errno.EHOSTUNREACH
    pair.frames.collect()
    assert pair.frames.lent == 0
    assert pair.send(b"frame", LARGE) == 0
    assert pair.receive() == (b"frame", LARGE)


def test_what_is_no_buffer_leaves_no_part_of_a_message_behind(native: Pair):
    with pytest.raises(TypeError):
        native.send(b"frame", 5)
    assert native.frames.lent == 0
    assert native.send(b"frame") == 0
    assert native.receive() == (b"frame", None)


def test_a_payload_is_lent_until_nobody_reads_it_any_more(native: Pair):
    payload = bytearray(LARGE)
    native.send(b"frame", payload)
    came = native.frames.receive(native.dealer.underlying)
    assert came is not None
    _, view = came
    native.frames.collect()
    assert native.frames.lent == 1
    with pytest.raises(BufferError):
        payload.clear()
    payload[0] = 99  # what came in is the very memory that went out
    assert memoryview(view)[0] == 99  # type: ignore[arg-type]
    del came, view
    native.frames.collect()
    assert native.frames.lent == 0
    payload.clear()


def test_what_was_sent_is_let_go_of_by_the_next_send(native: Pair):
    payload = bytearray(LARGE)
    native.send(b"frame", payload)
    assert native.receive() == (b"frame", LARGE)
    native.send(b"next")
    assert native.frames.lent == 0


def test_a_carrier_may_go_before_its_payloads_do():
    frames = Frames(_zmq.__file__)
    pair = Pair(PyzmqFrames())
    frames.send(pair.router.underlying, b"dealer", b"frame", LARGE)
    del frames
    assert pair.receive() == (b"frame", LARGE)
    pair.close()


def test_what_came_in_is_read_only(native: Pair):
    native.send(b"frame", LARGE)
    came = native.frames.receive(native.dealer.underlying)
    assert came is not None
    assert memoryview(came[1]).readonly  # type: ignore[arg-type]


def test_a_library_that_is_not_there_is_refused():
    with pytest.raises(ImportError, match="not loaded"):
        Frames("/nowhere/libzmq.so")


def test_a_library_without_the_functions_is_refused():
    import _struct

    with pytest.raises(ImportError, match="zmq_send"):
        Frames(_struct.__file__)
