import enum
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from lunar.errors import SchemaError
from lunar.messages import fields
from lunar.messages.annotations import schema_of
from lunar.messages.fields import Array, field, float32, float64, int8, int32, int64
from lunar.messages.schema import Array as FixedArray
from lunar.messages.schema import (
    EnumDefinition,
    Field,
    Named,
    Scalar,
    SchemaType,
    String,
    StructDefinition,
    TableDefinition,
    UnionDefinition,
    UnionMember,
    Vector,
)
from tests.unit.messages.annotated import (
    Access,
    Gear,
    Go,
    Mode,
    Point,
    Stop,
    make,
    message,
    one_field,
    table,
)

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
        (Array[Mode, 3], "only an Array of numbers can have lengths"),  # type: ignore[valid-type]
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
            Field("mode", Named("Mode"), 1),
            Field("size", FixedArray(Scalar.FLOAT32, 3), 2),
            Field("turn", FixedArray(Scalar.FLOAT64, 9), 3, shape=(3, 3)),
            Field("corners", FixedArray(Named("Point"), 4), 4),
            Field("weight", Scalar.FLOAT64, 5),
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
        (Array[Point, 2, 2], fields.MISSING, "only an Array of numbers"),  # type: ignore[valid-type]
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
