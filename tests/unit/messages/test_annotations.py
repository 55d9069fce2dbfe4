import enum
import math
import os
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar

import pytest

import lunar
from lunar.errors import SchemaError
from lunar.messages import fields
from lunar.messages.annotations import schema_of
from lunar.messages.declarations import UnresolvedName
from lunar.messages.fields import Array, field, float32, float64, int8, int32, int64, uint8, uint64
from lunar.messages.schema import Array as FixedArray
from lunar.messages.schema import (
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

_Class = TypeVar("_Class", bound=type)


def message(cls: _Class) -> _Class:
    """As the decorator does it: mark the class, then say its schema."""
    cls.__lunar_struct__ = False  # type: ignore[attr-defined]
    cls.__lunar_schema__ = schema_of(cls)  # type: ignore[attr-defined]
    return cls


def struct(cls: _Class) -> _Class:
    cls.__lunar_struct__ = True  # type: ignore[attr-defined]
    cls.__lunar_schema__ = schema_of(cls)  # type: ignore[attr-defined]
    return cls


def marked(cls: _Class) -> _Class:
    """A message class whose schema is not known yet."""
    cls.__lunar_struct__ = False  # type: ignore[attr-defined]
    return cls


def make(name: str, annotations: Mapping[str, object], is_struct: bool = False, **attributes: object) -> type:
    contents = {"__annotations__": annotations, "__module__": __name__, "__lunar_struct__": is_struct, **attributes}
    return type(name, (), contents)


def one_field(annotation: object, default: object = fields.MISSING, is_struct: bool = False) -> Field:
    """The only field of a class "M" with this annotation."""
    attributes = {} if default is fields.MISSING else {"f": default}
    schema, name = schema_of(make("M", {"f": annotation}, is_struct, **attributes))
    definition = schema.definitions[name]
    assert isinstance(definition, TableDefinition | StructDefinition)
    (found,) = definition.fields
    return found


def table(schema: Schema, name: str) -> TableDefinition:
    definition = schema.definitions[name]
    assert isinstance(definition, TableDefinition)
    return definition


class Mode(enum.IntEnum):
    """How it drives.

    More about it.
    """

    PARKED = 0
    MANUAL = 1
    AUTO = 2


class Gear(enum.IntEnum):
    __underlying__ = uint8
    FIRST = 1
    SECOND = 2


class Access(enum.IntFlag):
    __underlying__ = Scalar.UINT8
    READ = 1
    WRITE = 2
    BOTH = 3


@struct
class Point:
    x: float64
    y: float64


@message
class Stop:
    pass


@message
class Go:
    """Drive there.

    As fast as it may.
    """

    to: Point
    speed: float32 = 1.5


# ---- scalars ----


@pytest.mark.parametrize(
    ("annotation", "scalar"),
    [
        (bool, Scalar.BOOL),
        (int, Scalar.INT64),
        (float, Scalar.FLOAT64),
        *((getattr(fields, scalar.fbs_name), scalar) for scalar in Scalar if scalar is not Scalar.BOOL),
    ],
    ids=str,
)
def test_a_number_has_its_size_and_is_0_when_absent(annotation: object, scalar: Scalar) -> None:
    found = one_field(annotation)
    assert found == Field("f", scalar, 0, default=0)
    assert isinstance(found.default, float) == scalar.is_float
    assert one_field(Annotated[annotation, "words for others"]) == found


@pytest.mark.parametrize(
    ("annotation", "default", "stored"),
    [
        (bool, True, 1),
        (int8, -128, -128),
        (uint64, 2**64 - 1, 2**64 - 1),
        (int32, Mode.AUTO, 2),
        (float32, 3, 3.0),
        (float32, math.inf, math.inf),
        (float64, 1e300, 1e300),
        (Mode, Mode.AUTO, 2),
        (Mode, 2, 2),
        (Gear, Gear.SECOND, 2),
        (Access, Access.READ | Access.WRITE, 3),
    ],
    ids=repr,
)
def test_a_default_is_stored_as_a_number(annotation: object, default: object, stored: float) -> None:
    found = one_field(annotation, default).default
    assert found == stored
    assert type(found) is type(stored)


@pytest.mark.parametrize(
    ("annotation", "default", "text"),
    [
        (uint8, 256, "the default 256 is no uint8; allowed: an integer from 0 to 255"),
        (int8, -129, "no int8"),
        (int32, 1.0, "no int32"),
        (int32, True, "no int32"),
        (bool, 1, "no bool; allowed: True, False"),
        (float32, 1e39, "no float32"),
        (float64, "1", "no float64"),
        (float64, True, "no float64"),
        (int32 | None, 5, "5 cannot be the default of an optional number; allowed: None"),
        (int32, None, "the default None is no int32"),
        (Mode, 3, "3 cannot be the default; allowed: PARKED, MANUAL, AUTO of Mode"),
        (Mode, "AUTO", "'AUTO' cannot be the default"),
        (Access, 4, "4 cannot be the default; allowed: READ, WRITE of Access"),
        (Gear, fields.MISSING, "needs a default, as none of the values is 0; allowed: FIRST, SECOND of Gear"),
        (str, 5, "5 cannot be the default of text; allowed: a str"),
        (str | None, "x", "'x' cannot be the default of text that may be None; allowed: None"),
        (str, None, "None cannot be the default unless the annotation says `| None`"),
        (list[int32], None, "None cannot be the default unless"),
        (list[int32], [1], "cannot be the default of a sequence; allowed: empty"),
        (bytes, b"x", "cannot be the default of a sequence"),
        (Point, Point(), "cannot be the default of a message or union; allowed: None"),
    ],
    ids=repr,
)
def test_refuses_a_default_that_the_type_does_not_have(annotation: object, default: object, text: str) -> None:
    with pytest.raises(SchemaError) as caught:
        one_field(annotation, default)
    assert str(caught.value).startswith("M.f: ")
    assert text in str(caught.value)


def test_an_optional_number_is_told_apart_from_0() -> None:
    expected = Field("f", Scalar.INT32, 0, default=None, optional=True)
    assert one_field(int32 | None) == one_field(int32 | None, None) == expected
    assert one_field(Mode | None) == Field("f", Named("Mode"), 0, default=None, optional=True)


# ---- enums ----


def test_an_enum_is_int32_and_keeps_its_words() -> None:
    schema, _ = schema_of(make("M", {"f": Mode}))
    values = (("PARKED", 0), ("MANUAL", 1), ("AUTO", 2))
    assert schema.definitions["Mode"] == EnumDefinition("Mode", Scalar.INT32, values, documentation=("How it drives.",))


def test_an_enum_says_its_underlying_type() -> None:
    schema, _ = schema_of(make("M", {"f": Gear | None}))
    assert schema.definitions["Gear"] == EnumDefinition("Gear", Scalar.UINT8, (("FIRST", 1), ("SECOND", 2)))


def test_flags_combine_and_have_no_name_for_a_combination() -> None:
    schema, _ = schema_of(make("M", {"f": Access}))
    assert schema.definitions["Access"] == EnumDefinition(
        "Access", Scalar.UINT8, (("READ", 1), ("WRITE", 2)), bit_flags=True
    )


def test_an_enum_without_words_has_none_and_its_values_are_in_order() -> None:
    plain = enum.IntEnum("plain", {"B": 5, "A": -2, "ALIAS": 5})
    schema, _ = schema_of(make("M", {"f": plain | None}))
    assert schema.definitions["plain"] == EnumDefinition("plain", Scalar.INT32, (("A", -2), ("B", 5)))


def test_refuses_an_enum_that_flatbuffers_does_not_have() -> None:
    class Wide(enum.IntEnum):
        A = 2**31

    class Signed(enum.IntFlag):
        __underlying__ = int8
        A = 1

    class Real(enum.IntEnum):
        __underlying__ = float32
        A = 0

    class Empty(enum.IntEnum):
        pass

    class Plain(enum.Enum):
        A = 0

    for refused, text in [
        (Wide, "Wide.A: 2147483648 is no int32; choose another `__underlying__`"),
        (Signed, "flags are unsigned"),
        (Real, "allowed: lunar.int8 to lunar.uint64"),
        (Empty, "at least one value"),
        (Plain, "derive the enum from IntEnum or IntFlag"),
    ]:
        with pytest.raises(SchemaError, match=text):
            one_field(refused)


# ---- text, sequences, messages ----


@pytest.mark.parametrize(
    ("annotation", "default", "type_", "stored"),
    [
        (str, fields.MISSING, String(), ""),
        (str, "x", String(), "x"),
        (str | None, fields.MISSING, String(), None),
        (str | None, None, String(), None),
        (bytes, fields.MISSING, Vector(Scalar.UINT8), "[]"),
        (bytes | None, None, Vector(Scalar.UINT8), None),
        (list[str], fields.MISSING, Vector(String()), "[]"),
        (list[str], [], Vector(String()), "[]"),
        (list[float], (), Vector(Scalar.FLOAT64), "[]"),
        (Sequence[bool], fields.MISSING, Vector(Scalar.BOOL), "[]"),
        (list[Mode], fields.MISSING, Vector(Named("Mode")), "[]"),
        (list[Point], fields.MISSING, Vector(Named("Point")), "[]"),
        (list[Go] | None, fields.MISSING, Vector(Named("Go")), None),
        (Go, fields.MISSING, Named("Go"), None),
        (Go | None, None, Named("Go"), None),
        (Point, None, Named("Point"), None),
    ],
    ids=repr,
)
def test_what_need_not_be_there(annotation: object, default: object, type_: SchemaType, stored: str | None) -> None:
    assert one_field(annotation, default) == Field("f", type_, 0, default=stored)


@pytest.mark.parametrize(
    ("annotation", "element", "shape"),
    [
        (Array[int32], Scalar.INT32, ()),
        (Array[int32, None], Scalar.INT32, ()),
        (Array[float], Scalar.FLOAT64, ()),
        (Array[Mode], Named("Mode"), ()),
        (Array[float64, 3], Scalar.FLOAT64, (3,)),  # type: ignore[valid-type]
        (Array[float64, 3, 3], Scalar.FLOAT64, (3, 3)),  # type: ignore[valid-type]
        (Array[float64, Literal[3], Literal[2]], Scalar.FLOAT64, (3, 2)),
        (Array[float32, None, 3], Scalar.FLOAT32, (None, 3)),  # type: ignore[valid-type]
    ],
    ids=repr,
)
def test_an_array_in_a_table_is_a_vector_with_a_shape(
    annotation: object, element: Scalar | Named, shape: fields.Shape
) -> None:
    # Nothing that is empty has a shape whose every length is given.
    stored = "[]" if not shape or shape[0] is None else None
    assert one_field(annotation) == Field("f", Vector(element), 0, default=stored, shape=shape)


def test_an_array_may_be_none_and_its_shape_may_stand_in_field() -> None:
    assert one_field(Array[int32] | None) == Field("f", Vector(Scalar.INT32), 0)
    assert one_field(Array[int32], field(shape=(None, 3))).shape == (None, 3)


@pytest.mark.parametrize("shape", [(0,), (-1,), (True,), (3, None), (2.0,), ("3",)], ids=repr)
def test_refuses_what_is_no_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(SchemaError, match="allowed: an integer from 1, and on the first axis None"):
        Array[(float64, *shape)]  # type: ignore[valid-type]
    with pytest.raises(SchemaError, match="is not valid: axis"):
        field(shape=shape)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (dict[str, int], "dict[str, int] is not a type that a field of a message can have; allowed: bool, int"),
        (object, "object is not a type"),
        (None, "None is not a type"),
        (list, "say of what: list[...]"),
        (Array, "say of what: list[...], lunar.Array[...]"),
        (list[list[int]], "list[int] cannot be the element of a sequence"),
        (list[Go | None], "cannot be the element of a sequence"),
        (list[Array[int32]], "lunar.Array[...] cannot be the element of a sequence"),
        (list[bytes], "bytes cannot be the element of a sequence"),
        (Array[str], "str cannot be the element of an Array"),
        (Array[Go], "Go cannot be the element of an Array"),
        (Array[Point], "an Array of structs can only be in a struct; use list[...]"),
        (int32 | str, "cannot be in a union; allowed: message classes, str and None"),
        (Go | Mode, "Mode cannot be in a union"),
        (Path, "decorate Path with @lunar.message"),
        (type("ndarray", (), {"__module__": "numpy"}), "write lunar.Array[...]"),
    ],
    ids=repr,
)
def test_refuses_other_annotations_and_says_what_to_write(annotation: object, text: str) -> None:
    with pytest.raises(SchemaError) as caught:
        one_field(annotation)
    assert str(caught.value).startswith("M.f: ")
    assert text in str(caught.value)


