"""What any schema must keep to, wherever it comes from, so that it can be laid out and looked at as it says."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from math import prod
from typing import Final

from lunar.errors import SchemaError
from lunar.messages.schema import Array, Scalar, Schema, SchemaType, StructDefinition, Vector, mentions

__all__ = ["MAX_ALIGNMENT_BYTES", "SHAPE_ATTRIBUTE", "parse_shape", "shape_text", "structs_in_order"]

MAX_ALIGNMENT_BYTES: Final = 16
"""The greatest alignment that Lunar keeps: that of its memory's chunks is a multiple of it."""

SHAPE_ATTRIBUTE: Final = "shape"
"""The attribute that says how a vector or array is to be looked at: "3,3", or ",3" for any number of rows."""

# More elements than any vector can have.
_TOO_MANY: Final = 2**31


def parse_shape(where: str, type_: SchemaType, text: str | None) -> tuple[int | None, ...]:
    """Reads a `shape` attribute.

    Args:
        where: The field, for people.
        type_: Its type.
        text: What the attribute says; None: there is none, and the shape is ().

    Raises:
        SchemaError: It is not lengths of 1 or more with commas between (the first may be left out, of a vector with
            more than one axis), the field is no vector or array of scalars, or an array is of another length.
    """
    if text is None:
        return ()
    if not isinstance(type_, Vector | Array) or not isinstance(type_.element, Scalar):
        raise SchemaError(f"{where} has a shape, but is no vector or array of scalars")
    axes = [axis.strip() for axis in text.split(",")]
    free = axes[0] == "" and len(axes) > 1
    if not all(re.fullmatch(r"[0-9]{1,10}", axis, re.ASCII) for axis in axes[free:]):
        raise SchemaError(f"{where} has the malformed shape {text[:80]!r}: write lengths, as in '3,3' or ',3'")
    lengths = [int(axis) for axis in axes[free:]]
    if not 0 < prod(lengths) < _TOO_MANY:
        raise SchemaError(f"{where} has the shape {text[:80]!r}, which no vector can have")
    if isinstance(type_, Array) and (free or prod(lengths) != type_.length):
        raise SchemaError(f"{where} has the shape {text[:80]!r}, but {type_.length} elements")
    return (None, *lengths) if free else tuple(lengths)


def shape_text(shape: tuple[int | None, ...]) -> str:
    """How a shape stands in a `shape` attribute."""
    return ",".join("" if length is None else str(length) for length in shape)


def structs_in_order(schema: Schema) -> list[str]:
    """The names of the structs, each after those that it holds.

    Raises:
        SchemaError: A struct holds itself.
    """
    structs = {name: each for name, each in schema.definitions.items() if isinstance(each, StructDefinition)}
    graph = {name: {held for held in mentions(each) if held in structs} for name, each in sorted(structs.items())}
    try:
        return [*TopologicalSorter(graph).static_order()]
    except CycleError as error:
        raise SchemaError(f"a struct cannot hold itself: {' in '.join(error.args[1])}") from error
