"""From a compiled schema (.bfbs, as flatc writes it) to a `Schema`, by way of FlatBuffers' own reflection.fbs.

A compiled schema may come from anybody, so nothing in it is believed: what this module returns is a schema that can be
laid out, or nothing. The numbers of fields are their ids in reflection.fbs.

Three defaults are not in what flatc writes: the text of a string, a uint64 of 2**63 or more, and the sign of -0.0.
`fbs_source` puts them there as the attribute `lunar_default`.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from lunar.errors import SchemaError
from lunar.messages.bfbs_tables import Table, root_table
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
    UnionDefinition,
    UnionMember,
    Vector,
)
from lunar.messages.schema_checks import MAX_ALIGNMENT_BYTES, SHAPE_ATTRIBUTE, parse_shape, structs_in_order

__all__ = ["DEFAULT_ATTRIBUTE", "read_schema"]

DEFAULT_ATTRIBUTE: Final = "lunar_default"
"""The attribute that carries a default as it was written, where flatc would lose it."""

# reflection.BaseType.
_NONE, _UTYPE, _STRING, _VECTOR, _OBJECT, _UNION, _ARRAY, _VECTOR64 = 0, 1, 13, 14, 15, 16, 17, 18
_SCALARS: Final = dict(
    enumerate(
        [
            Scalar.BOOL,
            Scalar.INT8,
            Scalar.UINT8,
            Scalar.INT16,
            Scalar.UINT16,
            Scalar.INT32,
            Scalar.UINT32,
            Scalar.INT64,
            Scalar.UINT64,
            Scalar.FLOAT32,
            Scalar.FLOAT64,
        ],
        start=2,
    )
)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FULL_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Tags:
    """The type of the hidden field that holds a union's tag, or those of a vector of unions."""

    union: str
    many: bool


def read_schema(bfbs: bytes) -> Schema:
    """Reads a compiled schema.

    Args:
        bfbs: What `flatc --binary --schema --bfbs-builtins` wrote; with `--bfbs-comments` there is documentation, too.

    Raises:
        SchemaError: The bytes are corrupt, or the schema asks for what is not supported (64-bit offsets, alignment
            above 16, union tags above 255, a `shape` that does not fit its field). Nothing else is raised, whatever
            the bytes are.
    """
    return _Reader(root_table(bfbs, b"BFBS")).schema()