# ---- whole classes ----


def test_the_class_of_the_documentation() -> None:
    class Wheel:
        """A wheel.

        One of four.
        """

        limit: ClassVar[int] = 3
        stamp_ns: int64
        speed: float32
        torque: float32 = 0.0
        label: str | None = None
        ticks: Array[int32]

    schema, name = schema_of(Wheel)
    assert name == schema.root == "Wheel"
    assert schema.definitions == {
        "Wheel": TableDefinition(
            "Wheel",
            (
                Field("stamp_ns", Scalar.INT64, 0, 0),
                Field("speed", Scalar.FLOAT32, 1, 0.0),
                Field("torque", Scalar.FLOAT32, 2, 0.0),
                Field("label", String(), 3),
                Field("ticks", Vector(Scalar.INT32), 4, "[]"),
            ),
            ("A wheel.",),
        )
    }


def test_the_schema_is_closed_and_holds_what_the_root_needs_in_that_order() -> None:
    schema, name = schema_of(make("M", {"go": Go, "mode": Mode}))
    assert [*schema.definitions] == [name, "Go", "Point", "Mode"]


def test_the_name_is_the_one_given_or_the_classs_own() -> None:
    named = make("M", {"f": int}, __lunar_name__="space.ship.M")
    assert schema_of(named)[1] == "space.ship.M"
    schema, name = schema_of(named, "other.N")
    assert (name, schema.root, [*schema.definitions]) == ("other.N", "other.N", ["other.N"])


