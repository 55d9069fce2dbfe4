"""A type's identity: a hash over everything that decides how its bytes are read, and over nothing else.

Two ends match at once when their hashes are equal, however each of them wrote its type down. So the hash is taken over
a canonical form of the closure of the root type, in which two spellings of one thing look alike. Versions of Lunar
compare their hashes too: the form that `_CANONICAL_FORM` numbers must never change.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

from lunar.messages.schema import (
    Array,
    Definition,
    EnumDefinition,
    Field,
    Named,
    Scalar,
    Schema,
    SchemaType,
    String,
    StructDefinition,
    TableDefinition,
    Vector,
)

__all__ = ["scalar_of", "type_hash", "type_text", "wire_default"]

_Canonical: TypeAlias = str | int | bool | None | Sequence["_Canonical"]

# Hashed first, so that no form of a later version can have the same text.
_CANONICAL_FORM: Final = "lunar:type:1:"
_HASH_DIGITS: Final = 32


def type_hash(schema: Schema, root: str) -> str:
    """The identity of a type.

    What belongs to it: names of definitions and fields, types, ids, defaults, optional, required and deprecated, the
    values and underlying types of enums and whether they are bit flags, members and tags of unions, the layout of
    structs. What does not: comments, the order of definitions, `key`, `shape`, the file identifier, and definitions
    that the type does not need.

    Args:
        schema: Holds the type.
        root: The type's full name.

    Returns:
        32 lower-case hex digits: the first half of a SHA-256.

    Raises:
        KeyError: The schema does not define `root`, or something that it needs.
    """
    closure = schema.closure(root)
    form: list[_Canonical] = [root, [_canonical(schema, closure[name]) for name in sorted(closure)]]
    text = _CANONICAL_FORM + json.dumps(form, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_HASH_DIGITS]


def type_text(type_: SchemaType) -> str:
    """A type in one word: "float32", "string", ".robot.Pose", "[.robot.Pose]" or, of a fixed length, "[float32:3]".

    The dot before the name of a definition keeps it apart from every builtin one.
    """
    match type_:
        case Scalar():
            return type_.fbs_name
        case String():
            return "string"
        case Named(name):
            return f".{name}"
        case Vector(element):
            return f"[{type_text(element)}]"
        case Array(element, length):
            return f"[{type_text(element)}:{length}]"


def wire_default(schema: Schema, field: Field) -> str | None:
    """The text of what an absent field of a table reads as, or None where its absence is told apart.

    Equal for two defaults exactly if the same value is read: a float32 is rounded to one, and 1 is True in a bool.
    """
    if field.optional:
        return None
    scalar = scalar_of(schema, field.type)
    if scalar is None:
        return None if field.default is None else str(field.default)
    number = 0 if field.default is None else field.default
    if not scalar.is_float:
        return str(int(number))
    return repr(_as_float32(float(number)) if scalar is Scalar.FLOAT32 else float(number))


def scalar_of(schema: Schema, type_: SchemaType) -> Scalar | None:
    """The scalar that a value of a scalar or enum type is stored as; None for other types."""
    if isinstance(type_, Named):
        definition = schema.definitions[type_.name]
        return definition.underlying if isinstance(definition, EnumDefinition) else None
    return type_ if isinstance(type_, Scalar) else None


def _canonical(schema: Schema, definition: Definition) -> _Canonical:
    name = definition.name
    match definition:
        case TableDefinition():
            by_id = sorted(definition.fields, key=lambda field: field.id)
            return [name, "table", [_canonical_field(schema, field) for field in by_id]]
        case StructDefinition():
            # The layout in place of force_align, which may say what holds anyhow.
            size_bytes, alignment, offsets = schema.struct_layout(name)
            fields: list[_Canonical] = [
                [field.name, offset, type_text(field.type)]
                for field, offset in zip(definition.fields, offsets, strict=True)
            ]
            return [name, "struct", size_bytes, alignment, fields]
        case EnumDefinition():
            values = sorted(definition.values, key=lambda value: value[1])
            return [name, "enum", definition.underlying.fbs_name, definition.bit_flags, values]
        case _:
            members = sorted(definition.members, key=lambda member: member.tag)
            return [name, "union", [[member.tag, member.name, type_text(member.type)] for member in members]]


def _canonical_field(schema: Schema, field: Field) -> _Canonical:
    return [
        field.id,
        field.name,
        type_text(field.type),
        # Whether an absent text or sequence reads as empty or as nothing is a matter of the reader's language.
        None if scalar_of(schema, field.type) is None and field.default in ("", "[]") else wire_default(schema, field),
        field.optional,
        field.required,
        field.deprecated,
    ]


def _as_float32(number: float) -> float:
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
    return rounded
