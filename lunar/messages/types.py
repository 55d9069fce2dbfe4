"""Message types: how what a user publishes becomes bytes, and what a subscription's user gets.

A `MessageType`'s `hash` is its identity in the graph: ends with other hashes match only where FlatBuffers' evolution
rules say that each can read what the other writes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from lunar.errors import TypeMismatch

if TYPE_CHECKING:
    from lunar._native import _codec
    from lunar.messages.schema import Schema

__all__ = ["RAW_BYTES", "MessageType", "RawBytes", "message_type"]


class MessageType(Protocol):
    """How messages of one type become bytes and are read again. Stateless, so shared by threads."""

    @property
    def name(self) -> str:
        """The type's full name, for people."""

    @property
    def hash(self) -> str:
        """The type's identity: 32 lower-case hex digits."""

    @property
    def described(self) -> tuple[Schema, str] | None:
        """The type's schema and the name of its root table; None for raw bytes."""

    @property
    def plan(self) -> _codec.Plan | None:
        """The plan of its message class; None where there is none, as for raw bytes."""

    def encoder(self) -> object | None:
        """What the native writer encodes with: a capsule of the codec, a callable from a message to a buffer, or None.

        None stands for messages that are buffers and travel as they are.
        """

    def decoder(self, *, verify: bool) -> Callable[[memoryview], object] | None:
        """What turns a received sample's memory into a message; None: the memory itself is the message.

        Args:
            verify: Check the whole sample against the schema first; what fails raises VerificationError.
        """


class RawBytes:
    """Messages that are any bytes-like object when published and a read-only memoryview when received."""

    name: Final = "bytes"
    # The first 128 bits of the SHA-256 of b"lunar:bytes".
    hash: Final = "3c5aecf5e3208ab724812b8866f55e48"
    described: Final = None
    plan: Final = None

    def encoder(self) -> None:
        """Buffers travel as they are."""

    def decoder(self, *, verify: bool) -> None:
        """The sample's memory is the message."""


RAW_BYTES: Final = RawBytes()
"""The message type that `bytes` stands for."""


def message_type(python_type: type) -> MessageType:
    """Finds the message type that a Python type stands for.

    Args:
        python_type: What the user gives to `create_publisher` or `create_subscription`.

    Raises:
        TypeMismatch: No message type stands for it.
    """
    if python_type is bytes:
        return RAW_BYTES
    if "__lunar_plan__" in getattr(python_type, "__dict__", ()):
        from lunar.messages.structured import structured_type  # schemas are for those who use them

        return structured_type(python_type)
    expected = "bytes, a class from lunar.msgs or lunar.messages.load(), or one decorated with @lunar.message"
    raise TypeMismatch("choosing a message type", repr(python_type), expected)
