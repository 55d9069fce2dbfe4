"""A schema as a JSON document, to be sent to a process that may never have seen the type, and read without trust.

The document holds what a root type needs and no more, without comments. It is canonical: equal schemas have equal
documents, keys and definitions are sorted, and what is usual is left out (a default of zero, a flag that is not set).

    {"definitions": {"robot.Pose": {"fields": [{"id": 0, "name": "x", "type": "float32"}], "kind": "struct"}, ...},
     "root": "robot.State", "version": 1}

A reader trusts nothing: after `from_json` a schema is closed, its ids have no gaps, its structs end, and its size is
bounded, so that whoever compiles it need not look again.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Final, TypeAlias

from lunar.errors import TypeMismatch
from lunar.messages.identity import scalar_of, type_text
from lunar.messages.json_values import (
    FULL_NAME,
    MAX_NAME_LENGTH,
    Record,
    any_record_in,
    flag_in,
    list_in,
    name_in,
    real_in,
    record_in,
    text_in,
    whole_in,
    wrong,
)
from lunar.messages.schema import (
    SCALARS_BY_NAME,
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

__all__ = [
    "MAX_ARRAY_LENGTH",
    "MAX_DEFINITIONS",
    "MAX_FIELDS",
    "MAX_NAME_LENGTH",
    "MAX_STRUCT_BYTES",
    "MAX_STRUCT_DEPTH",
    "from_json",
    "to_json",
]

MAX_DEFINITIONS: Final = 1024
MAX_FIELDS: Final = 4096
"""Of one table or struct, the tags of unions included; also values of one enum."""
MAX_ARRAY_LENGTH: Final = 65535
"""FlatBuffers' own limit for an array in a struct."""
MAX_STRUCT_BYTES: Final = 2**20
"""Room for one array of the greatest length of 8-byte numbers, and then some."""
MAX_STRUCT_DEPTH: Final = 64
"""Structs within structs; far below Python's limit of recursion."""

_VERSION: Final = 1
_MOST_DEFAULT_CHARACTERS: Final = 4096
_MAX_SHAPE_AXES: Final = 32
_MAX_SHAPE_ELEMENTS: Final = 2**31
_SEQUENCE: Final = re.compile(r"\[([^\[\]:]+)(?::([1-9][0-9]{0,5}))?\]")

_Json: TypeAlias = dict[str, "_Json"] | list["_Json"] | str | int | float | bool | None


def to_json(schema: Schema, root: str) -> dict[str, _Json]:
    """The document of a root type.

    Args:
        schema: Holds the type and all that it needs.
        root: Full name of a table.

    Returns:
        Dicts, lists, strings, finite numbers and True alone, ready for `json.dumps`; nothing is shared with `schema`.

    Raises:
        KeyError: The schema does not define `root`, or something that it needs.
        TypeMismatch: `root` is no table.
    """
    closure = schema.closure(root)
    if not isinstance(closure[root], TableDefinition):
        raise TypeMismatch("describing a message type", f"{root}, a {_kind(closure[root])}", "a table")
    document: dict[str, _Json] = {
        "definitions": {name: _definition_json(schema, closure[name]) for name in sorted(closure)},
        "root": root,
        "version": _VERSION,
    }
    if schema.root == root and schema.file_identifier is not None:
        document["file_identifier"] = schema.file_identifier
    return dict(sorted(document.items()))


def from_json(document: object) -> Schema:
    """The schema that a document describes.

    Args:
        document: What `json.loads` returned, from anywhere.

    Returns:
        A schema of the root type and exactly what it needs. Scalars that are not optional have their default filled
        in, 0 where nothing is said.

    Raises:
        VerificationError: The document is not one that `to_json` could have written, or exceeds a limit.
    """
    record = record_in(document, "document", {"definitions", "root", "version"}, {"file_identifier"})
    whole_in(record["version"], "version", _VERSION, _VERSION)
    records = any_record_in(record["definitions"], "definitions", MAX_DEFINITIONS)
    for name in records:
        name_in(name, "definitions", FULL_NAME)
    definitions = _Reading(records).definitions()
    root = name_in(record["root"], "root", FULL_NAME)
    if not isinstance(definitions.get(root), TableDefinition):
        raise wrong("root", "names no table of the document")
    identifier = None
    if "file_identifier" in record:
        identifier = text_in(record["file_identifier"], "file_identifier", 4)
        if len(identifier) != 4 or not identifier.isascii():
            raise wrong("file_identifier", "is not four ASCII characters")
    schema = Schema(definitions, root, identifier)
    _check_structs(schema)
    if len(schema.closure(root)) != len(definitions):
        raise wrong("definitions", "hold more than the root needs")
    return schema


