import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from lunar.messages.evolution import Difference, compatible, differences
from lunar.messages.schema import (
    Array,
    Definition,
    EnumDefinition,
    Field,
    Named,
    Scalar,
    Schema,
    String,
    StructDefinition,
    TableDefinition,
    UnionDefinition,
    UnionMember,
    Vector,
)
from tests.unit.messages.fbs_printing import NotParsed, conforms, print_fbs
from tests.unit.messages.schema_strategies import (
    INTEGERS,
    ROOT,
    holds_union,
    schemas,
    struct_types,
    table_fields,
    table_types,
)

INT, FLOAT, TEXT = Scalar.INT32, Scalar.FLOAT32, String()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lunar-") as path:
        yield Path(path)


def flatc_says(ours: Schema, theirs: Schema, root: str, folder: Path) -> bool:
    """Whether one of the two is an evolution of the other."""
    our_text, their_text = print_fbs(ours, root), print_fbs(theirs, root)
    return conforms(our_text, their_text, folder) or conforms(their_text, our_text, folder)


# ---- rule by rule ----------------------------------------------------------------------------------------------------


def of(*fields: Field, **others: Definition) -> Schema:
    """A table "T", and other definitions."""
    definitions = {definition.name: definition for definition in others.values()}
    return Schema({"T": TableDefinition("T", fields), **definitions})


def struct(*fields: Field, name: str = "S", force_align: int = 0) -> StructDefinition:
    return StructDefinition(name, fields, force_align)


def enum(*values: tuple[str, int], underlying: Scalar = INT, name: str = "E") -> EnumDefinition:
    return EnumDefinition(name, underlying, values)


def union(*members: UnionMember) -> UnionDefinition:
    return UnionDefinition("U", members)


A, B, C = Field("a", INT, 0, 0), Field("b", INT, 1, 0), Field("c", INT, 2, 0)
LABEL = Field("b", TEXT, 1)
OF_S, OF_E, OF_U = Field("s", Named("S"), 0), Field("e", Named("E"), 0, 0), Field("u", Named("U"), 1)
X, Y = UnionMember("x", 1, Named("X")), UnionMember("y", 2, Named("Y"))
TABLES = {"x": TableDefinition("X", ()), "y": TableDefinition("Y", ())}
# These lead to the tables, so that both versions have them whatever their union says.
WITH_X, WITH_Y = Field("v", Vector(Named("X")), 2), Field("w", Vector(Named("Y")), 3)


def of_union(*members: UnionMember) -> Schema:
    return of(OF_U, WITH_X, WITH_Y, u=union(*members), **TABLES)


def of_struct(*fields: Field, force_align: int = 0) -> Schema:
    return of(OF_S, s=struct(*fields, force_align=force_align))