def test_a_class_that_has_a_schema_has_that_one() -> None:
    assert schema_of(Go) is vars(Go)["__lunar_schema__"]
    assert schema_of(Go, "Went")[1] == "Went"


def test_fields_of_bases_come_first() -> None:
    class Base:
        a: int32 = 1
        b: int32

    class Derived(Base):
        c: int32
        a: int64 = 2

    schema, _ = schema_of(Derived)
    found = [(each.name, each.type, each.default) for each in table(schema, "Derived").fields]
    assert found == [("a", Scalar.INT64, 2), ("b", Scalar.INT32, 0), ("c", Scalar.INT32, 0)]


def test_what_a_base_is_called_is_not_what_derives_from_it() -> None:
    class Faster(Go):
        extra: int32

    schema, name = schema_of(Faster)
    assert name == "Faster"
    assert [each.name for each in table(schema, name).fields] == ["to", "speed", "extra"]


def test_slots_are_no_defaults() -> None:
    class Slotted:
        __slots__ = ("a",)
        a: int32

    assert table(schema_of(Slotted)[0], "Slotted").fields == (Field("a", Scalar.INT32, 0, 0),)


def test_refuses_private_names() -> None:
    with pytest.raises(SchemaError, match=r"M\._f: the name of a field does not begin with an underscore"):
        schema_of(make("M", {"_f": int}))


