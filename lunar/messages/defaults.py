"""What a field of an annotated class is when it is absent, as a schema says it."""

from __future__ import annotations

import math
from typing import Final, TypeAlias

from lunar.errors import SchemaError
from lunar.messages.fields import MISSING, Shape
from lunar.messages.schema import EnumDefinition, Scalar, SchemaType, String, Vector

__all__ = ["Default", "number_default", "reference_default"]

Default: TypeAlias = int | float | str | None

_GREATEST_FLOAT32: Final = (2 - 2**-23) * 2.0**127


def number_default(
    numbers: Scalar | EnumDefinition, given: object, is_optional: bool, where: str
) -> int | float | None:
    """The default of a scalar or enum.

    Args:
        numbers: What its values are.
        given: The default as written, or `MISSING`.
        is_optional: Whether its absence is told apart.
        where: Class and field, for messages to people.

    Raises:
        SchemaError: It cannot have that default, or needs one.
    """
    if is_optional:
        if given is not MISSING and given is not None:
            raise SchemaError(f"{where}: {given!r} cannot be the default of an optional number; allowed: None")
        return None
    if isinstance(numbers, EnumDefinition):
        return _enum_default(numbers, given, where)
    if given is MISSING:
        return 0.0 if numbers.is_float else 0
    if numbers.is_float:
        if isinstance(given, int | float) and not isinstance(given, bool):
            value = float(given)
            # Infinities and NaN fit both sizes.
            if numbers is Scalar.FLOAT64 or not _GREATEST_FLOAT32 < abs(value) < math.inf:
                return value
        raise SchemaError(f"{where}: the default {given!r} is no {numbers.fbs_name}")
    least, greatest = numbers.limits
    if isinstance(given, int) and isinstance(given, bool) == (numbers is Scalar.BOOL) and least <= given <= greatest:
        return int(given)
    allowed = "True, False" if numbers is Scalar.BOOL else f"an integer from {least} to {greatest}"
    raise SchemaError(f"{where}: the default {given!r} is no {numbers.fbs_name}; allowed: {allowed}")


def reference_default(type_: SchemaType, given: object, is_nullable: bool, shape: Shape, where: str) -> Default:
    """The default of text, a sequence, a message or a union, which need not be there.

    Args:
        type_: Its type.
        given: The default as written, or `MISSING`.
        is_nullable: Whether it was annotated with `| None`.
        shape: Of an `Array`, its shape.
        where: Class and field, for messages to people.

    Returns:
        The text, "[]", or None: an absent one reads as None.

    Raises:
        SchemaError: It cannot have that default.
    """
    if isinstance(type_, String):
        if given is None or given is MISSING:
            return _absent("", given, is_nullable, where)
        if isinstance(given, str) and not is_nullable:
            return given
        raise SchemaError(
            f"{where}: {given!r} cannot be the default of text"
            + (" that may be None; allowed: None" if is_nullable else "; allowed: a str")
        )
    if isinstance(type_, Vector):
        if given is None or given is MISSING:
            # No empty sequence has a shape whose every length is given.
            is_free = not shape or shape[0] is None
            return _absent("[]", given, is_nullable, where) if is_free else None
        if isinstance(given, list | tuple | bytes) and not given and not is_nullable:
            return "[]"
        raise SchemaError(
            f"{where}: {given!r} cannot be the default of a sequence; allowed: empty, or None with `| None`"
        )
    if given is None or given is MISSING:
        return None
    raise SchemaError(f"{where}: {given!r} cannot be the default of a message or union; allowed: None")


def _enum_default(definition: EnumDefinition, given: object, where: str) -> int:
    numbers = [number for _, number in definition.values]
    value = 0 if given is MISSING else given
    if isinstance(value, int) and not isinstance(value, bool):
        is_known = value >= 0 and not value & ~sum(numbers) if definition.bit_flags else value in numbers
        if is_known:
            return int(value)
    names = ", ".join(name for name, _ in definition.values)
    needs = "needs a default, as none of the values is 0" if given is MISSING else f"{given!r} cannot be the default"
    raise SchemaError(f"{where}: {needs}; allowed: {names} of {definition.name}")


def _absent(empty: str, given: object, is_nullable: bool, where: str) -> str | None:
    if is_nullable:
        return None
    if given is MISSING:
        return empty
    raise SchemaError(f"{where}: None cannot be the default unless the annotation says `| None`")
