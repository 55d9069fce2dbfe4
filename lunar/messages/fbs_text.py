"""From a `Schema` to the text of a `.fbs` file that means the same.

The language has no way to name a type absolutely: a name is looked for in the current namespace first, then in those
around it. And what is not declared yet is taken for a table. So enums come first, then structs, inner ones before outer
ones, unions, and tables at last, and a name that would be found in the wrong namespace is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final

from lunar.errors import SchemaError
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
    Vector,
    mentions,
)
from lunar.messages.schema_checks import SHAPE_ATTRIBUTE, shape_text, structs_in_order

__all__ = ["to_fbs"]

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BUILT_IN_TYPES: Final = frozenset(
    [scalar.fbs_name for scalar in Scalar]
    + ["byte", "ubyte", "short", "ushort", "int", "uint", "long", "ulong", "float", "double", "string"]
)
# Words that mean something else where a default is expected.
_CONSTANTS: Final = frozenset(["true", "false", "null", "nan", "inf", "infinity"])
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]")


def to_fbs(schema: Schema, root: str | None = None) -> str:
    """Prints a schema in the FlatBuffers language.

    Args:
        schema: What to print. Compiled and read again, the text gives an equal schema, if its definitions, fields and
            values are in the order that the schema's documentation asks for.
        root: Full name of a definition: print only what it needs, and if it is a table, make it the root.

    Raises:
        SchemaError: The schema cannot be said in the language: a name is not made of ASCII letters, digits and
            underscores, or would be found in another namespace; a struct holds itself; ids leave a gap.
        KeyError: `root` is not one of its definitions.
    """
    if root is not None:
        is_table = isinstance(schema.definitions[root], TableDefinition)
        identifier = schema.file_identifier if schema.root == root else None
        schema = Schema(schema.closure(root), root if is_table else None, identifier)
    lines = [f'attribute "{SHAPE_ATTRIBUTE}";', ""] if any(_shapes(schema)) else []
    namespace = ""
    for definition in _in_order(schema):
        _check_names(schema, definition)
        here = definition.name.rpartition(".")[0]
        if here != namespace:
            lines += [f"namespace {here};", ""]
            namespace = here
        lines += [*_definition_lines(schema, definition), ""]
    if schema.root is not None:
        lines.append(f"root_type {schema.root};")
    if schema.file_identifier is not None:
        lines.append(f"file_identifier {_quoted(schema.file_identifier)};")
    return "\n".join(lines).rstrip("\n") + "\n"


def _shapes(schema: Schema) -> Iterator[bool]:
    for definition in schema.definitions.values():
        if isinstance(definition, TableDefinition | StructDefinition):
            yield any(field.shape for field in definition.fields)


def _in_order(schema: Schema) -> list[Definition]:
    def of(kind: type[Definition]) -> list[Definition]:
        # A name without a namespace that is not declared yet would be taken for the first in any namespace.
        return sorted(
            (each for each in schema.definitions.values() if isinstance(each, kind)),
            key=lambda each: ("." in each.name, each.name),
        )

    structs = [schema.definitions[name] for name in structs_in_order(schema)]
    return [*of(EnumDefinition), *structs, *of(UnionDefinition), *of(TableDefinition)]


def _check_names(schema: Schema, definition: Definition) -> None:
    spaces = definition.name.split(".")
    members: Sequence[str] = ()
    match definition:
        case EnumDefinition(values=values):
            members = [name for name, _ in values]
        case UnionDefinition():
            members = [member.name for member in definition.members]
        case _:
            members = [field.name for field in definition.fields]
    for name in [*spaces, *members]:
        if not _NAME.fullmatch(name):
            raise SchemaError(f"{name!r} in {definition.name} is not a name in the FlatBuffers language")
    for mentioned in mentions(definition):
        if mentioned.partition(".")[0] in _BUILT_IN_TYPES:
            raise SchemaError(f"{definition.name} cannot name {mentioned}: it would be taken for a built-in type")
        for depth in range(1, len(spaces)):
            shadow = ".".join([*spaces[:depth], mentioned])
            if shadow in schema.definitions:
                raise SchemaError(f"{definition.name} cannot name {mentioned}: {shadow} would be found first")


def _definition_lines(schema: Schema, definition: Definition) -> list[str]:
    name = definition.name.rpartition(".")[2]
    lines = _documentation(definition.documentation, "")
    match definition:
        case EnumDefinition():
            lines += _enum_lines(definition, name)
        case UnionDefinition():
            members = [f"  {each.name}: {_type(each.type)} = {each.tag}," for each in definition.members]
            lines += [f"union {name} {{", *members, "}"]
        case StructDefinition():
            aligned = f" (force_align: {definition.force_align})" if definition.force_align else ""
            lines += [f"struct {name}{aligned} {{", *_struct_field_lines(definition), "}"]
        case TableDefinition():
            lines += [f"table {name} {{", *_table_field_lines(schema, definition), "}"]
    return lines


def _enum_lines(definition: EnumDefinition, name: str) -> list[str]:
    if not definition.values:
        raise SchemaError(f"enum {definition.name} has no values")
    flags = " (bit_flags)" if definition.bit_flags else ""
    lines = [f"enum {name}: {definition.underlying.fbs_name}{flags} {{"]
    for member, number in definition.values:
        # Of flags, the position of the bit is written.
        written = number.bit_length() - 1 if definition.bit_flags else number
        lines.append(f"  {member} = {written},")
    return [*lines, "}"]


def _struct_field_lines(definition: StructDefinition) -> Iterator[str]:
    if not definition.fields:
        raise SchemaError(f"struct {definition.name} has no fields")
    for field in definition.fields:
        yield from _documentation(field.documentation, "  ")
        yield f"  {field.name}: {_type(field.type)}{_attributes(field, [])};"


def _table_field_lines(schema: Schema, definition: TableDefinition) -> Iterator[str]:
    in_order = _is_in_order(schema, definition)
    for field in definition.fields:
        first = [] if in_order else [f"id: {field.id}"]
        yield from _documentation(field.documentation, "  ")
        yield f"  {field.name}: {_type(field.type)}{_default(schema, definition, field)}{_attributes(field, first)};"


def _is_in_order(schema: Schema, definition: TableDefinition) -> bool:
    """Whether flatc would give the fields the ids that they have, were none written down."""
    taken = []
    for field in definition.fields:
        element = field.type.element if isinstance(field.type, Vector) else field.type
        if isinstance(element, Named) and isinstance(schema.definitions[element.name], UnionDefinition):
            taken.append(field.id - 1)  # the tag's
        taken.append(field.id)
    expected = [*range(len(taken))]
    if sorted(taken) != expected:
        raise SchemaError(f"the ids of {definition.name}'s fields take {taken}, not each of 0 to {len(taken) - 1} once")
    return taken == expected


def _type(type_: SchemaType) -> str:
    match type_:
        case Scalar():
            return type_.fbs_name
        case String():
            return "string"
        case Named(name):
            return name
        case Vector(element):
            return f"[{_type(element)}]"
        case Array(element, length):
            return f"[{_type(element)}:{length}]"


def _default(schema: Schema, table: TableDefinition, field: Field) -> str:
    if field.optional:
        return " = null"
    if field.default is None or field.required:
        return ""
    if isinstance(field.default, str):
        return f" = {_quoted(field.default)}" if isinstance(field.type, String) else " = []"
    definition = schema.definitions[field.type.name] if isinstance(field.type, Named) else None
    if isinstance(definition, EnumDefinition):
        return _enum_default(f"{table.name}.{field.name}", definition, int(field.default))
    # -0.0 equals 0, but is another default.
    if field.default == 0 and math.copysign(1, field.default) > 0:
        return ""
    if field.type is Scalar.BOOL:
        return f" = {str(bool(field.default)).lower()}"
    is_float = isinstance(field.type, Scalar) and field.type.is_float
    return f" = {float(field.default)!r}" if is_float else f" = {int(field.default)}"


def _enum_default(where: str, definition: EnumDefinition, number: int) -> str:
    name = next((name for name, value in definition.values if value == number), None)
    if name is None and not definition.bit_flags:
        raise SchemaError(f"the default {number} of {where} is not part of enum {definition.name}")
    if number == 0:
        return ""
    return f" = {number}" if name is None or name in _CONSTANTS else f" = {name}"


def _attributes(field: Field, first: list[str]) -> str:
    attributes = [*first]
    attributes += [word for word in ("required", "key", "deprecated") if getattr(field, word)]
    if field.shape:
        attributes.append(f'{SHAPE_ATTRIBUTE}: "{shape_text(field.shape)}"')
    return f" ({', '.join(attributes)})" if attributes else ""


def _documentation(lines: Sequence[str], indent: str) -> list[str]:
    # A comment ends with its line, and for flatc a file ends with a NUL.
    printed = [part for line in lines for part in re.split(r"\r\n?|[\n\0]", line)]
    return [f"{indent}/// {line}" if line else f"{indent}///" for line in printed]


def _quoted(text: str) -> str:
    written = []
    for character in text:
        if _PLAIN.fullmatch(character):
            written.append(character)
        elif character in '"\\':
            written.append("\\" + character)
        elif ord(character) < 0x10000:
            written.append(f"\\u{ord(character):04x}")
        else:  # as a surrogate pair, like JSON
            rest = ord(character) - 0x10000
            written.append(f"\\u{0xD800 + (rest >> 10):04x}\\u{0xDC00 + (rest & 0x3FF):04x}")
    return f'"{"".join(written)}"'