# ---- writing ---------------------------------------------------------------------------------------------------------


def _kind(definition: Definition) -> str:
    match definition:
        case TableDefinition():
            return "table"
        case StructDefinition():
            return "struct"
        case EnumDefinition():
            return "enum"
        case UnionDefinition():
            return "union"


def _definition_json(schema: Schema, definition: Definition) -> _Json:
    record: dict[str, _Json] = {"kind": _kind(definition)}
    match definition:
        case TableDefinition():
            fields = sorted(definition.fields, key=lambda field: field.id)
            record["fields"] = [_field_json(schema, field, in_table=True) for field in fields]
        case StructDefinition():
            record["fields"] = [_field_json(schema, field, in_table=False) for field in definition.fields]
            if definition.force_align:
                record["force_align"] = definition.force_align
        case EnumDefinition():
            record["underlying"] = definition.underlying.fbs_name
            record["values"] = [[name, number] for name, number in sorted(definition.values, key=lambda each: each[1])]
            if definition.bit_flags:
                record["bit_flags"] = True
        case UnionDefinition():
            members = sorted(definition.members, key=lambda member: member.tag)
            record["members"] = [[member.name, member.tag, type_text(member.type)] for member in members]
    return dict(sorted(record.items()))


def _field_json(schema: Schema, field: Field, *, in_table: bool) -> _Json:
    record: dict[str, _Json] = {"id": field.id, "name": field.name, "type": type_text(field.type)}
    for flag in ("deprecated", "key", "optional", "required"):
        if getattr(field, flag):
            record[flag] = True
    if field.shape:
        record["shape"] = [*field.shape]
    if in_table and not field.optional and field.default is not None:
        default = _default_json(scalar_of(schema, field.type), field.default)
        if default is not None:
            record["default"] = default
    return dict(sorted(record.items()))


def _default_json(scalar: Scalar | None, default: int | float | str) -> int | float | str | None:
    """None for a zero. A number that JSON does not know becomes a string."""
    if scalar is None or isinstance(default, str):
        return default
    if not scalar.is_float:
        return int(default) or None
    number = float(default)
    if math.isfinite(number):
        return None if repr(number) == "0.0" else number
    return repr(number)


def _type(value: object, where: str) -> SchemaType:
    text = text_in(value, where, MAX_NAME_LENGTH + 16)
    sequence = _SEQUENCE.fullmatch(text)
    if not sequence:
        return _element(text, where)
    element = _element(sequence[1], where)
    if sequence[2] is None:
        return Vector(element)
    if isinstance(element, String):
        raise wrong(where, "is an array of strings")
    return Array(element, whole_in(int(sequence[2]), f"{where}: length", 1, MAX_ARRAY_LENGTH))


def _element(text: str, where: str) -> Scalar | String | Named:
    if text == "string":
        return String()
    if text in SCALARS_BY_NAME:
        return SCALARS_BY_NAME[text]
    if not text.startswith("."):
        raise wrong(where, f"is of an unknown type {text[:40]!r}")
    return Named(name_in(text[1:], where, FULL_NAME))


# ---- reading: definitions --------------------------------------------------------------------------------------------


