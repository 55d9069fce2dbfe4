"""Messages to bytes and back, without a publisher."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from lunar._native import _codec
from lunar.errors import TypeMismatch

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["decode", "encode", "encode_into", "to_fbs"]

M = TypeVar("M", bound=_codec.Message)


def encode(message: _codec.Message) -> bytes:
    """Returns a message as a FlatBuffer, which any FlatBuffers program can read.

    Raises:
        FieldError: A required field is absent, or a list in the message holds what it may not.
        VerificationError: It is larger or nested deeper than a FlatBuffer may be.
    """
    return _codec.encode(message)


def encode_into(message: _codec.Message, buffer: WriteableBuffer, offset: int = 0) -> int:
    """Writes a message into memory of the caller's.

    Args:
        message: The message.
        buffer: Where to; its bytes from `offset` on should lie at an address that is a multiple of 16.
        offset: In bytes.

    Returns:
        How many bytes were written.

    Raises:
        ValueError: It does not fit; nothing was written.
        FieldError: As for `encode`.
    """
    return _codec.write(message, buffer, offset)


def decode(cls: type[M], buffer: ReadableBuffer, *, verify: bool = True) -> M:
    """Returns the message that lies in a buffer, as a view of it.

    Args:
        cls: Its class.
        buffer: A FlatBuffer. The message keeps it alive, and it must not be changed meanwhile.
        verify: Check all of it against the schema first. Without that, what is wrong raises when it is read.

    Raises:
        VerificationError: It is not such a message.
        TypeMismatch: `cls` is no message class.
    """
    plan = getattr(cls, "__lunar_plan__", None)
    if not isinstance(plan, _codec.Plan):
        raise TypeMismatch("decoding", repr(cls), "a message class")
    return cast("M", _codec.view(plan, buffer, verify))


def to_fbs(cls: type) -> str:
    """Returns the schema of a message class, as text of the FlatBuffers language that flatc accepts.

    Args:
        cls: The class; a struct is shown by itself, without the table that it travels in alone.

    Raises:
        SchemaError: A name in it is none in that language.
    """
    from lunar.messages.fbs_text import to_fbs as text_of
    from lunar.messages.schema import Schema, TableDefinition

    schema, name = cast(tuple[Schema, str], cls.__lunar_schema__)  # type: ignore[attr-defined]
    is_root = isinstance(schema.definitions[name], TableDefinition)
    return text_of(Schema(schema.closure(name)), name if is_root else None)
