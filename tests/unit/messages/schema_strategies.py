"""Hypothesis strategies: schemas as flatc would accept them."""

import math
from collections.abc import Sequence

from hypothesis import strategies as st

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

ROOT = "a.Root"
INTEGERS = [scalar for scalar in Scalar if not scalar.is_float and scalar is not Scalar.BOOL]
_NAMESPACES = ["", "a.", "a.b."]
# One of them collides with a union's tag, so that names and places can be at odds.
_FIELD_NAMES = ["p", "q", "r", "s", "t", "u", "p_type"]
_FLOATS = [0.0, -0.0, 1.5, -2.25, 0.1, 1e20, math.nan, math.inf, -math.inf]


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """The closure of the table `ROOT`."""
    definitions: dict[str, Definition] = {}
    enums = [_full_name(draw, f"E{i}") for i in range(draw(st.integers(0, 2)))]
    structs = [_full_name(draw, f"S{i}") for i in range(draw(st.integers(0, 3)))]
    unions = [_full_name(draw, f"U{i}") for i in range(draw(st.integers(0, 2)))]
    tables = [ROOT, *(_full_name(draw, f"T{i}") for i in range(draw(st.integers(0, 2))))]
    for name in enums:
        definitions[name] = draw(enum_definitions(name))
    for index, name in enumerate(structs):
        with_zero = [each for each in enums if _has_zero(definitions[each])]
        definitions[name] = draw(struct_definitions(name, [*with_zero, *structs[:index]]))
    for name in unions:
        definitions[name] = draw(union_definitions(name, [*tables, *structs]))
    for name in tables:
        definitions[name] = draw(table_definitions(name, definitions, tables))
    identifier = draw(st.sampled_from([None, "LUNA"]))
    return Schema(Schema(definitions).closure(ROOT), ROOT, identifier)


@st.composite
def enum_definitions(draw: st.DrawFn, name: str) -> EnumDefinition:
    underlying = draw(st.sampled_from(INTEGERS))
    bit_flags = underlying.limits[0] == 0 and draw(st.booleans())
    if bit_flags:
        numbers = [1 << bit for bit in draw(st.sets(st.integers(0, 8 * underlying.size_bytes - 1), min_size=1))]
    else:
        numbers = [*draw(st.sets(st.integers(0, 5) | st.integers(*underlying.limits), min_size=1, max_size=5))]
    return EnumDefinition(name, underlying, tuple((f"V{i}", n) for i, n in enumerate(sorted(numbers))), bit_flags)


@st.composite
def struct_definitions(draw: st.DrawFn, name: str, inner: Sequence[str]) -> StructDefinition:
    fields = [
        Field(f"x{i}", type_, i, default=struct_default(type_))
        for i, type_ in enumerate(draw(st.lists(struct_types(inner), min_size=1, max_size=4)))
    ]
    return StructDefinition(name, tuple(fields), draw(st.sampled_from([0, 0, 16])))


def struct_default(type_: SchemaType) -> int | float | None:
    if isinstance(type_, Scalar):
        return 0.0 if type_.is_float else 0
    return 0 if isinstance(type_, Named) and _is_enum(type_.name) else None


def struct_types(inner: Sequence[str]) -> st.SearchStrategy[SchemaType]:
    elements: st.SearchStrategy[Scalar | Named] = st.sampled_from([*Scalar, *map(Named, inner)])
    return elements | st.builds(Array, elements, st.integers(1, 4))


@st.composite
def union_definitions(draw: st.DrawFn, name: str, members: Sequence[str]) -> UnionDefinition:
    choices: list[Named | String] = [String(), *map(Named, members)]
    types = draw(st.lists(st.sampled_from(choices), min_size=1, max_size=3))
    tags = sorted(draw(st.sets(st.integers(1, 255), min_size=len(types), max_size=len(types))))
    alternatives = [UnionMember(f"M{i}", tag, type_) for i, (type_, tag) in enumerate(zip(types, tags, strict=True))]
    return UnionDefinition(name, tuple(alternatives))


@st.composite
def table_definitions(
    draw: st.DrawFn, name: str, definitions: dict[str, Definition], tables: Sequence[str]
) -> TableDefinition:
    fields: list[Field] = []
    next_id, taken = 0, set[str]()
    for field_name in draw(st.lists(st.sampled_from(_FIELD_NAMES), unique=True, max_size=5)):
        type_ = draw(table_types(definitions, tables))
        is_union = holds_union(type_, definitions)
        names = {field_name, f"{field_name}_type"} if is_union else {field_name}
        if not names & taken:
            taken |= names
            fields.append(draw(table_fields(field_name, type_, next_id + is_union, definitions)))
            next_id += 1 + is_union
    keyed = draw(st.sampled_from([None, *range(len(fields))]))
    if keyed is not None and isinstance(fields[keyed].type, Scalar) and not fields[keyed].optional:
        field = fields[keyed]
        fields[keyed] = Field(field.name, field.type, field.id, field.default, key=True)
    return TableDefinition(name, tuple(fields))


def table_types(definitions: dict[str, Definition], tables: Sequence[str]) -> st.SearchStrategy[SchemaType]:
    named = [Named(name) for name in {**definitions, **dict.fromkeys(tables)}]
    elements: st.SearchStrategy[Scalar | String | Named] = st.sampled_from([*Scalar, String(), *named, *named])
    return elements | st.builds(Vector, elements)


@st.composite
def table_fields(draw: st.DrawFn, name: str, type_: SchemaType, id_: int, definitions: dict[str, Definition]) -> Field:
    deprecated = draw(st.sampled_from([False, False, False, True]))
    scalar = isinstance(type_, Scalar) or (isinstance(type_, Named) and _is_enum(type_.name))
    if scalar:
        optional = draw(st.sampled_from([False, False, True]))
        number = None if optional else draw(defaults(type_, definitions))
        return Field(name, type_, id_, number, optional=optional, deprecated=deprecated)
    required = draw(st.sampled_from([False, False, True]))
    empty = "" if isinstance(type_, String) else "[]" if isinstance(type_, Vector) else None
    default = draw(st.sampled_from([None, empty])) if not required and not holds_union(type_, definitions) else None
    shape: tuple[int | None, ...] = ()
    if isinstance(type_, Vector) and isinstance(type_.element, Scalar):
        shape = draw(st.sampled_from([(), (None, 3), (2, 2)]))
    return Field(name, type_, id_, default, required=required, deprecated=deprecated, shape=shape)


def defaults(type_: SchemaType, definitions: dict[str, Definition]) -> st.SearchStrategy[int | float]:
    if isinstance(type_, Named):
        enum = definitions[type_.name]
        assert isinstance(enum, EnumDefinition)
        return st.sampled_from([number for _, number in enum.values])
    assert isinstance(type_, Scalar)
    if type_.is_float:
        return st.sampled_from(_FLOATS)
    return st.just(0) | st.integers(*type_.limits)


def holds_union(type_: SchemaType, definitions: dict[str, Definition]) -> bool:
    element = type_.element if isinstance(type_, Vector) else type_
    return isinstance(element, Named) and isinstance(definitions.get(element.name), UnionDefinition)


def _is_enum(name: str) -> bool:
    return name.rpartition(".")[2].startswith("E")


def _has_zero(enum: Definition) -> bool:
    """flatc wants the default of an enum in a struct, which is always 0, to be one of its values."""
    return isinstance(enum, EnumDefinition) and (enum.bit_flags or 0 in dict(enum.values).values())


def _full_name(draw: st.DrawFn, local: str) -> str:
    return draw(st.sampled_from(_NAMESPACES)) + local
