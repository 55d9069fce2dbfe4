"""Where a message type plugs in. Now there is one: raw bytes.

A `MessageType` turns what the user publishes into the bytes that travel, and a received sample into
what the user gets. Its `hash` is the type's identity in the graph: ends with other hashes never match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from lunar.errors import TypeMismatch

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["RAW_BYTES", "MessageType", "RawBytes", "message_type"]

_Published_contra = TypeVar("_Published_contra", contravariant=True)
_Received_co = TypeVar("_Received_co", covariant=True)


class MessageType(Protocol[_Published_contra, _Received_co]):
    """How messages of one type become bytes and are read again. Stateless, so shared by threads."""

    @property
    def name(self) -> str:
        """The type's name, for people."""

    @property
    def hash(self) -> str:
        """The type's identity: 32 lower-case hex digits."""

    def encode(self, value: _Published_contra) -> ReadableBuffer:
        """Returns the bytes of a message, C-contiguous.

        The result may share memory with `value`; the caller copies it before it returns to the user.

        Raises:
            TypeMismatch: `value` is not a message of this type.
        """

    def decode(self, view: memoryview) -> _Received_co:
        """Returns the message that a received sample holds.

        The result may be a view of `view`; it keeps the sample's memory alive as long as it lives.

        Args:
            view: The sample's bytes, read-only.

        Raises:
            VerificationError: The bytes are not a message of this type.
        """


class RawBytes:
    """Messages that are any bytes-like object when published and a read-only memoryview when received."""

    name: Final = "bytes"
    # The first 128 bits of the SHA-256 of b"lunar:bytes".
    hash: Final = "3c5aecf5e3208ab724812b8866f55e48"

    def encode(self, value: ReadableBuffer) -> ReadableBuffer:
        """Returns `value` itself, or a view of it."""
        if isinstance(value, bytes):
            return value
        try:
            view = memoryview(value)
        except TypeError as error:
            raise TypeMismatch("publishing", type(value).__name__, "a bytes-like object") from error
        if not view.c_contiguous:
            raise TypeMismatch("publishing", f"a strided {type(value).__name__}", "contiguous bytes; copy it first")
        return view

    def decode(self, view: memoryview) -> memoryview:
        """Returns `view` itself."""
        return view


RAW_BYTES: Final = RawBytes()
"""The message type that `bytes` stands for."""


def message_type(python_type: type) -> MessageType[ReadableBuffer, memoryview]:
    """Finds the message type that a Python type stands for.

    Args:
        python_type: What the user gives to `create_publisher` or `create_subscription`.

    Raises:
        TypeMismatch: No message type stands for it.
    """
    if python_type is bytes:
        return RAW_BYTES
    raise TypeMismatch("choosing a message type", repr(python_type), "bytes, the only one that is supported")
