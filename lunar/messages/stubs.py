"""Prints type stubs (`.pyi`) for the classes that a schema becomes, so that type checkers know their fields."""

from __future__ import annotations

import keyword
from collections.abc import Iterator

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

__all__ = ["stub_text"]

_HEAD = '''"""{title}

Generated: do not edit.
"""

from collections.abc import Sequence
from enum import IntEnum, IntFlag

import numpy as np
from lunar.messages import Message
from lunar.messages.fields import Array
'''


def stub_text(schema: Schema, title: str) -> str:
    """Returns the stub of a module that has the classes of a schema under their last names.

    Args:
        schema: The schema.
        title: First line of the module's docstring.
    """
    parts = [_HEAD.format(title=title)]
    for definition in schema.definitions.values():
        if isinstance(definition, EnumDefinition):
            parts.append("\n".join(_enum(definition)))
        elif not isinstance(definition, UnionDefinition):
            parts.append("\n".join(_message(schema, definition)))
    return "\n\n".join(parts) + "\n"


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _enum(definition: EnumDefinition) -> Iterator[str]:
    yield f"class {_last(definition.name)}({'IntFlag' if definition.bit_flags else 'IntEnum'}):"
    yield from _documentation(definition.documentation)
    for name, number in definition.values:
        yield f"    {name} = {number}"


def _message(schema: Schema, definition: TableDefinition | StructDefinition) -> Iterator[str]:
    in_struct = isinstance(definition, StructDefinition)
    fields = [each for each in definition.fields if not each.deprecated and not keyword.iskeyword(each.name)]
    yield f"class {_last(definition.name)}(Message):"
    yield from _documentation(definition.documentation)
    for each in fields:
        yield f"    {each.name}: {_type(schema, each, in_struct)}"
        yield from _documentation(each.documentation)
    yield "    def __init__("
    yield "        self,"
    for each in fields:
        yield f"        {each.name}: {_type(schema, each, in_struct, given=True)} = ...,"
    yield "    ) -> None: ..."


def _documentation(lines: tuple[str, ...]) -> Iterator[str]:
    text = [line.strip().replace("\\", "\\\\").replace('"""', "'''") for line in lines]
    if len(text) == 1:
        yield f'    """{text[0]}"""'
    elif text:
        yield f'    """{text[0]}'
        yield from (f"    {line}".rstrip() for line in text[1:])
        yield '    """'


def _type(schema: Schema, each: Field, in_struct: bool, *, given: bool = False) -> str:
    """A field's type, as it reads or as the constructor takes it."""
    nullable = each.optional or (not in_struct and not each.required and not _is_number(schema, each.type))
    if isinstance(each.type, Vector | Array):
        element = each.type.element
        if isinstance(element, Scalar):
            return f"Sequence[{_scalar(element)}] | np.ndarray | bytes" if given else f"Array[{_scalar(element)}]"
        if isinstance(element, Named) and isinstance(schema.definitions[element.name], EnumDefinition):
            return "Sequence[int] | np.ndarray" if given else "Array[int]"
        return f"Sequence[{_single(schema, element)}]"
    text = _single(schema, each.type)
    return f"{text} | None" if nullable and "None" not in text else text


def _is_number(schema: Schema, type_: SchemaType) -> bool:
    if isinstance(type_, Named):
        return isinstance(schema.definitions[type_.name], EnumDefinition)
    return isinstance(type_, Scalar)


def _scalar(scalar: Scalar) -> str:
    return "float" if scalar.is_float else "bool" if scalar is Scalar.BOOL else "int"


def _single(schema: Schema, type_: SchemaType) -> str:
    if isinstance(type_, Scalar):
        return _scalar(type_)
    if isinstance(type_, String):
        return "str"
    if isinstance(type_, Vector | Array):
        return f"Sequence[{_single(schema, type_.element)}]"
    definition = schema.definitions[type_.name]
    if isinstance(definition, UnionDefinition):
        return " | ".join([*(_single(schema, member.type) for member in definition.members), "None"])
    return _last(definition.name)
