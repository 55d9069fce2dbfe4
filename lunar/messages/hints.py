"""What one annotation says, taken apart: alternatives, sizes of numbers, what an `Array` is of, its name for people."""

from __future__ import annotations

import enum
import types
from collections.abc import Sequence
from typing import Annotated, Final, Union, get_args, get_origin

from lunar.errors import SchemaError
from lunar.messages.fields import Array, ArrayOf
from lunar.messages.schema import Scalar

__all__ = ["alternatives_of", "array_of", "refused", "shown", "size_of"]

_ALLOWED: Final = (
    "bool, int, float, lunar.int8 to lunar.float64, str, bytes, lunar.Array[...], an IntEnum or IntFlag, a message "
    "class, a list of these, a union of message classes and str, and each of these with `| None`"
)


def alternatives_of(annotation: object) -> tuple[list[object], bool]:
    """What a union is of, None apart, and whether None is in it."""
    if type(annotation).__name__ == "TypeAliasType":  # `type X = ...`, from Python 3.12 on
        return alternatives_of(getattr(annotation, "__value__", None))
    if get_origin(annotation) is Annotated and not size_of(annotation) and not array_of(annotation):
        return alternatives_of(get_args(annotation)[0])  # words that are meant for others
    arguments = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    empty = (None, types.NoneType)
    return [each for each in arguments if each not in empty], any(each in empty for each in arguments)


def size_of(annotation: object) -> Scalar | None:
    """The size that a marker gives to a number."""
    metadata = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((each for each in metadata if isinstance(each, Scalar)), None)


def array_of(annotation: object) -> ArrayOf | None:
    """What `Array[...]` says."""
    metadata = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((each for each in metadata if isinstance(each, ArrayOf)), None)


def shown(annotation: object) -> str:
    """An annotation as its author would write it."""
    number = size_of(annotation)
    if number is not None:
        return f"lunar.{number.fbs_name}"
    if array_of(annotation) is not None:
        return "lunar.Array[...]"
    if annotation is types.NoneType:
        return "None"
    return annotation.__qualname__ if isinstance(annotation, type) else repr(annotation)


def refused(where: str, annotation: object) -> SchemaError:
    """The error for an annotation that no field can have, with what to write in its place."""
    remedy = f"allowed: {_ALLOWED}"
    if annotation in (list, Sequence, Array):
        remedy = "say of what: list[...], lunar.Array[...]"
    elif isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        remedy = "derive the enum from IntEnum or IntFlag"
    elif getattr(get_origin(annotation) or annotation, "__module__", "") == "numpy":
        remedy = "write lunar.Array[...]"
    elif isinstance(annotation, type) and annotation.__module__ != "builtins":
        remedy = f"decorate {annotation.__qualname__} with @lunar.message"
    return SchemaError(f"{where}: {shown(annotation)} is not a type that a field of a message can have; {remedy}")
