import hashlib
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar.messages.identity import type_hash, wire_default
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
from lunar.messages.schema_json import from_json, to_json
from tests.unit.messages.schema_strategies import ROOT, schemas

MODE = EnumDefinition("robot.Mode", Scalar.UINT8, (("IDLE", 0), ("RUN", 4)))
POSE = StructDefinition("robot.Pose", (Field("x", Scalar.FLOAT32, 0), Field("k", Array(Scalar.INT16, 3), 1)))
SHAPE = UnionDefinition("robot.Shape", (UnionMember("text", 1, String()), UnionMember("pose", 9, Named("robot.Pose"))))
STATE = TableDefinition(
    "robot.State",
    (
        Field("mode", Named("robot.Mode"), 0, 4),
        Field("shape", Named("robot.Shape"), 2),
        Field("cells", Vector(Scalar.FLOAT64), 3),
        Field("name", String(), 4),
        Field("gain", Scalar.FLOAT32, 5, 0.1),
        Field("limit", Scalar.INT16, 6, optional=True),
    ),
)


def schema_of(*definitions: Definition) -> Schema:
    return Schema({definition.name: definition for definition in definitions})


def changed_field(index: int, **changes: object) -> TableDefinition:
    fields = [*STATE.fields]
    fields[index] = replace(fields[index], **changes)  # type: ignore[arg-type]
    return replace(STATE, fields=tuple(fields))


BASE = schema_of(MODE, POSE, SHAPE, STATE)


# These must never change: they are what programs with another version of Lunar compare with. A test that fails here
# means that the canonical form was changed, and every type of every user with it.
@pytest.mark.parametrize(
    ("schema", "root", "expected"),
    [
        (schema_of(TableDefinition("Empty", ())), "Empty", "a0d86a0a4c10f1016010307bf700505a"),
        (
            schema_of(TableDefinition("T", (Field("a", Scalar.INT32, 0, 0), Field("b", String(), 1)))),
            "T",
            "bd30e869172292037f342189fd1f5102",
        ),
        (BASE, "robot.State", "24241a9209206e6adf0b5706004b92ce"),
        (BASE, "robot.Pose", "0a172dbb05f5ddc3ed4ee439b8881c64"),
        (BASE, "robot.Mode", "c84a89c219127a4d70c73b4b16d1bfde"),
    ],
    ids=["empty", "small", "State", "Pose", "Mode"],
)
def test_hashes_that_must_never_change(schema: Schema, root: str, expected: str) -> None:
    assert type_hash(schema, root) == expected


def test_the_canonical_form_of_a_small_type() -> None:
    a, b = '[0,"a","int32","0",false,false,false]', '[1,"b","string",null,false,true,false]'
    form = f'lunar:type:1:["T",[["T","table",[{a},{b}]]]]'
    schema = schema_of(TableDefinition("T", (Field("a", Scalar.INT32, 0, 0), Field("b", String(), 1, required=True))))
    assert type_hash(schema, "T") == hashlib.sha256(form.encode()).hexdigest()[:32]


def test_a_hash_is_32_lower_case_hex_digits() -> None:
    assert re.fullmatch("[0-9a-f]{32}", type_hash(BASE, "robot.State"))


def test_an_unknown_type_has_none() -> None:
    with pytest.raises(KeyError):
        type_hash(BASE, "robot.Nobody")
    with pytest.raises(KeyError):
        type_hash(schema_of(STATE), "robot.State")


# ---- what does not belong to it --------------------------------------------------------------------------------------