# Ours, theirs, and the differences that we find; the two verdicts are equal.
AS_FLATC: dict[str, tuple[Schema, Schema, list[str]]] = {
    "same": (of(A), of(A), []),
    "field added at the end": (
        of(A),
        of(A, B),
        ["T.b: field only in one version: ours nothing, theirs int32 (compatible)"],
    ),
    "field added in between": (
        of(A, LABEL),
        of(A, replace(LABEL, name="x", type=FLOAT, default=0.0), replace(LABEL, id=2)),
        [
            "T.b: place changed: ours 1, theirs 2 (incompatible)",
            "T.x: field only in one version: ours nothing, theirs float32 (compatible)",
        ],
    ),
    "ids swapped": (
        of(A, B),
        of(replace(B, id=0), replace(A, id=1)),
        [
            "T.a: place changed: ours 0, theirs 1 (incompatible)",
            "T.b: place changed: ours 1, theirs 0 (incompatible)",
        ],
    ),
    "field renamed": (of(A), of(replace(A, name="x")), ["T.a: name changed: ours a, theirs x (compatible)"]),
    "field renamed and of another type": (
        of(A),
        of(replace(A, name="x", type=FLOAT, default=0.0)),
        [
            "T.a: name changed: ours a, theirs x (compatible)",
            "T.a: type changed: ours int32, theirs float32 (incompatible)",
        ],
    ),
    "another type": (
        of(A, LABEL),
        of(A, replace(LABEL, type=Vector(TEXT))),
        ["T.b: type changed: ours string, theirs [string] (incompatible)"],
    ),
    "another sign": (
        of(A),
        of(replace(A, type=Scalar.UINT32)),
        ["T.a: type changed: ours int32, theirs uint32 (incompatible)"],
    ),
    "deprecated": (
        of(A, B),
        of(A, replace(B, deprecated=True)),
        ["T.b: deprecated: ours in use, theirs deprecated (compatible)"],
    ),
    "another default": (
        of(A),
        of(replace(A, default=7)),
        ["T.a: default changed: ours 0, theirs 7 (incompatible)"],
    ),
    "optional": (
        of(A),
        of(replace(A, default=None, optional=True)),
        ["T.a: default changed: ours 0, theirs no default (optional) (incompatible)"],
    ),
    "empty by default": (
        of(A, LABEL),
        of(A, replace(LABEL, default="")),
        ['T.b: default changed: ours no default, theirs "" (incompatible)'],
    ),
    "evolved apart in one table": (
        of(A, B),
        of(A, replace(B, name="x", type=FLOAT, default=0.0)),
        [
            "T.b: name changed: ours b, theirs x (compatible)",
            "T.b: type changed: ours int32, theirs float32 (incompatible)",
        ],
    ),
    "evolved apart in two tables": (
        of(Field("x", Named("X"), 0), B, x=TableDefinition("X", (A,))),
        of(Field("x", Named("X"), 0), x=TableDefinition("X", (A, B))),
        [
            "T.b: field only in one version: ours int32, theirs nothing (compatible)",
            "T.x.b: field only in one version: ours nothing, theirs int32 (compatible)",
            "T: each version has fields that the other lacks, so neither is an evolution of the other: "
            "ours T.b, theirs T.x.b (incompatible)",
        ],
    ),
    "enum grew": (
        of(OF_E, e=enum(("P", 0))),
        of(OF_E, e=enum(("P", 0), ("Q", 1))),
        ["T.e.Q: 1 only in one version: ours nothing, theirs Q (compatible)"],
    ),
    "enum value renamed": (
        of(OF_E, e=enum(("P", 0))),
        of(OF_E, e=enum(("Q", 0))),
        ["T.e.P: name of 0 changed: ours P, theirs Q (compatible)"],
    ),
    "enum value moved": (
        of(OF_E, e=enum(("O", 0), ("P", 1))),
        of(OF_E, e=enum(("O", 0), ("P", 2))),
        ["T.e.P: number changed: ours 1, theirs 2 (incompatible)"],
    ),
    "enum of another size": (
        of(OF_E, e=enum(("P", 0))),
        of(OF_E, e=enum(("P", 0), underlying=Scalar.INT8)),
        ["T.e: type beneath the enum changed: ours int32, theirs int8 (incompatible)"],
    ),
    "enum in place of its number": (
        of(OF_E, e=enum(("P", 0))),
        of(replace(OF_E, type=INT)),
        ["T.e: type changed: ours E, theirs int32 (incompatible)"],
    ),
    "plain values as flags": (
        of(replace(OF_E, default=1), e=enum(("P", 1), ("Q", 2), underlying=Scalar.UINT8)),
        of(replace(OF_E, default=1), e=EnumDefinition("E", Scalar.UINT8, (("P", 1), ("Q", 2)), bit_flags=True)),
        ["T.e: bit_flags: ours plain values, theirs bit flags (compatible)"],
    ),
    "union grew": (
        of_union(X),
        of_union(X, Y),
        ["T.u.y: 2 only in one version: ours nothing, theirs y (compatible)"],
    ),
    "union's tags swapped": (
        of_union(X, Y),
        of_union(replace(Y, tag=1), replace(X, tag=2)),
        [
            "T.u.x: number changed: ours 1, theirs 2 (incompatible)",
            "T.u.y: number changed: ours 2, theirs 1 (incompatible)",
            "T.u.x: type behind tag 1 changed: ours X, theirs Y (incompatible)",
            "T.u.y: type behind tag 2 changed: ours Y, theirs X (incompatible)",
        ],
    ),
    "union field renamed": (
        of_union(X),
        of(replace(OF_U, name="z"), WITH_X, WITH_Y, u=union(X), **TABLES),
        ["T.u: name changed: ours u, theirs z (compatible)"],
    ),
    "tag's place taken": (
        of(Field("u", Named("U"), 1), u=union(X), x=TABLES["x"]),
        of(Field("z", Scalar.UINT8, 0, 0)),
        [
            "T.u_type: name changed: ours u_type, theirs z (compatible)",
            "T.u_type: type changed: ours tag of U, theirs uint8 (incompatible)",
            "T.u: field only in one version: ours U, theirs nothing (compatible)",
        ],
    ),
    "struct's field renamed": (
        of_struct(A, B),
        of_struct(A, replace(B, name="x")),
        ["T.s.b: name changed: ours b, theirs x (compatible)"],
    ),
    "struct's field of another type": (
        of_struct(A, B),
        of_struct(A, replace(B, type=FLOAT)),
        ["T.s.b: type changed: ours int32, theirs float32 (incompatible)"],
    ),
    "struct's order": (
        of_struct(A, B),
        of_struct(replace(B, id=0), replace(A, id=1)),
        [
            "T.s.a: place changed: ours 0, theirs 4 (incompatible)",
            "T.s.b: place changed: ours 4, theirs 0 (incompatible)",
        ],
    ),
    "struct's default, which nothing reads": (of_struct(A), of_struct(replace(A, default=None)), []),
    "table renamed": (
        of(Field("x", Named("X"), 0), x=TABLES["x"]),
        of(Field("x", Named("Y"), 0), y=TABLES["y"]),
        ["T.x: type changed: ours X, theirs Y (incompatible)"],
    ),
    "deep inside": (
        of(Field("x", Vector(Named("X")), 0), x=TableDefinition("X", (OF_S,)), s=struct(A)),
        of(Field("x", Vector(Named("X")), 0), x=TableDefinition("X", (OF_S,)), s=struct(replace(A, type=FLOAT))),
        ["T.x[].s.a: type changed: ours int32, theirs float32 (incompatible)"],
    ),
    "where no field of both leads": (
        of(Field("x", Named("X"), 0), x=TableDefinition("X", (A,))),
        of(Field("y", Vector(Named("X")), 0), x=TableDefinition("X", (replace(A, default=1),))),
        [
            "T.x: name changed: ours x, theirs y (compatible)",
            "T.x: type changed: ours X, theirs [X] (incompatible)",
            "X.a: default changed: ours 0, theirs 1 (incompatible)",
        ],
    ),
    "a table within itself": (
        of(A, Field("t", Named("T"), 1)),
        of(A, Field("t", Named("T"), 1), C),
        ["T.c: field only in one version: ours nothing, theirs int32 (compatible)"],
    ),
}