class _Reader:
    """One compiled schema while it is read. Types refer to definitions by index, so names are read first."""

    def __init__(self, root: Table) -> None:
        self._root = root
        self._objects = root.tables(0)
        self._enums = root.tables(1)
        self._object_names = [_full_name(each.text(0)) for each in self._objects]
        self._enum_names = [_full_name(each.text(0)) for each in self._enums]
        self._definitions: dict[str, Definition] = {}

    def schema(self) -> Schema:
        names = self._enum_names + self._object_names
        if len(set(names)) != len(names):
            raise SchemaError("corrupt compiled schema: two definitions have the same name")
        self._is_struct = {name: each.flag(2) for name, each in zip(self._object_names, self._objects, strict=True)}
        # Enums first: the defaults of fields are held against them.
        for name, each in zip(self._enum_names, self._enums, strict=True):
            self._definitions[name] = self._union(name, each) if each.flag(2) else _enum(name, each)
        for name, each in zip(self._object_names, self._objects, strict=True):
            self._definitions[name] = self._struct(name, each) if each.flag(2) else self._table(name, each)
        root = self._root.table(4)
        schema = Schema(
            dict(sorted(self._definitions.items())),
            None if root is None else self._root_name(root),
            _file_identifier(self._root.text(2)),
        )
        self._check_layouts(schema)
        return schema

    def _root_name(self, root: Table) -> str:
        name = root.text(0)
        if self._is_struct.get(name, True):
            raise SchemaError(f"corrupt compiled schema: the root {name!r} is not one of its tables")
        return name

    # ---- definitions ---------------------------------------------------------------------------------------------

    def _union(self, name: str, each: Table) -> UnionDefinition:
        underlying = each.table(3)
        base = _NONE if underlying is None else underlying.uint8(0)
        if base not in (_UTYPE, 4):  # 4: `union U : ubyte`
            tags = _SCALARS[base].fbs_name if base in _SCALARS else "unknown type"
            raise SchemaError(f"union {name} has tags of {tags}, which is not supported: only uint8 is")
        members = []
        for value in each.tables(1):
            member, tag, type_ = _name(value.text(0), name), value.int64(1), value.table(3)
            if tag == 0 and member == "NONE":
                continue
            if not 1 <= tag <= 255:
                raise SchemaError(f"union {name} gives {member} the tag {tag}: not from 1 to 255")
            members.append(UnionMember(member, tag, self._member_type(f"{name}.{member}", type_)))
        members.sort(key=lambda member: member.tag)
        _check_unique(name, [member.name for member in members])
        _check_unique(name, [member.tag for member in members])
        return UnionDefinition(name, tuple(members), _documentation(each, 5))

    def _member_type(self, where: str, type_: Table | None) -> Named | String:
        base = _NONE if type_ is None else type_.uint8(0)
        if type_ is not None and base == _OBJECT:
            return Named(_at(self._object_names, type_.int32(2, -1), where))
        if base == _STRING:
            return String()
        raise SchemaError(f"corrupt compiled schema: {where} is neither a table nor a struct nor a string")

    def _struct(self, name: str, each: Table) -> StructDefinition:
        found = _by_id(name, [(field.uint16(2), field) for field in each.tables(1)])
        if not found:
            raise SchemaError(f"corrupt compiled schema: struct {name} has no fields")
        fields = []
        for field_id, field in enumerate(found):
            where = f"{name}.{_name(field.text(0), name)}"
            type_ = self._type(where, field)
            if isinstance(type_, _Tags) or not self._is_inline(type_):
                raise SchemaError(f"corrupt compiled schema: {where} cannot be in a struct")
            attributes = _attributes(field, 9)
            fields.append(
                Field(
                    field.text(0),
                    type_,
                    field_id,
                    key=field.flag(8),
                    shape=parse_shape(where, type_, attributes.get(SHAPE_ATTRIBUTE)),
                    documentation=_documentation(field, 10),
                )
            )
        _check_fields(name, fields)
        asked = _force_align(f"struct {name}", _attributes(each, 5))
        return StructDefinition(name, tuple(fields), asked, _documentation(each, 6))

    def _is_inline(self, type_: SchemaType) -> bool:
        element = type_.element if isinstance(type_, Array) else type_
        if isinstance(element, Named):
            return self._is_struct.get(element.name, False) or self._scalar_of(element) is not None
        return isinstance(element, Scalar)

    def _table(self, name: str, each: Table) -> TableDefinition:
        found = _by_id(name, [(field.uint16(2), field) for field in each.tables(1)])
        types = [self._type(f"{name}.{_name(field.text(0), name)}", field) for field in found]
        fields = []
        hidden: tuple[str, _Tags] | None = None
        for field_id, (field, type_) in enumerate(zip(found, types, strict=True)):
            if isinstance(type_, _Tags):
                _check_folded(name, hidden, None)
                hidden = (field.text(0), type_)
                continue
            if isinstance(type_, Array):
                raise SchemaError(f"corrupt compiled schema: {name}.{field.text(0)} is an array in a table")
            _check_folded(name, hidden, self._tags_of(field.text(0), type_))
            hidden = None
            fields.append(self._table_field(name, field, field_id, type_))
        _check_folded(name, hidden, None)
        _check_fields(name, fields)
        return TableDefinition(name, tuple(fields), _documentation(each, 6))

    def _tags_of(self, name: str, type_: SchemaType) -> tuple[str, _Tags] | None:
        element = type_.element if isinstance(type_, Vector) else type_
        if isinstance(element, Named) and isinstance(self._definitions.get(element.name), UnionDefinition):
            return f"{name}_type", _Tags(element.name, isinstance(type_, Vector))
        return None

    def _table_field(self, table: str, field: Table, field_id: int, type_: SchemaType) -> Field:
        name = field.text(0)
        where = f"{table}.{name}"
        attributes = _attributes(field, 9)
        _force_align(where, attributes)
        scalar = self._scalar_of(type_)
        optional, required = field.flag(11), field.flag(7)
        if required and scalar is not None:
            raise SchemaError(f"corrupt compiled schema: {where} is a scalar and required")
        default: int | float | str | None = None
        if scalar is not None and not optional:
            default = self._scalar_default(where, field, type_, scalar, attributes.get(DEFAULT_ATTRIBUTE))
        elif isinstance(type_, String | Vector) and not optional and not required:
            # Neither optional nor required: flatc's way to say that there is a default.
            default = attributes.get(DEFAULT_ATTRIBUTE, "") if isinstance(type_, String) else "[]"
        return Field(
            name,
            type_,
            field_id,
            default=default,
            optional=optional and scalar is not None,
            required=required,
            key=field.flag(8),
            deprecated=field.flag(6),
            shape=parse_shape(where, type_, attributes.get(SHAPE_ATTRIBUTE)),
            documentation=_documentation(field, 10),
        )

    # ---- types and values ----------------------------------------------------------------------------------------

    def _type(self, where: str, field: Table) -> SchemaType | _Tags:
        type_ = field.table(1)
        if type_ is None:
            raise SchemaError(f"corrupt compiled schema: {where} has no type")
        base, element, index = type_.uint8(0), type_.uint8(1), type_.int32(2, -1)
        if base == _VECTOR64 or field.flag(13):
            raise SchemaError(f"{where} has a 64-bit offset (offset64, vector64), which is not supported")
        if base == _UTYPE:
            return _Tags(_at(self._enum_names, index, where), many=False)
        if base == _VECTOR and element == _UTYPE:
            return _Tags(_at(self._enum_names, index, where), many=True)
        if base == _VECTOR:
            return Vector(self._single(where, element, index))
        if base == _ARRAY:
            of = self._single(where, element, index)
            length = type_.uint16(3)
            if isinstance(of, String) or length == 0:
                raise SchemaError(f"corrupt compiled schema: {where} is no array of a fixed length")
            return Array(of, length)
        return self._single(where, base, index)

    def _single(self, where: str, base: int, index: int) -> Scalar | String | Named:
        if base == _OBJECT:
            return Named(_at(self._object_names, index, where))
        if base == _STRING:
            return String()
        if base == _UNION or (base in _SCALARS and index != -1):
            name = _at(self._enum_names, index, where)
            definition = self._definitions[name]
            of = definition.underlying if isinstance(definition, EnumDefinition) else None
            if of is not _SCALARS.get(base):
                raise SchemaError(f"corrupt compiled schema: {where} and {name} disagree about the type")
            return Named(name)
        if base in _SCALARS:
            return _SCALARS[base]
        raise SchemaError(f"corrupt compiled schema: {where} is of the unknown type {base}")

    def _scalar_of(self, type_: SchemaType) -> Scalar | None:
        definition = self._definitions.get(type_.name) if isinstance(type_, Named) else None
        if isinstance(definition, EnumDefinition):
            return definition.underlying
        return type_ if isinstance(type_, Scalar) else None

    def _scalar_default(
        self, where: str, field: Table, type_: SchemaType, scalar: Scalar, written: str | None
    ) -> int | float:
        if scalar.is_float:
            return _float_default(where, field.float64(5), scalar, written)
        value = field.int64(4)
        definition = self._definitions.get(type_.name) if isinstance(type_, Named) else None
        values = dict(definition.values) if isinstance(definition, EnumDefinition) else {}
        if scalar is Scalar.UINT64 and value == 0 and written is not None:
            value = _large_default(where, written, values)
        least, greatest = scalar.limits
        if not least <= value <= greatest:
            raise SchemaError(f"the default {value} of {where} does not fit {scalar.fbs_name}")
        if isinstance(definition, EnumDefinition) and not definition.bit_flags and value not in values.values():
            raise SchemaError(f"the default {value} of {where} is not part of enum {definition.name}")
        return bool(value) if scalar is Scalar.BOOL else value

    # ---- structs -------------------------------------------------------------------------------------------------

    def _check_layouts(self, schema: Schema) -> None:
        """Holds what we compute of each struct against what flatc computed: both must lay it out the same way."""
        tables = dict(zip(self._object_names, self._objects, strict=True))
        for name in structs_in_order(schema):
            each = tables[name]
            size, alignment, offsets = schema.struct_layout(name)
            fields = sorted(each.tables(1), key=lambda field: field.uint16(2))
            # flatc keeps a field's offset in 16 bits.
            stated = [field.uint16(3) for field in fields]
            if (size, alignment) != (each.int32(4), each.int32(3)) or [offset & 0xFFFF for offset in offsets] != stated:
                raise SchemaError(
                    f"struct {name} is laid out as its fields do not ask for: the compiled schema is corrupt, or was "
                    "written without --bfbs-builtins"
                )