SAME: dict[str, Schema] = {
    "comments": schema_of(
        replace(MODE, documentation=("a",)),
        replace(POSE, documentation=("b",)),
        replace(SHAPE, documentation=("c",)),
        replace(changed_field(0, documentation=("d",)), documentation=("e",)),
    ),
    "order of definitions": schema_of(STATE, SHAPE, POSE, MODE),
    "order of fields": schema_of(MODE, POSE, SHAPE, replace(STATE, fields=STATE.fields[::-1])),
    "order of values": schema_of(replace(MODE, values=MODE.values[::-1]), POSE, SHAPE, STATE),
    "order of members": schema_of(MODE, POSE, replace(SHAPE, members=SHAPE.members[::-1]), STATE),
    "others": schema_of(
        MODE, POSE, SHAPE, STATE, TableDefinition("robot.Other", (Field("s", Named("robot.State"), 0),))
    ),
    "root": replace(BASE, root="robot.State", file_identifier="LUNA"),
    "key": schema_of(MODE, POSE, SHAPE, changed_field(3, key=True)),
    "shape": schema_of(MODE, POSE, SHAPE, changed_field(2, shape=(None, 3))),
    "alignment as it is": schema_of(MODE, replace(POSE, force_align=4), SHAPE, STATE),
    "default of an optional": schema_of(MODE, POSE, SHAPE, changed_field(5, default=0)),
    "default as a float32": schema_of(MODE, POSE, SHAPE, changed_field(4, default=0.10000000149011612)),
    "default in a struct": schema_of(
        MODE, replace(POSE, fields=(replace(POSE.fields[0], default=0.0), POSE.fields[1])), SHAPE, STATE
    ),
}


@pytest.mark.parametrize("schema", SAME.values(), ids=SAME)
def test_equal_without_regard_to(schema: Schema) -> None:
    assert type_hash(schema, "robot.State") == type_hash(BASE, "robot.State")


# ---- what does -------------------------------------------------------------------------------------------------------


def with_mode(**changes: object) -> Schema:
    return schema_of(replace(MODE, **changes), POSE, SHAPE, STATE)  # type: ignore[arg-type]


def with_pose(*fields: Field, force_align: int = 0) -> Schema:
    return schema_of(MODE, StructDefinition("robot.Pose", fields or POSE.fields, force_align), SHAPE, STATE)


def with_shape(*members: UnionMember) -> Schema:
    return schema_of(MODE, POSE, UnionDefinition("robot.Shape", members), STATE)


def with_field(index: int, **changes: object) -> Schema:
    return schema_of(MODE, POSE, SHAPE, changed_field(index, **changes))


X, K = POSE.fields
TEXT, POSED = SHAPE.members
OTHER: dict[str, Schema] = {
    "field name": with_field(3, name="label"),
    "field type": with_field(2, type=Vector(Scalar.FLOAT32)),
    "field id": schema_of(
        MODE, POSE, SHAPE, replace(STATE, fields=(*STATE.fields[:3], replace(STATE.fields[3], id=6)))
    ),
    "field missing": schema_of(MODE, POSE, SHAPE, replace(STATE, fields=STATE.fields[:-1])),
    "default": with_field(4, default=0.2),
    "default of an enum": with_field(0, default=0),
    "default of a string": with_field(3, default="x"),
    "not optional": with_field(5, optional=False),
    "optional": with_field(4, optional=True),
    "required": with_field(3, required=True),
    "deprecated": with_field(3, deprecated=True),
    "enum value": with_mode(values=(("IDLE", 0), ("RUN", 5))),
    "enum value's name": with_mode(values=(("IDLE", 0), ("GO", 4))),
    "enum value added": with_mode(values=(*MODE.values, ("HALT", 9))),
    "underlying type": with_mode(underlying=Scalar.INT8),
    "bit_flags": with_mode(bit_flags=True),
    "struct field's name": with_pose(replace(X, name="y"), K),
    "struct field's type": with_pose(replace(X, type=Scalar.INT32), K),
    "struct order": with_pose(replace(K, id=0), replace(X, id=1)),
    "array length": with_pose(X, replace(K, type=Array(Scalar.INT16, 4))),
    "alignment": with_pose(force_align=8),
    "union tag": with_shape(TEXT, replace(POSED, tag=2)),
    "union member's name": with_shape(TEXT, replace(POSED, name="place")),
    "union member's type": with_shape(TEXT, replace(POSED, type=String())),
    "union member added": with_shape(TEXT, POSED, UnionMember("state", 10, Named("robot.State"))),
}


