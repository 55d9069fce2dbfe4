"""Prints type stubs (`.pyi`) for the classes that a schema becomes, so that type checkers know their fields."""

from __future__ import annotations

import keyword
from collections import Counter
from collections.abc import Iterator
from typing import Final

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
'''
_IMPORTED: Final = {
    "collections.abc": ("Sequence",),
    "enum": ("IntEnum", "IntFlag"),
    "lunar.messages": ("Message",),
    "lunar.messages.fields": ("Array",),
}
_BUILT_IN: Final = ("bool", "float", "int", "str")


def stub_text(schema: Schema, title: str) -> str:
    """Returns the stub of a module that has the classes of a schema under their last names.

    Args:
        schema: The schema.
        title: First line of the module's docstring.
    """
    return "\n".join(_Printer(schema).text(title))


class _Printer:
    """Prints the classes of one schema.

    Within a class a field hides what bears its name, and a class hides what is imported under its own: such things get
    a second name, with an underscore before it, and classes one behind it too.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._definitions = [each for each in schema.definitions.values() if not isinstance(each, UnionDefinition)]
        last_names = Counter(_last(each.name) for each in self._definitions)
        # Nobody can import what two namespaces have, or what is a keyword; other classes mention it all the same.
        self._classes = {
            each.name: "_" + each.name.replace(".", "_")
            if last_names[_last(each.name)] > 1 or keyword.iskeyword(_last(each.name))
            else _last(each.name)
            for each in self._definitions
        }
        self._fields = {
            field.name for each in self._definitions if not isinstance(each, EnumDefinition) for field in each.fields
        }

    def text(self, title: str) -> Iterator[str]:
        yield _HEAD.format(title=title)
        yield from self._imports()
        yield from self._second_names()
        for definition in self._definitions:
            yield ""
            yield from self._enum(definition) if isinstance(definition, EnumDefinition) else self._message(definition)
        yield ""

    def _imports(self) -> Iterator[str]:
        for module, names in _IMPORTED.items():
            if module == "lunar.messages":  # set apart, as linters want it
                yield f"\nimport numpy as {self._outside('np')}"
            imported = [name if self._outside(name) == name else f"{name} as {self._outside(name)}" for name in names]
            yield f"from {module} import {', '.join(imported)}"

    def _second_names(self) -> Iterator[str]:
        hidden = [name for name in _BUILT_IN if self._outside(name) != name]
        if hidden:
            yield "import builtins as _builtins"
        hidden_classes = [name for name in self._classes.values() if name in self._fields]
        if hidden or hidden_classes:
            yield ""
        yield from (f"_{name} = _builtins.{name}" for name in hidden)
        yield from (f"_{name}_ = {name}" for name in hidden_classes)

    def _outside(self, name: str) -> str:
        """What is imported or built in, as this stub calls it."""
        return f"_{name}" if name in self._fields or name in self._classes.values() else name

    def _class(self, full_name: str) -> str:
        """A class as its field's annotations call it."""
        name = self._classes[full_name]
        return f"_{name}_" if name in self._fields else name

    def _enum(self, definition: EnumDefinition) -> Iterator[str]:
        base = self._outside("IntFlag" if definition.bit_flags else "IntEnum")
        yield f"class {self._classes[definition.name]}({base}):"
        yield from _documentation(definition.documentation)
        named = [(name, number) for name, number in definition.values if not keyword.iskeyword(name)]
        for name, number in named:
            yield f"    {name} = {number}"
        if not named:
            yield "    ..."

    def _message(self, definition: TableDefinition | StructDefinition) -> Iterator[str]:
        in_struct = isinstance(definition, StructDefinition)
        fields = [each for each in definition.fields if not each.deprecated and not keyword.iskeyword(each.name)]
        yield f"class {self._classes[definition.name]}({self._outside('Message')}):"
        yield from _documentation(definition.documentation)
        for each in fields:
            yield f"    {each.name}: {self._type(each, in_struct)}"
            yield from _documentation(each.documentation)
        yield "    def __init__("
        yield "        self,"
        for each in fields:
            yield f"        {each.name}: {self._type(each, in_struct, given=True)} = ...,"
        yield "    ) -> None: ..."

    def _type(self, each: Field, in_struct: bool, *, given: bool = False) -> str:
        """A field's type, as it reads or as the constructor takes it."""
        nullable = each.optional or (not in_struct and not each.required and not self._is_number(each.type))
        if isinstance(each.type, Vector | Array):
            element = each.type.element
            sequence = self._outside("Sequence")
            if self._is_number(element):
                number = self._single(element) if isinstance(element, Scalar) else self._outside("int")
                if given:
                    return f"{self._rows(each, number)} | {self._outside('np')}.ndarray"
                return f"{self._outside('Array')}[{number}]"
            return f"{sequence}[{self._single(element)}]"
        text = self._single(each.type)
        return f"{text} | None" if nullable and "None" not in text else text

    def _rows(self, each: Field, number: str) -> str:
        sequence = self._outside("Sequence")
        nested = f"{sequence}[{number}]"
        for _ in each.shape[1:]:
            nested = f"{sequence}[{nested}]"
        return nested if len(each.shape) < 2 else f"{sequence}[{number}] | {nested}"

    def _is_number(self, type_: SchemaType) -> bool:
        if isinstance(type_, Named):
            return isinstance(self._schema.definitions[type_.name], EnumDefinition)
        return isinstance(type_, Scalar)

    def _single(self, type_: SchemaType) -> str:
        if isinstance(type_, Scalar):
            return self._outside("float" if type_.is_float else "bool" if type_ is Scalar.BOOL else "int")
        if isinstance(type_, String):
            return self._outside("str")
        if isinstance(type_, Vector | Array):
            return f"{self._outside('Sequence')}[{self._single(type_.element)}]"
        definition = self._schema.definitions[type_.name]
        if isinstance(definition, UnionDefinition):
            return " | ".join([*(self._single(member.type) for member in definition.members), "None"])
        return self._class(definition.name)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _documentation(lines: tuple[str, ...]) -> Iterator[str]:
    text = [line.strip().replace("\\", "\\\\").replace('"""', "'''") for line in lines]
    if len(text) == 1:
        # A quotation mark at the end would close it too early.
        yield f'    """{text[0]}{" " if text[0].endswith(chr(34)) else ""}"""'
    elif text:
        yield f'    """{text[0]}'
        yield from (f"    {line}".rstrip() for line in text[1:])
        yield '    """'