def _enum(name: str, each: Table) -> EnumDefinition:
    type_ = each.table(3)
    scalar = None if type_ is None else _SCALARS.get(type_.uint8(0))
    if scalar is None or scalar.is_float or scalar is Scalar.BOOL:
        raise SchemaError(f"corrupt compiled schema: enum {name} is not of an integer type")
    bit_flags = "bit_flags" in _attributes(each, 4)
    least, greatest = scalar.limits
    values = []
    for value in each.tables(1):
        number = value.int64(1)
        if scalar is Scalar.UINT64:
            number %= 2**64
        member = _name(value.text(0), name)
        if not least <= number <= greatest or (bit_flags and number.bit_count() != 1):
            raise SchemaError(f"corrupt compiled schema: {name}.{member} cannot be {number}")
        values.append((member, number))
    if not values:
        raise SchemaError(f"corrupt compiled schema: enum {name} has no values")
    values.sort(key=lambda value: value[1])
    _check_unique(name, [member for member, _ in values])
    _check_unique(name, [number for _, number in values])
    return EnumDefinition(name, scalar, tuple(values), bit_flags, _documentation(each, 5))


def _float_default(where: str, value: float, scalar: Scalar, written: str | None) -> float:
    if math.isnan(value):
        return math.nan  # always this one object, so that equal schemas compare equal
    if scalar is Scalar.FLOAT32 and math.isfinite(value):
        try:
            struct.pack("<f", value)
        except OverflowError as error:
            raise SchemaError(f"the default {value} of {where} does not fit float32") from error
    # flatc leaves out what equals 0.0, and -0.0 does.
    return -0.0 if value == 0.0 and written is not None and written.startswith("-") else value