@pytest.mark.parametrize(("place", "default"), [(3, ""), (2, "[]")])
def test_reading_as_empty_when_absent_is_no_other_meaning(place: int, default: str) -> None:
    assert type_hash(with_field(place, default=default), "robot.State") == type_hash(BASE, "robot.State")


def test_every_other_meaning_has_another_hash() -> None:
    hashes = {name: type_hash(schema, "robot.State") for name, schema in {"base": BASE, **OTHER}.items()}
    assert len({*hashes.values()}) == len(hashes), hashes


@pytest.mark.parametrize("kind", [TableDefinition, StructDefinition])
def test_the_names_and_kinds_of_definitions_belong_to_it(kind: type[TableDefinition | StructDefinition]) -> None:
    def outer(inner: Definition) -> str:
        return type_hash(schema_of(TableDefinition("T", (Field("a", Named(inner.name), 0),)), inner), "T")

    here = outer(kind("Inner", (X,)))
    assert here != outer(kind("Other", (X,)))
    assert here != outer(kind("ns.Inner", (X,)))
    assert here != outer((StructDefinition if kind is TableDefinition else TableDefinition)("Inner", (X,)))


@settings(deadline=None)
@given(schemas(), schemas())
def test_equal_exactly_if_the_schemas_are(ours: Schema, theirs: Schema) -> None:
    documents = [_without_what_does_not_count(schema) for schema in (ours, theirs)]
    hashes = [type_hash(schema, ROOT) for schema in (ours, theirs)]
    assert (hashes[0] == hashes[1]) == (documents[0] == documents[1])
    assert type_hash(from_json(to_json(ours, ROOT)), ROOT) == hashes[0]


def _without_what_does_not_count(schema: Schema) -> dict[str, object]:
    document = to_json(schema, ROOT)
    document.pop("file_identifier", None)
    definitions = document["definitions"]
    assert isinstance(definitions, dict)
    for name, record in definitions.items():
        assert isinstance(record, dict)
        if record["kind"] == "struct":
            record["force_align"] = schema.struct_layout(name)[1]
        fields = record.get("fields", [])
        assert isinstance(fields, list)
        for field in fields:
            assert isinstance(field, dict)
            field.pop("key", None)
            field.pop("shape", None)
    return {**document}


# ---- defaults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "default", "text"),
    [
        (Scalar.INT32, None, "0"),
        (Scalar.INT32, -3, "-3"),
        (Scalar.UINT64, 2**64 - 1, "18446744073709551615"),
        (Scalar.BOOL, True, "1"),
        (Scalar.FLOAT64, 1, "1.0"),
        (Scalar.FLOAT64, -0.0, "-0.0"),
        (Scalar.FLOAT64, 0.1, "0.1"),
        (Scalar.FLOAT32, 0.1, "0.10000000149011612"),
        (Scalar.FLOAT32, 1e300, "inf"),
        (Scalar.FLOAT32, -1e300, "-inf"),
        (Scalar.FLOAT64, float("nan"), "nan"),
        (Named("robot.Mode"), None, "0"),
        (Named("robot.Mode"), 4, "4"),
        (Named("robot.Pose"), None, None),
        (String(), None, None),
        (String(), "", ""),
        (Vector(Scalar.BOOL), "[]", "[]"),
    ],
)
def test_the_text_of_a_default(type_: SchemaType, default: int | float | str | None, text: str | None) -> None:
    assert wire_default(BASE, Field("a", type_, 0, default)) == text


@given(st.floats(width=32, allow_nan=False), st.floats(width=32, allow_nan=False))
def test_two_defaults_have_one_text_only_if_they_are_the_same_number(one: float, other: float) -> None:
    texts = {wire_default(BASE, Field("a", Scalar.FLOAT32, 0, number)) for number in (one, other)}
    assert (len(texts) == 1) == (str(one) == str(other))