# flatc takes one for an evolution of the other. We do not: a reader would refuse the message, or read nonsense.
STRICTER: dict[str, tuple[Schema, Schema, list[str]]] = {
    "struct grew": (
        of_struct(A),
        of_struct(A, B),
        ["T.s.b: field only in one version: ours nothing, theirs int32 (incompatible)"],
    ),
    "struct aligned otherwise": (
        of_struct(A),
        of_struct(A, force_align=8),
        ["T.s: layout of struct changed: ours 4 bytes aligned to 4, theirs 8 bytes aligned to 8 (incompatible)"],
    ),
    "struct aligned otherwise, of the same size": (
        of_struct(A, B),
        of_struct(A, B, force_align=8),
        ["T.s: layout of struct changed: ours 8 bytes aligned to 4, theirs 8 bytes aligned to 8 (incompatible)"],
    ),
    "another array length": (
        of_struct(replace(A, type=Array(INT, 3), default=None)),
        of_struct(replace(A, type=Array(INT, 4), default=None)),
        ["T.s.a: type changed: ours [int32:3], theirs [int32:4] (incompatible)"],
    ),
    "tag of another type": (
        of_union(X),
        of_union(replace(X, type=Named("Y"))),
        ["T.u.x: type behind tag 1 changed: ours X, theirs Y (incompatible)"],
    ),
    "tag of another type and name": (
        of_union(X),
        of_union(replace(Y, tag=1)),
        [
            "T.u.x: name of 1 changed: ours x, theirs y (compatible)",
            "T.u.x: type behind tag 1 changed: ours X, theirs Y (incompatible)",
        ],
    ),
    "struct in place of a table": (
        of(OF_S, s=TableDefinition("S", (replace(B, id=0),))),
        of(OF_S, s=struct(A, B)),
        ["T.s: kind of type changed: ours table, theirs struct (incompatible)"],
    ),
    "another namespace": (
        of(Field("x", Named("m.X"), 0), x=TableDefinition("m.X", (A,))),
        of(Field("x", Named("n.X"), 0), x=TableDefinition("n.X", (replace(A, type=TEXT, default=None),))),
        ["T.x: type changed: ours m.X, theirs n.X (incompatible)"],
    ),
    "renamed with another default": (
        of(A),
        of(replace(A, name="x", default=7)),
        [
            "T.a: name changed: ours a, theirs x (compatible)",
            "T.a: default changed: ours 0, theirs 7 (incompatible)",
        ],
    ),
    "renamed and optional": (
        of(A),
        of(replace(A, name="x", default=None, optional=True)),
        [
            "T.a: name changed: ours a, theirs x (compatible)",
            "T.a: default changed: ours 0, theirs no default (optional) (incompatible)",
        ],
    ),
    "required from now on": (
        of(A, LABEL),
        of(A, replace(LABEL, required=True)),
        ["T.b: required: ours may be absent, theirs is required (incompatible)"],
    ),
    "required field added": (
        of(A),
        of(A, replace(LABEL, required=True)),
        ["T.b: field only in one version: ours nothing, theirs required string (incompatible)"],
    ),
}