def test_one_name_stands_for_one_definition() -> None:
    other = message(make("Go", {"x": int32}))
    with pytest.raises(SchemaError, match="Go: two different definitions have this name"):
        schema_of(make("M", {"a": Go, "b": other}))
    same = make("Point", {"x": float64, "y": float64}, is_struct=True, __doc__="Other words.")
    same.__lunar_schema__ = schema_of(same)  # type: ignore[attr-defined]
    assert [*schema_of(make("M", {"a": Point, "b": same}))[0].definitions] == ["M", "Point"]


def test_one_name_stands_for_one_class_that_has_no_schema_yet() -> None:
    first, second = make("N", {"x": int32}), make("N", {"y": int32})
    second.__qualname__ = "Outer.N"
    with pytest.raises(SchemaError, match="N: two classes have this name"):
        schema_of(make("M", {"a": first, "b": second}))


# ---- unions ----


def test_a_union_is_called_after_class_and_field_and_takes_two_ids() -> None:
    schema, _ = schema_of(
        make("M", {"n": int32, "next_step": Go | Stop | str | None, "z": int32}, __lunar_name__="car.M")
    )
    assert schema.definitions["car.MNextStep"] == UnionDefinition(
        "car.MNextStep",
        (UnionMember("Go", 1, Named("Go")), UnionMember("Stop", 2, Named("Stop")), UnionMember("String", 3, String())),
    )
    ids = [(each.name, each.id, each.type) for each in table(schema, "car.M").fields]
    assert ids == [("n", 0, Scalar.INT32), ("next_step", 2, Named("car.MNextStep")), ("z", 3, Scalar.INT32)]