class _Reading:
    """One document's definitions. The kinds come first, then the enums: what a field may be depends on them."""

    def __init__(self, records: Record) -> None:
        self._records = {name: any_record_in(value, f"definition {name}", limit=8) for name, value in records.items()}
        self._kinds = {name: record.get("kind") for name, record in self._records.items()}
        self._enums = {name: self._enum(name) for name, kind in self._kinds.items() if kind == "enum"}

    def definitions(self) -> dict[str, Definition]:
        """All of them, by name."""
        # Sorted, so that what comes out does not depend on how the document was sorted.
        return {name: self._definition(name) for name in sorted(self._records)}

    def _definition(self, name: str) -> Definition:
        match self._kinds[name]:
            case "enum":
                return self._enums[name]
            case "union":
                return self._union(name)
            case "struct":
                return self._struct(name)
            case "table":
                record = record_in(self._records[name], f"table {name}", {"fields", "kind"}, ())
                return TableDefinition(name, self._fields(record, f"table {name}", in_table=True))
        raise wrong(f"definition {name}", "is neither table nor struct, enum or union")

    def _enum(self, name: str) -> EnumDefinition:
        where = f"enum {name}"
        record = record_in(self._records[name], where, {"kind", "underlying", "values"}, {"bit_flags"})
        underlying = SCALARS_BY_NAME.get(text_in(record["underlying"], where))
        if underlying is None or underlying.is_float or underlying is Scalar.BOOL:
            raise wrong(where, "has no integer type beneath")
        bit_flags = flag_in(record, "bit_flags", where)
        values: list[tuple[str, int]] = []
        for item in list_in(record["values"], where, MAX_FIELDS):
            pair = list_in(item, where, 2)
            if len(pair) != 2:
                raise wrong(where, "has a value that is no pair of name and number")
            values.append((name_in(pair[0], where), whole_in(pair[1], f"{where}: value", *underlying.limits)))
        _check_ascending([number for _, number in values], where)
        _check_distinct([each for each, _ in values], where)
        if bit_flags and any(number <= 0 or number & (number - 1) for _, number in values):
            raise wrong(where, "has a flag that is not a single bit")
        return EnumDefinition(name, underlying, tuple(values), bit_flags)

    def _union(self, name: str) -> UnionDefinition:
        where = f"union {name}"
        record = record_in(self._records[name], where, {"kind", "members"}, ())
        members: list[UnionMember] = []
        for item in list_in(record["members"], where, 255):
            triple = list_in(item, where, 3)
            if len(triple) != 3:
                raise wrong(where, "has a member that is no triple of name, tag and type")
            type_ = _type(triple[2], where)
            if not isinstance(type_, Named | String) or self._kind(type_, where) not in ("table", "struct", None):
                raise wrong(where, "has a member that is neither table nor struct or string")
            tag = whole_in(triple[1], f"{where}: tag", 1, 255)
            members.append(UnionMember(name_in(triple[0], where), tag, type_))
        _check_ascending([member.tag for member in members], where)
        _check_distinct([member.name for member in members] + ["NONE"], where)
        return UnionDefinition(name, tuple(members))

    def _struct(self, name: str) -> StructDefinition:
        where = f"struct {name}"
        record = record_in(self._records[name], where, {"fields", "kind"}, {"force_align"})
        force_align = whole_in(record.get("force_align", 0), f"{where}: force_align", 0, 16)
        if force_align & (force_align - 1):
            raise wrong(f"{where}: force_align", "is no power of two")
        fields = self._fields(record, where, in_table=False)
        if not fields:
            raise wrong(where, "has no fields")
        return StructDefinition(name, fields, force_align)

    # ---- fields ----

    def _fields(self, record: Record, where: str, *, in_table: bool) -> tuple[Field, ...]:
        items = list_in(record["fields"], where, MAX_FIELDS)
        fields = [self._field(item, where, in_table=in_table) for item in items]
        ids: list[int] = []
        names: list[str] = []
        for field in fields:
            if self._is_union(field.type):
                ids.append(field.id - 1)
                names.append(f"{field.name}_type")
            ids.append(field.id)
            names.append(field.name)
        if ids != [*range(len(ids))]:
            raise wrong(where, "has ids that are not 0, 1, 2 ... in order")
        _check_distinct(names, where)
        if sum(field.key for field in fields) > 1:
            raise wrong(where, "has more than one key")
        return tuple(fields)

    def _field(self, item: object, where: str, *, in_table: bool) -> Field:
        flags = {"default", "deprecated", "optional", "required"} if in_table else set()
        record = record_in(item, f"field of {where}", {"id", "name", "type"}, {*flags, "key", "shape"})
        name = name_in(record["name"], f"field of {where}")
        where = f"{where}: {name}"
        type_ = _type(record["type"], where)
        self._check_place(type_, where, in_table=in_table)
        scalar = self._scalar(type_)
        optional, required = flag_in(record, "optional", where), flag_in(record, "required", where)
        if optional and scalar is None:
            raise wrong(where, "is optional, but no scalar")
        if required and scalar is not None:
            raise wrong(where, "is required, but a scalar")
        if optional and "default" in record:
            raise wrong(where, "is optional and has a default")
        return Field(
            name,
            type_,
            whole_in(record["id"], f"{where}: id", 0, MAX_FIELDS - 1),
            None if optional else self._default(record, type_, scalar, f"{where}: default"),
            optional,
            required,
            self._key(record, type_, where),
            flag_in(record, "deprecated", where),
            _shape(record, type_, f"{where}: shape"),
        )

    def _check_place(self, type_: SchemaType, where: str, *, in_table: bool) -> None:
        element = type_.element if isinstance(type_, Vector | Array) else type_
        kind = self._kind(element, where) if isinstance(element, Named) else None
        if in_table and isinstance(type_, Array):
            raise wrong(where, "is an array, which only a struct can have")
        if not in_table and (isinstance(type_, Vector | String) or kind in ("table", "union")):
            raise wrong(where, "is not of fixed size, as everything in a struct is")

    def _default(
        self, record: Record, type_: SchemaType, scalar: Scalar | None, where: str
    ) -> int | float | str | None:
        if scalar is not None:
            default = record.get("default", 0)
            return real_in(default, where, scalar) if scalar.is_float else whole_in(default, where, *scalar.limits)
        if "default" not in record:
            return None
        default = record["default"]
        text = isinstance(type_, String) and isinstance(default, str) and len(default) <= _MOST_DEFAULT_CHARACTERS
        if not text and not (isinstance(type_, Vector) and default == "[]"):
            raise wrong(where, "is none that a field of its type can have")
        return str(default)

    def _key(self, record: Record, type_: SchemaType, where: str) -> bool:
        key = flag_in(record, "key", where)
        if key and (isinstance(type_, Vector) or self._is_union(type_) or self._is_table(type_)):
            raise wrong(where, "is a key that cannot be compared")
        return key

    def _kind(self, type_: SchemaType, where: str) -> object:
        """None for what is no definition."""
        if not isinstance(type_, Named):
            return None
        if type_.name not in self._kinds:
            raise wrong(where, f"mentions {type_.name[:40]!r}, which is not defined")
        return self._kinds[type_.name]

    def _scalar(self, type_: SchemaType) -> Scalar | None:
        if isinstance(type_, Named):
            return self._enums[type_.name].underlying if type_.name in self._enums else None
        return type_ if isinstance(type_, Scalar) else None

    def _is_table(self, type_: SchemaType) -> bool:
        return isinstance(type_, Named) and self._kinds[type_.name] == "table"

    def _is_union(self, type_: SchemaType) -> bool:
        element = type_.element if isinstance(type_, Vector) else type_
        return isinstance(element, Named) and self._kinds[element.name] == "union"


