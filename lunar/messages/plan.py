"""Compiles schemas into what the native codec works with: a plan for each table and struct, with its message class.

The numbers of kinds, scalars and flags are those of lunar/_native/codec/codec.h.
"""

from __future__ import annotations

import enum
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, cast

from lunar._native import _codec
from lunar.errors import SchemaError
from lunar.messages.arrays import array_maker
from lunar.messages.message import Message
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
)

__all__ = ["Compiler"]

_KINDS: Final = {
    name: number
    for number, name in enumerate(
        ("scalar", "string", "struct", "table", "union", "scalars", "strings", "structs", "tables", "unions")
    )
}
_SCALARS: Final = {scalar: number for number, scalar in enumerate(Scalar)}
_OPTIONAL, _REQUIRED = 1, 2


@dataclass(slots=True)
class Compiler:
    """Makes the classes of one schema, each when it is first asked for.

    Attributes:
        schema: The definitions.
        module: What the classes' `__module__` says.
        given: Classes that exist already, by full name: enums and messages of other schemas, used as they are.
        bases: Base classes and attributes for message classes that a user wrote, by full name.
        annotated: The schema comes from an annotated class, which says of each sequence whether an absent one is
            empty; in that of a file any is.
    """

    schema: Schema
    module: str
    given: dict[str, type] = field(default_factory=dict)
    bases: Mapping[str, tuple[tuple[type, ...], dict[str, object]]] = field(default_factory=dict)
    annotated: bool = False
    _unfilled: list[TableDefinition | StructDefinition] = field(default_factory=list, init=False, repr=False)
    # Nobody else may see a class before it is filled.
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False, compare=False)

    def class_of(self, name: str) -> type:
        """The class of a definition: a message class or an enum.

        Raises:
            KeyError: The schema has no such definition.
            SchemaError: A name in it has a meaning of its own in Python.
        """
        with self._lock:
            if name not in self.given:
                definition = self.schema.definitions[name]
                if isinstance(definition, EnumDefinition):
                    self.given[name] = _enum_class(definition, self.module)
                elif isinstance(definition, UnionDefinition):
                    raise KeyError(name)
                else:
                    self._compile(definition)
            return self.given[name]

    def plan_of(self, name: str) -> _codec.Plan:
        """The plan of a table or struct."""
        plan: _codec.Plan = self.class_of(name).__lunar_plan__  # type: ignore[attr-defined]
        return plan

    def _compile(self, definition: TableDefinition | StructDefinition) -> None:
        for each in definition.fields:
            _check_name(definition, each.name)
        is_struct = isinstance(definition, StructDefinition)
        size, alignment = self.schema.struct_layout(definition.name)[:2] if is_struct else (0, 1)
        identifier = self.schema.file_identifier if definition.name == self.schema.root else None
        plan = _codec.Plan(definition.name, is_struct, size, alignment, identifier.encode() if identifier else None)
        shown = [each for each in definition.fields if not each.deprecated or is_struct]
        bases, attributes = self.bases.get(definition.name, ((), {}))
        namespace: dict[str, object] = {
            "__slots__": (),
            "__module__": self.module,
            "__qualname__": definition.name.rpartition(".")[2],
            "__doc__": "\n".join(line.strip() for line in definition.documentation) or None,
            **attributes,
            "__match_args__": tuple(each.name for each in shown),
            "__lunar_plan__": plan,
            "__lunar_schema__": (self.schema, definition.name),
            "__lunar_classes__": self.given,
            **{each.name: _codec.Field(plan, index) for index, each in enumerate(shown)},
        }
        made = type(definition.name.rpartition(".")[2], (*bases, Message), namespace)
        self.given[definition.name] = made  # before its fields are compiled: they may mention it
        self._unfilled.append(definition)
        if len(self._unfilled) == 1:
            self._fill()

    def _fill(self) -> None:
        """Fills the first plan, and then those that were made for it: one after another, whatever mentions what.

        The first stays in the list until all are filled, so that none of the others begins this anew.
        """
        filled = 0
        try:
            while filled < len(self._unfilled):
                self._fill_plan(self._unfilled[filled])
                filled += 1
        except BaseException:
            for definition in self._unfilled:  # each may hold one that has no fields
                del self.given[definition.name]
            raise
        finally:
            self._unfilled.clear()

    def _fill_plan(self, definition: TableDefinition | StructDefinition) -> None:
        is_struct = isinstance(definition, StructDefinition)
        offsets = self.schema.struct_layout(definition.name)[2] if is_struct else (0,) * len(definition.fields)
        placed = zip(definition.fields, offsets, strict=True)
        described = tuple(self._describe(each, at) for each, at in placed if not each.deprecated or is_struct)
        self.plan_of(definition.name).fill(self.given[definition.name], described)

    def _describe(self, each: Field, offset: int) -> tuple[object, ...]:
        """A field as `Plan.fill` takes it."""
        kind, element = self._kind(each.type)
        size, alignment = self.schema.inline_size(element)
        base, enum_class = self._number(element)
        exactly, multiple = _counts(each)
        flags = (_OPTIONAL if each.optional else 0) | (_REQUIRED if each.required else 0)
        sub = self.plan_of(element.name) if isinstance(element, Named) and kind in _WITH_PLAN else None
        return (
            each.name,
            _KINDS[kind],
            _SCALARS[base],
            flags,
            each.id,
            offset,
            size,
            alignment,
            each.type.length if isinstance(each.type, Array) else 0,
            exactly,
            multiple,
            tuple(axis or 0 for axis in each.shape),
            _bits(base, each.default),
            self._absent(each, kind, base, enum_class),
            sub,
            self._members(element),
            enum_class,
            None if enum_class is None else {int(member): member for member in enum_class.__members__.values()},
            array_maker(base, each.shape) if kind == "scalars" else None,
            describe_type(each.type, self.schema) + _shape_text(each),
        )

    def _kind(self, type_: SchemaType) -> tuple[str, Scalar | String | Named]:
        """The kind of a field, and the type of its value or elements."""
        if isinstance(type_, Vector | Array):
            kind, element = self._kind(type_.element)
            return kind + "s", element
        if isinstance(type_, Scalar):
            return "scalar", type_
        if isinstance(type_, String):
            return "string", type_
        definition: Definition = self.schema.definitions[type_.name]
        if isinstance(definition, EnumDefinition):
            return "scalar", type_
        if isinstance(definition, UnionDefinition):
            return "union", type_
        return ("struct" if isinstance(definition, StructDefinition) else "table"), type_

    def _number(self, element: Scalar | String | Named) -> tuple[Scalar, type[enum.IntEnum] | None]:
        if isinstance(element, Scalar):
            return element, None
        definition = self.schema.definitions[element.name] if isinstance(element, Named) else None
        if isinstance(definition, EnumDefinition):
            return definition.underlying, self.class_of(definition.name)
        return Scalar.UINT8, None

    def _members(self, element: Scalar | String | Named) -> tuple[tuple[int, _codec.Plan | None], ...]:
        definition = self.schema.definitions[element.name] if isinstance(element, Named) else None
        if not isinstance(definition, UnionDefinition):
            return ()
        return tuple(
            (member.tag, self.plan_of(member.type.name) if isinstance(member.type, Named) else None)
            for member in definition.members
        )

    def _absent(self, each: Field, kind: str, base: Scalar, enum_class: type[enum.IntEnum] | None) -> object:
        """What an absent field reads as; of a vector, None or (): an empty one."""
        if kind == "string":
            return each.default
        if kind != "scalar":
            told_apart = each.default is None if self.annotated else _counts(each)[0] > 0
            return None if not kind.endswith("s") or told_apart else ()
        if each.optional:
            return None
        number = 0 if each.default is None else each.default
        if enum_class is not None:
            return _member(enum_class, int(number))
        if base is Scalar.BOOL:
            return bool(number)
        return _rounded(float(number)) if base is Scalar.FLOAT32 else float(number) if base.is_float else int(number)