def _large_default(where: str, written: str, values: Mapping[str, int]) -> int:
    """A uint64's default from how it was written: a number, or names of an enum's values."""
    if re.fullmatch(r"[0-9]{1,20}", written, re.ASCII):
        return int(written)
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", written, re.ASCII):
        return int(written, 16)
    number = 0
    for name in written.split():
        if name not in values:
            raise SchemaError(f"the default {written!r} of {where} is not understood")
        number |= values[name]
    return number


def _full_name(name: str) -> str:
    if not _FULL_NAME.fullmatch(name):
        raise SchemaError(f"corrupt compiled schema: {name[:80]!r} is no name")
    return name


def _name(name: str, owner: str) -> str:
    if not _NAME.fullmatch(name):
        raise SchemaError(f"corrupt compiled schema: {name[:80]!r} in {owner} is no name")
    return name


def _at(names: list[str], index: int, where: str) -> str:
    if not 0 <= index < len(names):
        raise SchemaError(f"corrupt compiled schema: {where} is of type number {index} of {len(names)}")
    return names[index]


def _by_id(owner: str, fields: list[tuple[int, Table]]) -> list[Table]:
    by_id = dict(fields)
    if sorted(by_id) != [*range(len(fields))]:
        raise SchemaError(f"corrupt compiled schema: the ids of {owner}'s fields are not 0 to {len(fields) - 1}")
    return [by_id[field_id] for field_id in range(len(fields))]


def _check_folded(owner: str, hidden: tuple[str, _Tags] | None, expected: tuple[str, _Tags] | None) -> None:
    """A union's value must follow its tag, and a tag be followed by its value."""
    if hidden != expected:
        raise SchemaError(f"corrupt compiled schema: {owner} has {hidden} where a union needs {expected}")


def _check_fields(owner: str, fields: list[Field]) -> None:
    _check_unique(owner, [field.name for field in fields])
    if sum(field.key for field in fields) > 1:
        raise SchemaError(f"corrupt compiled schema: {owner} has more than one key")


def _check_unique(owner: str, things: list[str] | list[int]) -> None:
    if len(set(things)) != len(things):
        raise SchemaError(f"corrupt compiled schema: {owner} has the same name or number twice")


def _file_identifier(text: str) -> str | None:
    if text and len(text.encode()) != 4:
        raise SchemaError(f"corrupt compiled schema: the file identifier {text[:80]!r} is not of four bytes")
    return text or None


def _attributes(owner: Table, field_id: int) -> dict[str, str]:
    return {each.text(0): each.text(1) for each in owner.tables(field_id)}


def _force_align(where: str, attributes: Mapping[str, str]) -> int:
    text = attributes.get("force_align")
    if text is None:
        return 0
    alignment = int(text) if re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) else 0
    if alignment.bit_count() != 1 or alignment > MAX_ALIGNMENT_BYTES:
        allowed = f"a power of two up to {MAX_ALIGNMENT_BYTES}"
        raise SchemaError(f"{where} has force_align {text[:80]!r}, which is not supported: only {allowed} is")
    return alignment


def _documentation(owner: Table, field_id: int) -> tuple[str, ...]:
    # flatc keeps the blank after `///`.
    return tuple(line.removeprefix(" ") for line in owner.texts(field_id))