@pytest.mark.parametrize(("ours", "theirs", "expected"), AS_FLATC.values(), ids=AS_FLATC)
def test_as_flatc(ours: Schema, theirs: Schema, expected: list[str], folder: Path) -> None:
    verdict, found = compatible(ours, theirs, "T")
    assert [str(each) for each in found] == expected
    assert verdict == flatc_says(ours, theirs, "T", folder)


@pytest.mark.parametrize(("ours", "theirs", "expected"), STRICTER.values(), ids=STRICTER)
def test_stricter_than_flatc(ours: Schema, theirs: Schema, expected: list[str], folder: Path) -> None:
    verdict, found = compatible(ours, theirs, "T")
    assert [str(each) for each in found] == expected
    assert not verdict
    assert flatc_says(ours, theirs, "T", folder)


def test_deprecated_fields_are_not_required() -> None:
    gone = replace(LABEL, required=True, deprecated=True)
    assert compatible(of(A), of(A, gone), "T")[0]
    assert compatible(of(A, LABEL), of(A, gone), "T")[0]


def test_a_default_is_compared_as_it_is_read() -> None:
    ours, theirs = of(replace(A, type=FLOAT, default=0.1)), of(replace(A, type=FLOAT, default=0.10000000149011612))
    assert differences(ours, theirs, "T") == []


def test_a_type_that_one_side_does_not_have() -> None:
    assert differences(of(A), Schema({}), "T") == [Difference("T", "type missing", "T", "nothing", breaking=True)]
    assert differences(Schema({}), Schema({}), "T") == []


def test_a_schema_that_is_not_closed() -> None:
    with pytest.raises(KeyError):
        differences(of(OF_S), of(A), "T")


# ---- any schema, any edit --------------------------------------------------------------------------------------------

_NEW_NAMES = ["n", "m", "p", "p_type"]


@st.composite
def edited(draw: st.DrawFn, schema: Schema) -> Schema:
    """A schema with one definition changed; perhaps one that flatc does not take."""
    definition = draw(st.sampled_from([*schema.definitions.values()]))
    changed: Definition
    match definition:
        case TableDefinition():
            changed = replace(definition, fields=draw(edited_fields(definition.fields, schema)))
        case StructDefinition():
            changed = draw(edited_struct(definition))
        case EnumDefinition():
            changed = draw(edited_enum(definition))
        case UnionDefinition():
            changed = draw(edited_union(definition, schema))
    definitions = {**schema.definitions, changed.name: changed}
    return Schema(Schema(definitions).closure(ROOT), ROOT)


@st.composite
def edited_fields(draw: st.DrawFn, before: tuple[Field, ...], schema: Schema) -> tuple[Field, ...]:
    fields = [*before]
    tables = [name for name, each in schema.definitions.items() if isinstance(each, TableDefinition)]
    definitions = {**schema.definitions}
    edit = draw(
        st.sampled_from(["append", "insert", "drop", "drop last", "rename", "replace", "redraw", "flag", "swap"])
    )
    name = draw(st.sampled_from(_NEW_NAMES))
    if not fields or edit in ("append", "insert"):
        new = draw(table_fields(name, draw(table_types(definitions, tables)), 0, definitions))
        fields.insert(len(fields) if edit == "append" else 0, new)
        return renumbered(fields, definitions)
    index = draw(st.integers(0, len(fields) - 1))
    field = fields[index]
    match edit:
        case "drop":
            del fields[index]
        case "drop last":
            del fields[-1]
        case "rename":
            fields[index] = replace(field, name=name)
        case "replace":
            fields[index] = draw(table_fields(name, field.type, 0, definitions))
        case "redraw":
            type_ = draw(st.just(field.type) | table_types(definitions, tables))
            fields[index] = draw(table_fields(field.name, type_, 0, definitions))
        case "flag":
            fields[index] = replace(field, deprecated=not field.deprecated)
        case "swap":
            fields[index], fields[0] = fields[0], field
    return renumbered(fields, definitions)


def renumbered(fields: list[Field], definitions: dict[str, Definition]) -> tuple[Field, ...]:
    ids = accumulate(1 + holds_union(field.type, definitions) for field in fields)
    return tuple(replace(field, id=next_id - 1) for field, next_id in zip(fields, ids, strict=True))


