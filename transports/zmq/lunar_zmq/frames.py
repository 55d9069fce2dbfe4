"""How frames get into sockets and out of them: natively, or through pyzmq where that cannot be."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Protocol

import zmq

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["FrameCarrier", "PyzmqFrames", "open_frames"]

_log = logging.getLogger("lunar")


class FrameCarrier(Protocol):
    """Sends and receives messages; sockets are named by their addresses (`zmq.Socket.underlying`). Never blocks.

    Attributes:
        lent: Payloads that were sent and that `collect` has still to let go of.
    """

    @property
    def lent(self) -> int: ...  # noqa: D102 - above

    def send(self, socket: int, routing_id: bytes | None, frame: bytes, payload: ReadableBuffer | None, /) -> int:
        """Sends a message; returns 0, or the error as `errno` has it. The payload is not copied, but kept."""

    def receive(self, socket: int, /) -> tuple[bytes, ReadableBuffer | None] | None:
        """Receives a message of a frame and perhaps a payload, which is not copied; None if there is none."""

    def events(self, socket: int, /) -> int:
        """Returns a socket's events."""

    def collect(self) -> None:
        """Lets go of payloads that were sent."""


class PyzmqFrames:
    """Frames through pyzmq, which has a thread that lets go of payloads."""

    lent: Final = 0

    def __init__(self) -> None:
        self._sockets: dict[int, zmq.Socket[bytes]] = {}

    def _at(self, address: int) -> zmq.Socket[bytes]:
        socket = self._sockets.get(address)
        if socket is None:
            socket = self._sockets[address] = zmq.Socket.shadow(address)
        return socket

    def send(self, socket: int, routing_id: bytes | None, frame: bytes, payload: ReadableBuffer | None, /) -> int:
        """See `FrameCarrier`."""
        send = self._at(socket).send
        try:
            if routing_id is not None:
                send(routing_id, zmq.NOBLOCK | zmq.SNDMORE)
            if payload is None:
                send(frame, zmq.NOBLOCK)
            else:
                send(frame, zmq.NOBLOCK | zmq.SNDMORE)
                send(payload, zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            return int(error.errno)
        return 0

    def receive(self, socket: int, /) -> tuple[bytes, ReadableBuffer | None] | None:
        """See `FrameCarrier`."""
        source = self._at(socket)
        try:
            frame: bytes = source.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        if not source.getsockopt(zmq.RCVMORE):
            return frame, None
        payload: ReadableBuffer = source.recv(zmq.NOBLOCK, copy=False).buffer
        while source.getsockopt(zmq.RCVMORE):
            source.recv(zmq.NOBLOCK)  # nobody says this; it must not be taken for the next message
        return frame, payload

    def events(self, socket: int, /) -> int:
        """See `FrameCarrier`."""
        return int(self._at(socket).getsockopt(zmq.EVENTS))

    def collect(self) -> None:
        """See `FrameCarrier`."""


def open_frames() -> FrameCarrier:
    """Returns what carries the frames of an engine's sockets."""
    try:
        from zmq.backend.cython import _zmq

        from lunar_zmq._frames import Frames

        return Frames(_zmq.__file__)
    except ImportError as error:  # pyzmq was built in a way that hides libzmq, or for another interpreter
        _log.debug("zmq: frames go through pyzmq, which is slower for large messages: %s", error)
        return PyzmqFrames()
