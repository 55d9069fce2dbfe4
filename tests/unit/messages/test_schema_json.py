import copy
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar.errors import TypeMismatch, VerificationError
from lunar.messages.schema import (
    Array,
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
from lunar.messages.schema_json import MAX_ARRAY_LENGTH, MAX_STRUCT_DEPTH, from_json, to_json
from tests.unit.messages.schema_strategies import ROOT, schemas

EXAMPLE = Schema(
    {
        "Mode": EnumDefinition("Mode", Scalar.UINT8, (("IDLE", 0), ("RUN", 4)), documentation=("what it does",)),
        "Pose": StructDefinition("Pose", (Field("x", Scalar.FLOAT32, 0, 0.0), Field("k", Array(Scalar.INT8, 6), 1))),
        "Shape": UnionDefinition("Shape", (UnionMember("text", 1, String()), UnionMember("pose", 9, Named("Pose")))),
        "State": TableDefinition(
            "State",
            (
                Field("mode", Named("Mode"), 0, 4, documentation=("now",)),
                Field("shape", Named("Shape"), 2, required=True),
                Field("image", Vector(Scalar.UINT8), 3, "[]", shape=(None, 4)),
                Field("gain", Scalar.FLOAT64, 4, math.inf, deprecated=True),
                Field("name", String(), 5, key=True),
                Field("limit", Scalar.INT16, 6, optional=True),
            ),
        ),
        "Stranger": TableDefinition("Stranger", ()),
    },
    root="State",
    file_identifier="LUNA",
)


def test_the_form_of_a_document() -> None:
    assert to_json(EXAMPLE, "State") == {
        "definitions": {
            "Mode": {"kind": "enum", "underlying": "uint8", "values": [["IDLE", 0], ["RUN", 4]]},
            "Pose": {
                "fields": [{"id": 0, "name": "x", "type": "float32"}, {"id": 1, "name": "k", "type": "[int8:6]"}],
                "kind": "struct",
            },
            "Shape": {"kind": "union", "members": [["text", 1, "string"], ["pose", 9, ".Pose"]]},
            "State": {
                "fields": [
                    {"default": 4, "id": 0, "name": "mode", "type": ".Mode"},
                    {"id": 2, "name": "shape", "required": True, "type": ".Shape"},
                    {"default": "[]", "id": 3, "name": "image", "shape": [None, 4], "type": "[uint8]"},
                    {"default": "inf", "deprecated": True, "id": 4, "name": "gain", "type": "float64"},
                    {"id": 5, "key": True, "name": "name", "type": "string"},
                    {"id": 6, "name": "limit", "optional": True, "type": "int16"},
                ],
                "kind": "table",
            },
        },
        "file_identifier": "LUNA",
        "root": "State",
        "version": 1,
    }


@settings(deadline=None)
@given(schemas())
def test_a_schema_returns_from_its_document(schema: Schema) -> None:
    text = json.dumps(to_json(schema, ROOT), allow_nan=False)
    assert from_json(json.loads(text)) == schema


@settings(deadline=None)
@given(schemas())
def test_a_document_is_canonical(schema: Schema) -> None:
    document = to_json(schema, ROOT)
    text = json.dumps(document)
    assert text == json.dumps(document, sort_keys=True)
    backwards = Schema(dict(reversed([*schema.definitions.items()])), schema.root, schema.file_identifier)
    assert json.dumps(to_json(backwards, ROOT)) == text
    assert json.dumps(to_json(from_json(_backwards(document)), ROOT)) == text


def _backwards(value: Any) -> Any:
    return {key: _backwards(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


def test_only_a_table_is_a_root() -> None:
    with pytest.raises(TypeMismatch, match="got Pose, a struct, expected a table"):
        to_json(EXAMPLE, "Pose")
    with pytest.raises(KeyError):
        to_json(EXAMPLE, "Nobody")


def test_another_root_has_no_file_identifier() -> None:
    assert "file_identifier" not in to_json(EXAMPLE, "Stranger")


@pytest.mark.parametrize(("default", "text"), [(True, '"default": 1'), (1, '"default": 1'), (False, '"id": 0')])
def test_a_bool_is_a_number(default: int, text: str) -> None:
    schema = Schema({"T": TableDefinition("T", (Field("a", Scalar.BOOL, 0, default),))})
    assert json.dumps(to_json(schema, "T")["definitions"]).startswith('{"T": {"fields": [{' + text)


# ---- what is refused -------------------------------------------------------------------------------------------------


def _table(*fields: Any) -> Any:
    return {"fields": [*fields], "kind": "table"}


def _struct(*fields: Any, **more: Any) -> Any:
    return {"fields": [*fields], "kind": "struct", **more}


def _field(id_: Any = 0, type_: Any = "int32", name: Any = "a", **more: Any) -> Any:
    return {"id": id_, "name": name, "type": type_, **more}


def _enum(*values: Any, underlying: Any = "uint8", **more: Any) -> Any:
    return {"kind": "enum", "underlying": underlying, "values": [*values], **more}


def _union(*members: Any) -> Any:
    return {"kind": "union", "members": [*members]}


def _document(root: Any, **others: Any) -> Any:
    return {"definitions": {"R": root, **others}, "root": "R", "version": 1}


def _chain(length: int) -> Any:
    structs = {f"S{i}": _struct(_field(type_=f".S{i + 1}")) for i in range(1, length)}
    return _document(_table(_field(type_=".S1")), **structs, **{f"S{length}": _struct(_field())})


REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ([], "is no object"),
    "nothing": (None, "is no object"),
    "keys missing": ({}, "has no '"),
    "unknown key": ({**_document(_table()), "more": 1}, "unknown key 'more'"),
    "key that is no string": ({**_document(_table()), 1: 2}, "a key that is no string"),
    "later version": ({**_document(_table()), "version": 2}, "version is not a number from 1 to 1"),
    "version true": ({**_document(_table()), "version": True}, "version is no whole number"),
    "unknown root": ({**_document(_table()), "root": "X"}, "root names no table"),
    "root without a name": ({**_document(_table()), "root": ""}, "malformed name"),
    "root a struct": (_document(_struct(_field())), "root names no table"),
    "root a list": ({**_document(_table()), "root": ["R"]}, "root is no string"),
    "identifier too short": ({**_document(_table()), "file_identifier": "abc"}, "four ASCII"),
    "identifier too long": ({**_document(_table()), "file_identifier": "abcde"}, "at most 4"),
    "identifier not ASCII": ({**_document(_table()), "file_identifier": "abc\ud800"}, "four ASCII"),
    "more than the root needs": (_document(_table(), T=_table()), "more than the root needs"),
    "too many definitions": (_document(_table(), **{f"T{i}": _table() for i in range(1024)}), "at most 1024"),
    "bad name of a definition": (_document(_table(), **{"a..b": _table()}), "malformed name 'a..b'"),
    "long name of a definition": (_document(_table(), **{"a" * 256: _table()}), "at most 255"),
    "name with a line end": (_document(_table(_field(name="a\n"))), "malformed name"),
    "name with foreign digits": (_document(_table(_field(name="a\u0661"))), "malformed name"),
    "unknown kind": (_document(_table(_field(type_=".T")), T={"kind": "class"}), "neither table nor struct"),
    "kind that is a list": (_document(_table(_field(type_=".T")), T={"kind": ["enum"]}), "neither table nor struct"),
    "definition that is a number": (_document(3), "is no object"),
    "fields that are an object": (_document({"kind": "table", "fields": {}}), "is no array"),
    "too many fields": (_document(_table(*[_field(i, name=f"f{i}") for i in range(4097)])), "at most 4096"),
    "field that is a string": (_document(_table("a")), "is no object"),
    "unknown type": (_document(_table(_field(type_="int33"))), "unknown type 'int33'"),
    "type that is a number": (_document(_table(_field(type_=3))), "is no string"),
    "missing definition": (_document(_table(_field(type_=".X"))), "'X', which is not defined"),
    "missing definition in a vector": (_document(_table(_field(type_="[.X]"))), "'X', which is not defined"),
    "missing definition in a union": (_document(_table(_field(1, ".U")), U=_union(["x", 1, ".X"])), "not defined"),
    "vector of vectors": (_document(_table(_field(type_="[[int8]]"))), "unknown type"),
    "array in a table": (_document(_table(_field(type_="[int8:2]"))), "only a struct can have"),
    "id twice": (_document(_table(_field(0), _field(0, name="b"))), "0, 1, 2"),
    "gap in ids": (_document(_table(_field(0), _field(2, name="b"))), "0, 1, 2"),
    "ids out of order": (_document(_table(_field(1), _field(0, name="b"))), "0, 1, 2"),
    "no id for a tag": (_document(_table(_field(0, ".U")), U=_union()), "0, 1, 2"),
    "negative id": (_document(_table(_field(-1))), "number from 0"),
    "huge id": (_document(_table(_field(10**5000))), "number from 0"),
    "id that is a float": (_document(_table(_field(0.0))), "no whole number"),
    "name twice": (_document(_table(_field(0), _field(1))), "a name twice"),
    "name of a tag": (_document(_table(_field(0, name="a_type"), _field(2, ".U")), U=_union()), "a name twice"),
    "two keys": (_document(_table(_field(0, key=True), _field(1, name="b", key=True))), "more than one key"),
    "key of a table": (_document(_table(_field(type_=".R", key=True))), "cannot be compared"),
    "flag of false": (_document(_table(_field(deprecated=False))), "neither true nor left out"),
    "flag of 1": (_document(_table(_field(deprecated=1))), "neither true nor left out"),
    "optional string": (_document(_table(_field(type_="string", optional=True))), "optional, but no scalar"),
    "required scalar": (_document(_table(_field(required=True))), "required, but a scalar"),
    "optional with default": (_document(_table(_field(optional=True, default=1))), "optional and has a default"),
    "default too large": (_document(_table(_field(type_="uint8", default=256))), "number from 0 to 255"),
    "default of many digits": (_document(_table(_field(default=10**5000))), "number from"),
    "default of another type": (_document(_table(_field(default="1"))), "no whole number"),
    "default of a bool": (_document(_table(_field(type_="bool", default=True))), "no whole number"),
    "float too large": (_document(_table(_field(type_="float32", default=1e39))), "finite float32"),
    "float of many digits": (_document(_table(_field(type_="float64", default=10**5000))), "finite float64"),
    "float nan": (_document(_table(_field(type_="float64", default=math.nan))), "finite float64"),
    "float of another word": (_document(_table(_field(type_="float64", default="infinity"))), "no number"),
    "string with a number as default": (_document(_table(_field(type_="string", default=7))), "can have"),
    "string with an endless default": (_document(_table(_field(type_="string", default="x" * 5000))), "can have"),
    "vector with a default": (_document(_table(_field(type_="[int8]", default=[]))), "can have"),
    "table with a default": (_document(_table(_field(type_=".R", default=0))), "can have"),
    "shape of a scalar": (_document(_table(_field(shape=[1]))), "sequence of scalars"),
    "shape of strings": (_document(_table(_field(type_="[string]", shape=[1]))), "sequence of scalars"),
    "empty shape": (_document(_table(_field(type_="[int8]", shape=[]))), "no axis"),
    "second axis free": (_document(_table(_field(type_="[int8]", shape=[2, None]))), "no whole number"),
    "axis of zero": (_document(_table(_field(type_="[int8]", shape=[0]))), "number from 1"),
    "huge shape": (_document(_table(_field(type_="[int8]", shape=[2**31] * 2))), "more than"),
    "too many axes": (_document(_table(_field(type_="[int8]", shape=[1] * 33))), "at most 32"),
    "shape of another size": (
        _document(_table(_field(type_=".S")), S=_struct(_field(type_="[int8:6]", shape=[2, 2]))),
        "as many elements",
    ),
    "empty struct": (_document(_table(_field(type_=".S")), S=_struct()), "has no fields"),
    "string in a struct": (_document(_table(_field(type_=".S")), S=_struct(_field(type_="string"))), "fixed size"),
    "vector in a struct": (_document(_table(_field(type_=".S")), S=_struct(_field(type_="[int8]"))), "fixed size"),
    "table in a struct": (_document(_table(_field(type_=".S")), S=_struct(_field(type_=".R"))), "fixed size"),
    "union in a struct": (
        _document(_table(_field(type_=".S")), S=_struct(_field(1, ".U")), U=_union()),
        "fixed size",
    ),
    "default in a struct": (_document(_table(_field(type_=".S")), S=_struct(_field(default=1))), "unknown key"),
    "array of strings": (_document(_table(_field(type_=".S")), S=_struct(_field(type_="[string:2]"))), "of strings"),
    "array of tables": (_document(_table(_field(type_=".S")), S=_struct(_field(type_="[.R:2]"))), "fixed size"),
    "array of none": (_document(_table(_field(type_=".S")), S=_struct(_field(type_="[int8:0]"))), "unknown type"),
    "array too long": (
        _document(_table(_field(type_=".S")), S=_struct(_field(type_=f"[int8:{MAX_ARRAY_LENGTH + 1}]"))),
        "number from 1 to 65535",
    ),
    "array of endless length": (
        _document(_table(_field(type_=".S")), S=_struct(_field(type_=f"[int8:{'9' * 200}]"))),
        "unknown type",
    ),
    "force_align 3": (_document(_table(_field(type_=".S")), S=_struct(_field(), force_align=3)), "power of two"),
    "force_align 32": (_document(_table(_field(type_=".S")), S=_struct(_field(), force_align=32)), "0 to 16"),
    "struct of itself": (_document(_table(_field(type_=".S")), S=_struct(_field(type_=".S"))), "holds itself"),
    "structs of each other": (
        _document(
            _table(_field(type_=".S")),
            S=_struct(_field(type_="int8"), _field(1, "[.T:2]", "b"), _field(2, ".T", "c")),
            T=_struct(_field(type_=".S"), _field(1, ".S", "b")),
        ),
        "holds itself",
    ),
    "structs too deep": (_chain(MAX_STRUCT_DEPTH + 1), "deep"),
    "structs far too deep": (_chain(1000), "deep"),
    "struct too large": (
        _document(
            _table(_field(type_=".S")),
            S=_struct(_field(type_="[.T:65535]")),
            T=_struct(_field(type_="[float64:65535]")),
        ),
        "larger than",
    ),
    "enum of floats": (_document(_table(_field(type_=".E")), E=_enum(["A", 0], underlying="float32")), "no integer"),
    "enum of bools": (_document(_table(_field(type_=".E")), E=_enum(["A", 0], underlying="bool")), "no integer"),
    "enum of enums": (_document(_table(_field(type_=".E")), E=_enum(["A", 0], underlying=".E")), "no integer"),
    "enum value too large": (_document(_table(_field(type_=".E")), E=_enum(["A", 256])), "number from 0 to 255"),
    "enum value twice": (_document(_table(_field(type_=".E")), E=_enum(["A", 0], ["B", 0])), "ascending"),
    "enum name twice": (_document(_table(_field(type_=".E")), E=_enum(["A", 0], ["A", 1])), "a name twice"),
    "enum value alone": (_document(_table(_field(type_=".E")), E=_enum(["A"])), "pair"),
    "flag of two bits": (_document(_table(_field(type_=".E")), E=_enum(["A", 3], bit_flags=True)), "single bit"),
    "flag of no bit": (_document(_table(_field(type_=".E")), E=_enum(["A", 0], bit_flags=True)), "single bit"),
    "tag 0": (_document(_table(_field(1, ".U")), U=_union(["a", 0, "string"])), "1 to 255"),
    "tag 256": (_document(_table(_field(1, ".U")), U=_union(["a", 256, "string"])), "1 to 255"),
    "tag twice": (_document(_table(_field(1, ".U")), U=_union(["a", 1, "string"], ["b", 1, ".R"])), "ascending"),
    "member twice": (_document(_table(_field(1, ".U")), U=_union(["a", 1, "string"], ["a", 2, ".R"])), "name twice"),
    "member NONE": (_document(_table(_field(1, ".U")), U=_union(["NONE", 1, "string"])), "name twice"),
    "member of a scalar": (_document(_table(_field(1, ".U")), U=_union(["a", 1, "int8"])), "neither table"),
    "member of a union": (_document(_table(_field(1, ".U")), U=_union(["a", 1, ".U"])), "neither table"),
    "member that is a pair": (_document(_table(_field(1, ".U")), U=_union(["a", 1])), "triple"),
}


@pytest.mark.parametrize(("document", "reason"), REFUSED.values(), ids=REFUSED)
def test_refuses(document: Any, reason: str) -> None:
    with pytest.raises(VerificationError, match="^a schema's .*" + reason) as caught:
        from_json(document)
    assert len(str(caught.value)) < 700


def test_takes_what_is_just_within_the_limits() -> None:
    assert len(from_json(_chain(MAX_STRUCT_DEPTH)).definitions) == MAX_STRUCT_DEPTH + 1
    schema = from_json(_document(_table(_field(type_=".S")), S=_struct(_field(type_="[float64:65535]"))))
    assert schema.struct_layout("S")[0] == 8 * 65535
    assert len(from_json(_document(_table(*[_field(i, name=f"f{i}") for i in range(4096)]))).definitions) == 1


# ---- mutated documents -----------------------------------------------------------------------------------------------

_STRANGE: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        255,
        2**64,
        10**5000,
        0.5,
        math.nan,
        math.inf,
        [],
        {},
        [[]],
        "",
        "a",
        ".",
        "[",
        "[]",
    ),
    *("[:3]", "[int8:3]", "[.a.Root]", ".a.Root", "string", "float64", "nan", "\ud800", "\0", "x" * 300, ["a", 1]),
    *("table", "struct", "enum", "union", "fields", "key", "a.Root"),
]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a document, with each of its keys or indexes."""
    keys = [*value] if isinstance(value, dict) else [*range(len(value))] if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def _replace(container: Any, key: Any, value: Any) -> None:
    container[key] = value


def _remove(container: Any, key: Any, value: Any) -> None:
    del container[key]


def _add(container: Any, key: Any, value: Any) -> None:
    if isinstance(container, list):
        container.insert(key, value)
    else:
        container[value if isinstance(value, str) else "key"] = container[key]


def _double(container: Any, key: Any, value: Any) -> None:
    _add(container, key, copy.deepcopy(container[key]))


_MUTATIONS: list[Callable[[Any, Any, Any], None]] = [_replace, _remove, _add, _double]


@settings(deadline=None)
@given(schemas(), st.data())
def test_a_mutated_document_is_refused_or_describes_a_schema(schema: Schema, data: st.DataObject) -> None:
    document = copy.deepcopy(to_json(schema, ROOT))
    for _ in range(data.draw(st.integers(1, 3))):
        places = _places(document)
        if places:
            container, key = data.draw(st.sampled_from(places))
            strange = data.draw(st.sampled_from(_STRANGE) | st.sampled_from([c[k] for c, k in places]))
            data.draw(st.sampled_from(_MUTATIONS))(container, key, copy.deepcopy(strange))
    try:
        taken = from_json(document)
    except VerificationError:
        return
    assert taken.root is not None
    # What was taken is whole: it can be laid out, and described anew.
    for name, definition in taken.definitions.items():
        assert name == definition.name
        if isinstance(definition, StructDefinition):
            assert taken.struct_layout(name)[0] > 0
    assert from_json(to_json(taken, taken.root)) == taken