_WITH_PLAN: Final = frozenset({"struct", "table", "structs", "tables"})


def _member(enum_class: type[enum.IntEnum], number: int) -> int:
    try:
        return enum_class(number)  # flags make members of combinations, and of none, when they are asked
    except ValueError:
        return number


def _rounded(number: float) -> float:
    value: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return value


def _bits(base: Scalar, default: float | str | None) -> int:
    """A default's bits, as the codec compares them."""
    if default is None or isinstance(default, str):
        return 0
    packed = struct.pack("<" + base.format_code, default if base.is_float else int(default))
    return int.from_bytes(packed, "little")


def _counts(each: Field) -> tuple[int, int]:
    """How many elements a vector must have, and of what their number must be a multiple; 0: as many as may be."""
    if isinstance(each.type, Array):
        return each.type.length, 0
    if not isinstance(each.type, Vector) or not each.shape:
        return 0, 0
    inner = 1
    for axis in each.shape[1:]:
        inner *= axis or 1
    first = each.shape[0]
    return (0, inner) if first is None else (first * inner, 0)


def _check_name(definition: Definition, name: str) -> None:
    if name.startswith("__") and name.endswith("__"):
        raise SchemaError(f"{definition.name}.{name}: this name means something else in Python; choose another")


def _enum_class(definition: EnumDefinition, module: str) -> type:
    for value, _ in definition.values:
        _check_name(definition, value)
        if value == "mro" or (len(value) > 2 and value[0] == value[-1] == "_"):
            raise SchemaError(
                f"{definition.name}.{value}: Python's enums keep this name for themselves; choose another"
            )
    name, values = definition.name.rpartition(".")[2], list(definition.values)
    flags = definition.bit_flags
    found = enum.IntFlag(name, values, module=module) if flags else enum.IntEnum(name, values, module=module)
    made = cast(type, found)
    # An annotated class may mention it, and then reads here what it is.
    made.__lunar_name__ = definition.name  # type: ignore[attr-defined]
    made.__underlying__ = definition.underlying  # type: ignore[attr-defined]
    made.__doc__ = "\n".join(line.strip() for line in definition.documentation) or None
    return made


@cache
def _scalar_text(scalar: Scalar) -> str:
    if scalar.is_float or scalar is Scalar.BOOL:
        return scalar.fbs_name
    low, high = scalar.limits
    return f"{scalar.fbs_name}, {low} to {high}"


def _shape_text(each: Field) -> str:
    axes = ", ".join("any" if axis is None else str(axis) for axis in each.shape)
    return f", shape ({axes}{',' if len(each.shape) == 1 else ''})" if each.shape else ""


def describe_type(type_: SchemaType, schema: Schema) -> str:
    """A type in words, for error messages."""
    if isinstance(type_, Array):
        return f"{type_.length} of {describe_type(type_.element, schema)}"
    if isinstance(type_, Vector):
        return f"a sequence of {describe_type(type_.element, schema)}"
    if isinstance(type_, Scalar):
        return _scalar_text(type_)
    if isinstance(type_, String):
        return "str"
    definition = schema.definitions[type_.name]
    if isinstance(definition, UnionDefinition):
        names = [member.type.name if isinstance(member.type, Named) else "str" for member in definition.members]
        return " or ".join(names) or "None"
    return type_.name