def test_a_vector_of_unions_takes_two_ids_as_well() -> None:
    schema, _ = schema_of(make("M", {"steps": list[Go | Point], "z": int32}))
    assert [each.id for each in table(schema, "M").fields] == [1, 2]
    assert table(schema, "M").fields[0].type == Vector(Named("MSteps"))
    assert isinstance(schema.definitions["MSteps"], UnionDefinition)


def test_a_union_may_be_named() -> None:
    schema, _ = schema_of(make("M", {"f": Go | Stop}, f=field(union="Step")))
    assert isinstance(schema.definitions["Step"], UnionDefinition)
    with pytest.raises(SchemaError, match=r"M\.f: is no union"):
        one_field(Go, field(union="Step"))


def test_refuses_a_union_of_two_with_one_name() -> None:
    other = make("Go", {"x": int32}, __lunar_name__="other.Go")
    with pytest.raises(SchemaError, match="two alternatives of the union are called Go"):
        one_field(Go | other)


# ---- structs ----


def test_a_struct_lies_in_place() -> None:
    class Cell:
        at: Point
        mode: Mode
        size: Array[float32, 3]  # type: ignore[valid-type]
        turn: Array[float64, 3, 3]  # type: ignore[valid-type]
        corners: Array[Point, 4]  # type: ignore[valid-type]
        weight: float64 = 0.0

    Cell.__lunar_struct__ = True  # type: ignore[attr-defined]
    schema, name = schema_of(Cell)
    assert schema.root is None
    assert schema.definitions[name] == StructDefinition(
        "Cell",
        (
            Field("at", Named("Point"), 0),
            Field("mode", Named("Mode"), 1, 0),
            Field("size", FixedArray(Scalar.FLOAT32, 3), 2),
            Field("turn", FixedArray(Scalar.FLOAT64, 9), 3, shape=(3, 3)),
            Field("corners", FixedArray(Named("Point"), 4), 4),
            Field("weight", Scalar.FLOAT64, 5, 0.0),
        ),
    )
    assert schema.struct_layout(name)[0] == 16 + 4 + 12 + 72 + 64 + 8


@pytest.mark.parametrize(
    ("annotation", "default", "text"),
    [
        (str, fields.MISSING, "str cannot be in a struct"),
        (Go, fields.MISSING, "Go cannot be in a struct"),
        (int32 | None, fields.MISSING, "cannot be in a struct"),
        (list[int32], fields.MISSING, "cannot be in a struct"),
        (Array[int32], fields.MISSING, "Arrays of these with every length given"),
        (Array[int32, None, 3], fields.MISSING, "every length given"),  # type: ignore[valid-type]
        (Go | Stop, fields.MISSING, "cannot be in a struct"),
        (float64, 1.0, "a field of a struct has no default but 0"),
        (Point, Point(), "no default but 0"),
        (Gear, fields.MISSING, "none of the values is 0"),
        (int32, field(id=0), "no required, no deprecated, no id"),
        (int32, field(deprecated=True), "no required, no deprecated, no id"),
        (Point, field(key=True), "only a number can be the key of a struct"),
    ],
    ids=repr,
)
def test_refuses_what_a_struct_cannot_hold(annotation: object, default: object, text: str) -> None:
    with pytest.raises(SchemaError) as caught:
        one_field(annotation, default, is_struct=True)
    assert str(caught.value).startswith("M.f: ")
    assert text in str(caught.value)


