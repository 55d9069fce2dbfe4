"""Message: the base of every message class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from lunar._native import _codec

__all__ = ["Message"]

Sequence.register(_codec.Elements)

_SHOWN_ELEMENTS = 6


class Message(_codec.Message):
    """A message, or a part of one: what the classes made from schemas have in common.

    One that you make holds the values that you gave it. One that was received is a view: each field is read from the
    sample when it is asked for, arrays are read-only views of the sender's memory, and the sample stays alive as long
    as any of them does. `copy()` returns a detached message that can be changed.

    Messages of one type compare by value, and match patterns by field.
    """

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_shown(getattr(self, name))}" for name in self.__match_args__)
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a message is not pickled: send lunar.messages.encode(message)")


def _shown(value: object) -> str:
    if isinstance(value, memoryview):
        return f"<{value.nbytes} bytes>" if value.nbytes > _SHOWN_ELEMENTS * 8 else repr(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and len(value) > _SHOWN_ELEMENTS:
        start = ", ".join(_shown(each) for each in value[:_SHOWN_ELEMENTS])
        return f"[{start}, ... {len(value)} in all]"
    return repr(value)