def _shape(record: Record, type_: SchemaType, where: str) -> tuple[int | None, ...]:
    if "shape" not in record:
        return ()
    if not isinstance(type_, Vector | Array) or not isinstance(type_.element, Scalar):
        raise wrong(where, "is of something else than a sequence of scalars")
    axes = list_in(record["shape"], where, _MAX_SHAPE_AXES)
    free = bool(axes) and axes[0] is None
    fixed = [whole_in(axis, where, 1, _MAX_SHAPE_ELEMENTS) for axis in axes[free:]]
    elements = math.prod(fixed)
    if not axes or elements > _MAX_SHAPE_ELEMENTS:
        raise wrong(where, f"has no axis, or more than {_MAX_SHAPE_ELEMENTS} elements")
    if isinstance(type_, Array) and (free or elements != type_.length):
        raise wrong(where, "does not hold as many elements as the array")
    return (None, *fixed) if free else tuple(fixed)


def _check_ascending(numbers: list[int], where: str) -> None:
    if any(second <= first for first, second in pairwise(numbers)):
        raise wrong(where, "is not in ascending order")


def _check_distinct(names: list[str], where: str) -> None:
    if len({*names}) != len(names):
        raise wrong(where, "uses a name twice")


def _check_structs(schema: Schema) -> None:
    """Refuses structs that hold themselves, lie too deep or are too large, before anybody computes with them."""
    depths: dict[str, int] = {}
    for name, definition in schema.definitions.items():
        if isinstance(definition, StructDefinition):
            _struct_depth(schema, definition, depths, 1)
            if schema.struct_layout(name)[0] > MAX_STRUCT_BYTES:
                raise wrong(f"struct {name}", f"is larger than {MAX_STRUCT_BYTES} bytes")


def _struct_depth(schema: Schema, struct: StructDefinition, depths: dict[str, int], level: int) -> int:
    """How many structs lie within each other, this one included; each is looked into once."""
    if struct.name not in depths:
        # A struct that holds itself ends here too.
        if level > MAX_STRUCT_DEPTH:
            raise wrong(f"struct {struct.name}", f"holds itself, or structs more than {MAX_STRUCT_DEPTH} deep")
        inner = 0
        for field in struct.fields:
            element = field.type.element if isinstance(field.type, Array) else field.type
            held = schema.definitions[element.name] if isinstance(element, Named) else None
            if isinstance(held, StructDefinition):
                inner = max(inner, _struct_depth(schema, held, depths, level + 1))
        depths[struct.name] = inner + 1
    if level + depths[struct.name] - 1 > MAX_STRUCT_DEPTH:
        raise wrong(f"struct {struct.name}", f"holds structs more than {MAX_STRUCT_DEPTH} deep")
    return depths[struct.name]