@st.composite
def edited_struct(draw: st.DrawFn, struct: StructDefinition) -> StructDefinition:
    fields = [*struct.fields]
    index = draw(st.integers(0, len(fields) - 1))
    type_ = draw(struct_types([]))
    match draw(st.sampled_from(["append", "drop", "rename", "redraw", "longer", "swap", "align"])):
        case "append":
            fields.append(Field("n", type_, 0))
        case "drop" if len(fields) > 1:
            del fields[index]
        case "rename":
            fields[index] = replace(fields[index], name="m")
        case "redraw":
            fields[index] = replace(fields[index], type=type_)
        case "longer":
            fields = [
                replace(each, type=Array(each.type.element, each.type.length + 1))
                if isinstance(each.type, Array)
                else each
                for each in fields
            ]
        case "swap":
            fields[index], fields[0] = fields[0], fields[index]
        case _:
            return replace(struct, force_align=16 - struct.force_align)
    return replace(struct, fields=tuple(replace(each, id=i) for i, each in enumerate(fields)))


@st.composite
def edited_enum(draw: st.DrawFn, enum: EnumDefinition) -> EnumDefinition:
    values = dict(enum.values)
    name = draw(st.sampled_from([*values]))
    bits = 8 * enum.underlying.size_bytes - 1
    number = 1 << draw(st.integers(0, bits)) if enum.bit_flags else draw(st.integers(0, 9))
    match draw(st.sampled_from(["append", "drop", "rename", "renumber", "retype"])):
        case "append":
            values["N"] = number
        case "drop" if len(values) > 1:
            del values[name]
        case "rename":
            values["M"] = values.pop(name)
        case "renumber":
            values[name] = number
        case _:
            return replace(enum, underlying=draw(st.sampled_from(INTEGERS)))
    return replace(enum, values=tuple(sorted(values.items(), key=lambda value: value[1])))


@st.composite
def edited_union(draw: st.DrawFn, union: UnionDefinition, schema: Schema) -> UnionDefinition:
    members = [*union.members]
    index = draw(st.integers(0, len(members) - 1))
    tables: list[Named | String] = [
        Named(name) for name, each in schema.definitions.items() if isinstance(each, TableDefinition)
    ]
    new = UnionMember("N", draw(st.integers(1, 255)), draw(st.sampled_from([TEXT, *tables])))
    match draw(st.sampled_from(["append", "drop", "rename", "retag", "retype", "replace"])):
        case "append":
            members.append(new)
        case "drop" if len(members) > 1:
            del members[index]
        case "rename":
            members[index] = replace(members[index], name="M")
        case "retag":
            members[index] = replace(members[index], tag=new.tag)
        case "retype":
            members[index] = replace(members[index], type=new.type)
        case _:
            members[index] = replace(new, tag=members[index].tag)
    return replace(union, members=tuple(sorted(members, key=lambda member: member.tag)))


def is_ours_alone(difference: Difference, found: list[Difference]) -> bool:
    """Whether it is one of the things in which we are stricter than flatc."""
    if difference.what == "default changed":
        return any(each.path == difference.path and each.what == "name changed" for each in found)
    if difference.what == "type changed":
        ours, theirs = (re.sub(r":[0-9]+\]$", "]", side) for side in (difference.ours, difference.theirs))
        return ours == theirs
    return difference.what.startswith(("layout of struct", "required", "type behind tag", "field only in one version"))


@settings(deadline=None, max_examples=250)
@given(st.data())
def test_flatc_agrees_on_any_edits(folder: Path, data: st.DataObject) -> None:
    ours = theirs = data.draw(schemas())
    for _ in range(data.draw(st.integers(1, 3))):
        theirs = data.draw(edited(theirs))
    for _ in range(data.draw(st.sampled_from([0, 0, 1]))):
        ours = data.draw(edited(ours))
    try:
        agrees = flatc_says(ours, theirs, ROOT, folder)
    except NotParsed:
        reject()
    verdict, found = compatible(ours, theirs, ROOT)
    breaking = [each for each in found if each.breaking]
    assert verdict == (not breaking)
    # flatc refuses exactly what we refuse for one of its reasons.
    assert agrees == all(is_ours_alone(each, found) for each in breaking), [*map(str, found)]
    turned = compatible(theirs, ours, ROOT)
    assert turned[0] == verdict
    assert sorted(each.what for each in turned[1] if each.breaking) == sorted(each.what for each in breaking)


@settings(deadline=None)
@given(schema=schemas())
def test_nothing_differs_from_itself(schema: Schema, folder: Path) -> None:
    assert compatible(schema, schema, ROOT) == (True, [])
    assert flatc_says(schema, schema, ROOT, folder)
