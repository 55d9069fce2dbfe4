"""Message: the base of every message class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from reprlib import recursive_repr
from typing import ClassVar, cast

from lunar._native import _codec

__all__ = ["Message"]

Sequence.register(_codec.Elements)

_SHOWN_ELEMENTS = 6


class Message(_codec.Message):
    """A message, or a part of one: what the classes made from schemas have in common.

    One that you make holds the values that you gave it. One that was received is a view: each field is read from the
    sample when it is asked for, arrays are read-only views of the sender's memory, and the sample stays alive as long
    as any of them does. `copy()` returns a detached message that can be changed.

    Messages of one type compare by value, and match patterns by field. Whatever holds NaN equals nothing, not even
    itself.
    """

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()

    @recursive_repr("...")
    def __repr__(self) -> str:
        held = _codec.detached(self)
        shown = ", ".join(f"{name}={_shown(getattr(held, name))}" for name in self.__match_args__)
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a message is not pickled: send lunar.messages.encode(message)")


def _shown(value: object) -> str:
    if isinstance(value, str | Message) or not hasattr(value, "__getitem__"):
        return repr(value)
    # A list, or a row of an array: NumPy is not imported to ask.
    elements = cast("Sequence[object]", value)
    shown = [_shown(each) for each in _first(elements)]
    if len(elements) > _SHOWN_ELEMENTS:
        shown.append(f"... {len(elements)} in all")
    return f"[{', '.join(shown)}]"


def _first(elements: Sequence[object]) -> Iterable[object]:
    start = elements[:_SHOWN_ELEMENTS]
    # Of an array Python's own numbers, which are shorter.
    return cast("Iterable[object]", start.tolist()) if hasattr(start, "tolist") else start