def test_refuses_a_struct_without_fields_or_in_itself() -> None:
    with pytest.raises(SchemaError, match="a struct has at least one field"):
        schema_of(make("M", {}, is_struct=True))
    with pytest.raises(SchemaError, match=r"M\.m: M cannot be in a struct"):
        schema_of(make("M", {"m": "M"}, is_struct=True))


# ---- field ----


def test_field_says_what_the_annotation_cannot() -> None:
    assert one_field(int32, field(default=5, key=True)) == Field("f", Scalar.INT32, 0, 5, key=True)
    assert one_field(str, field(required=True)) == Field("f", String(), 0, required=True)
    assert one_field(Go, field(required=True)) == Field("f", Named("Go"), 0, required=True)
    assert one_field(float32, field(deprecated=True, doc="m\nnot used")) == Field(
        "f", Scalar.FLOAT32, 0, 0.0, deprecated=True, documentation=("m", "not used")
    )


def test_text_that_is_a_key_is_required() -> None:
    assert one_field(str, field(key=True)) == Field("f", String(), 0, required=True, key=True)


@pytest.mark.parametrize(
    ("annotation", "options", "text"),
    [
        (int32, field(required=True), "only text, sequences and messages can be required"),
        (str | None, field(required=True), "only text, sequences and messages can be required"),
        (str, field(required=True, default="x"), "what is required has no default"),
        (int32 | None, field(key=True), "only a number or text can be the key"),
        (Go, field(key=True), "only a number or text can be the key"),
        (Array[int32, 3], field(shape=(3,)), "for an Array that has no lengths of its own"),  # type: ignore[valid-type]
        (list[int32], field(shape=(3,)), "for an Array that has no lengths of its own"),
    ],
)
def test_refuses_options_that_contradict_the_type(annotation: object, options: object, text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        one_field(annotation, options)


def test_ids_put_the_fields_in_order() -> None:
    cls = make("M", {"a": int32, "u": Go | Stop, "b": int32}, a=field(id=3), u=field(id=1), b=field(id=2))
    assert [(each.name, each.id) for each in table(schema_of(cls)[0], "M").fields] == [("u", 1), ("b", 2), ("a", 3)]


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ({"a": 0, "b": 2}, "M.b: the id 2 is not valid; allowed: 1"),
        ({"a": 0, "b": 0}, "M.b: the id 0 is not valid; allowed: 1"),
        ({"a": 1, "b": 2}, "M.a: the id 1 is not valid; allowed: 0"),
        ({"a": 0}, "M.b: has no id, but M.a has; give all of them one or none"),
    ],
)
def test_refuses_ids_with_gaps(ids: Mapping[str, int], text: str) -> None:
    options = {name: field(id=number) for name, number in ids.items()}
    with pytest.raises(SchemaError, match=text):
        schema_of(make("M", {"a": int32, "b": int32}, **options))


def test_refuses_a_second_key() -> None:
    with pytest.raises(SchemaError, match="M: one field can be the key, not a and b"):
        schema_of(make("M", {"a": int32, "b": int32}, a=field(key=True), b=field(key=True)))


# ---- names in annotations ----


def test_names_in_quotes_are_those_of_the_class_the_scope_and_the_module() -> None:
    class Local:
        n: "int32"

    marked(Local)

    class Outer:
        class Inner:
            n: int32

        marked(Inner)
        local: "Local | None"
        inner: "Inner"
        points: "list[Point]"
        own: "Outer | None"
        quoted: list["Outer"]
        limit: "ClassVar[int]" = 3

    schema, _ = schema_of(Outer, scope={"Local": Local})
    found = {each.name: each.type for each in table(schema, "Outer").fields}
    assert found == {
        "local": Named("Local"),
        "inner": Named("Inner"),
        "points": Vector(Named("Point")),
        "own": Named("Outer"),
        "quoted": Vector(Named("Outer")),
    }


def test_a_class_may_mention_itself_under_the_name_that_it_is_given() -> None:
    class Tree:
        children: "list[Tree]"

    schema, _ = schema_of(Tree, "forest.Tree")
    assert table(schema, "forest.Tree").fields[0].type == Vector(Named("forest.Tree"))


MODULE = """
from __future__ import annotations
import lunar.messages.fields as lunar

class First:
    str: lunar.int32 = 5
    second: Second | None
    label: Text

class Second:
    first: list[First]

Text = str
"""


