"""Hypothesis strategies: messages of any schema, as objects of our classes."""

import math
from typing import Any

from hypothesis import strategies as st

from lunar.messages import Message
from lunar.messages.plan import Compiler
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

_DEEPEST = 3


def scalars(scalar: Scalar, *, finite: bool = False) -> st.SearchStrategy[int | float | bool]:
    if scalar is Scalar.BOOL:
        return st.booleans()
    if scalar.is_float:
        narrow = st.floats(width=32, allow_nan=not finite, allow_infinity=not finite)
        floats = narrow if scalar is Scalar.FLOAT32 else st.floats(allow_nan=not finite, allow_infinity=not finite)
        return floats.map(lambda number: math.nan if math.isnan(number) else number)
    return st.integers(*scalar.limits) | st.sampled_from([0, *scalar.limits])


def texts() -> st.SearchStrategy[str]:
    return st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def messages(draw: st.DrawFn, compiler: Compiler, name: str, depth: int = 0, finite: bool = False) -> Message:
    """A message of a table or struct."""
    definition = compiler.schema.definitions[name]
    assert isinstance(definition, TableDefinition | StructDefinition)
    values: dict[str, Any] = {}
    for each in definition.fields:
        if each.deprecated and isinstance(definition, TableDefinition):
            continue
        if each.required or isinstance(definition, StructDefinition) or draw(st.booleans()):
            value = draw(_values(compiler, each, each.type, depth, finite))
            if value is not None or not each.required:
                values[each.name] = value
    made: Message = compiler.class_of(name)(**{key: value for key, value in values.items() if value is not None})
    return made


def _values(compiler: Compiler, each: Field, type_: SchemaType, depth: int, finite: bool) -> st.SearchStrategy[Any]:
    if isinstance(type_, Vector | Array):
        return _sequences(compiler, each, type_, depth, finite)
    if isinstance(type_, Scalar):
        return scalars(type_, finite=finite)
    if isinstance(type_, String):
        return texts()
    definition = compiler.schema.definitions[type_.name]
    if isinstance(definition, EnumDefinition):
        return _members(definition)
    if isinstance(definition, UnionDefinition):
        return _alternatives(compiler, each, definition, depth, finite)
    if isinstance(definition, TableDefinition) and depth >= _DEEPEST and not needs_itself(compiler.schema, type_.name):
        return smallest(compiler, type_.name)
    return st.deferred(lambda: messages(compiler, type_.name, depth + 1, finite))


def _members(definition: EnumDefinition) -> st.SearchStrategy[int]:
    numbers = [number for _, number in definition.values]
    if definition.bit_flags:
        return st.sets(st.sampled_from(numbers)).map(sum)
    return st.sampled_from(numbers)


def _alternatives(
    compiler: Compiler, each: Field, definition: UnionDefinition, depth: int, finite: bool
) -> st.SearchStrategy[Any]:
    kinds = [_values(compiler, each, member.type, depth, finite) for member in definition.members]
    return st.one_of(kinds)


def _sequences(
    compiler: Compiler, each: Field, type_: Vector | Array, depth: int, finite: bool
) -> st.SearchStrategy[Any]:
    element = _values(compiler, each, type_.element, depth + 1, finite)
    if isinstance(type_, Array):
        return st.lists(element, min_size=type_.length, max_size=type_.length)
    if each.shape == (2, 2):
        return st.lists(element, min_size=4, max_size=4)
    if each.shape == (None, 3):
        return st.integers(0, 2).flatmap(lambda rows: st.lists(element, min_size=3 * rows, max_size=3 * rows))
    return st.lists(element, max_size=1 if depth >= _DEEPEST else 4)


def needs_itself(schema: Schema, name: str, above: frozenset[str] = frozenset()) -> bool:
    """Whether required fields make every message of a table endless."""
    if name in above:
        return True
    definition = schema.definitions[name]
    if not isinstance(definition, TableDefinition):
        return False
    for each in definition.fields:
        if not each.required or not isinstance(each.type, Named):
            continue
        needed = schema.definitions[each.type.name]
        if isinstance(needed, UnionDefinition):
            names = [m.type.name if isinstance(m.type, Named) else "" for m in needed.members]
            if all(one and needs_itself(schema, one, above | {name}) for one in names):
                return True
        elif needs_itself(schema, each.type.name, above | {name}):
            return True
    return False


@st.composite
def smallest(draw: st.DrawFn, compiler: Compiler, name: str) -> Message:
    """A message with nothing but what it must have."""
    definition = compiler.schema.definitions[name]
    assert isinstance(definition, TableDefinition)
    values: dict[str, Any] = {}
    for each in definition.fields:
        if not each.required or each.deprecated:
            continue
        if isinstance(each.type, Vector):
            full = bool(each.shape) and each.shape[0] is not None
            values[each.name] = [0] * 4 if full else []
            continue
        assert not isinstance(each.type, Scalar | Array)
        values[each.name] = draw(_needed(compiler, each, each.type))
    made: Message = compiler.class_of(name)(**values)
    return made


def _needed(compiler: Compiler, each: Field, type_: String | Named) -> st.SearchStrategy[Any]:
    if isinstance(type_, String):
        return texts()
    definition = compiler.schema.definitions[type_.name]
    if isinstance(definition, UnionDefinition):
        possible = [
            member.type
            for member in definition.members
            if isinstance(member.type, String) or not needs_itself(compiler.schema, member.type.name)
        ]
        return st.sampled_from(possible).flatmap(lambda member: _needed(compiler, each, member))
    if isinstance(definition, TableDefinition):
        return smallest(compiler, type_.name)
    return _values(compiler, each, type_, _DEEPEST, False)
