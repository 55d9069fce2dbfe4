from typing import final

from _typeshed import ReadableBuffer

@final
class Payload:
    """A large frame that came in, in libzmq's memory; read-only."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Frames:
    """Sends and receives frames through sockets that pyzmq has made; nothing here blocks.

    Args:
        path: pyzmq's extension, which is loaded and linked with libzmq.

    Raises:
        ImportError: It is not, or libzmq lacks a function.

    Attributes:
        lent: Payloads that were sent and not collected yet.
    """

    lent: int
    def __new__(cls, path: str) -> Frames: ...
    def send(self, socket: int, routing_id: bytes | None, frame: bytes, payload: ReadableBuffer | None, /) -> int:
        """Sends a message.

        Args:
            socket: Its address (`zmq.Socket.underlying`).
            routing_id: Of a ROUTER, the connection to send to.
            frame: What is copied.
            payload: What follows, and is not copied but kept until libzmq has sent it and `collect` was called.

        Returns:
            0, or the error as `errno` has it.
        """

    def receive(self, socket: int, /) -> tuple[bytes, Payload | None] | None:
        """Receives a message of a frame and perhaps a payload; drops any further frames. None: there is none.

        Raises:
            OSError: The socket cannot be received from.
        """

    def events(self, socket: int, /) -> int:
        """Returns the events of a socket, `zmq.POLLIN` among them.

        Raises:
            OSError: It has none any more.
        """

    def collect(self) -> None:
        """Lets go of the payloads that libzmq has sent; done by `send`, too."""