@pytest.fixture
def module() -> types.ModuleType:
    return types.ModuleType("annotated_module_of_a_test")


def test_classes_may_mention_each_other_in_a_circle(module: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(MODULE, vars(module))
    first, second = marked(module.First), marked(module.Second)
    first.__lunar_schema__ = schema_of(first)
    schema, name = schema_of(second)
    assert schema.definitions == first.__lunar_schema__[0].definitions
    assert (name, schema.root) == ("Second", "Second")
    assert [each.type for each in table(schema, "First").fields] == [Scalar.INT32, Named("Second"), String()]


def test_a_name_that_is_not_there_yet_can_be_told_from_an_error(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(MODULE.partition("class Second")[0], vars(module))
    with pytest.raises(UnresolvedName, match=r"First\.second: name 'Second' is not defined"):
        schema_of(module.First)


@pytest.mark.parametrize("annotation", ["1 / 0", "int32 +", "lunar.no_such_name", "Array[float64, 0]"])
def test_an_annotation_that_cannot_be_evaluated_is_an_error_of_its_field(annotation: str) -> None:
    with pytest.raises(SchemaError, match=r"^M\.f: "):
        schema_of(make("M", {"f": annotation}))


def test_the_class_comes_before_what_bore_its_name_before() -> None:
    old = marked(make("Node", {"x": int32}))
    new = make("Node", {"next": "Node | None"})
    assert [*schema_of(new, scope={"Node": old})[0].definitions] == ["Node"]
    assert table(schema_of(new, scope={"Node": old})[0], "Node").fields == (Field("next", Named("Node"), 0),)


# ---- type checkers ----

SNIPPET = """
from typing import Literal, TypeVar, dataclass_transform
import numpy as np
from lunar.messages.fields import Array, field, float32, float64, int32

T = TypeVar("T")

@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def message(cls: type[T]) -> type[T]:
    return cls

@message
class Wheel:
    ticks: Array[int32]
    speed: float32 = 0.0
    turn: Array[float64, Literal[3], Literal[3]]
    cells: Array[float32] = field(shape=(None, 3), default=())
    load: float32 | None = field(default=None)

wheel = Wheel(ticks=np.arange(4), turn=[[1.0], [2.0]])
Wheel(ticks=[1, 2], turn=np.eye(3), speed=1, load=2.0, cells=[1.0])
wheel.ticks[:] = 5
wheel.ticks = range(3)
reveal_type(wheel.ticks.sum())
reveal_type(wheel.turn)
reveal_type(wheel.load)
Wheel(ticks=["a"], turn=[])  # refused
Wheel(ticks=[1], turn=[], speed="fast")  # refused
Wheel(turn=[])  # refused
wheel.ticks = "abc"  # refused
"""

# Enough of NumPy, and quicker to check than all of it.
NUMPY = """
class ndarray:
    def __setitem__(self, key: slice, value: int) -> None: ...
    def sum(self) -> float: ...
def arange(stop: int) -> ndarray: ...
def eye(rows: int) -> ndarray: ...
"""


def test_type_checkers_see_what_the_user_assigns_and_gets(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed: it belongs to the extra `dev`")
    (tmp_path / "numpy.pyi").write_text(NUMPY)
    (tmp_path / "snippet.py").write_text(SNIPPET)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\nfollow_imports = silent\n")
    root = Path(lunar.__path__[0]).parent
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "snippet.py"]
    environment = {**os.environ, "MYPYPATH": os.pathsep.join([str(tmp_path), str(root)])}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    lines = SNIPPET.splitlines()
    refused = {number for number, line in enumerate(lines, 1) if line.endswith("# refused")}
    said = run.stdout.splitlines()
    errors = {int(line.split(":")[1]) for line in said if ": error: " in line}
    assert errors == refused, run.stdout + run.stderr
    revealed = [line.partition("Revealed type is ")[2] for line in said if ": note: Revealed" in line]
    assert revealed[1:] == ['"numpy.ndarray"', '"float | None"'], run.stdout


def test_numpy_is_not_imported_for_annotations() -> None:
    code = "import sys; from lunar.messages import annotations, fields; print('numpy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
