"""From a schema to classes: what absent fields read as, words for people, limits."""

# Classes made at run time, and wrong values on purpose: what type checkers see is tested with snippets.
# mypy: ignore-errors
import enum
import gc
import weakref
from pathlib import Path

import numpy as np
import pytest

import lunar
from lunar.messages import decode, encode
from lunar.messages.plan import Compiler, describe_type
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
from tests.unit.messages.forms import Form, load_text

LEVEL = EnumDefinition("n.Level", Scalar.UINT8, (("LOW", 1), ("HIGH", 2)))
PAIR = StructDefinition("n.Pair", (Field("a", Scalar.INT32, 0), Field("b", Scalar.FLOAT64, 1)))
CHOICE = UnionDefinition("n.Choice", (UnionMember("Pair", 1, Named("n.Pair")), UnionMember("text", 2, String())))


def table(*fields: Field, **options: object) -> Form:
    definition = TableDefinition("n.M", tuple(fields))
    definitions = {each.name: each for each in (LEVEL, PAIR, CHOICE, definition)}
    return Compiler(Schema(definitions, root="n.M"), "made", **options).class_of("n.M")


def received(message: Form) -> Form:
    return decode(type(message), encode(message))


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (Scalar.INT8, "int8, -128 to 127"),
        (Scalar.UINT64, "uint64, 0 to 18446744073709551615"),
        (Scalar.FLOAT32, "float32"),
        (Scalar.BOOL, "bool"),
        (String(), "str"),
        (Named("n.Level"), "n.Level"),
        (Named("n.Choice"), "n.Pair or str"),
        (Vector(Scalar.FLOAT64), "a sequence of float64"),
        (Vector(Named("n.Pair")), "a sequence of n.Pair"),
        (Vector(Named("n.Choice")), "a sequence of n.Pair or str"),
        (Array(Scalar.UINT8, 4), "4 of uint8, 0 to 255"),
    ],
)
def test_types_in_words(type_: object, words: str) -> None:
    schema = Schema({each.name: each for each in (LEVEL, PAIR, CHOICE)})
    assert describe_type(type_, schema) == words


@pytest.mark.parametrize(
    ("field", "absent"),
    [
        (Field("f", Scalar.INT32, 0), 0),
        (Field("f", Scalar.INT32, 0, default=-7), -7),
        (Field("f", Scalar.INT32, 0, optional=True), None),
        (Field("f", Scalar.BOOL, 0, default=1), True),
        (Field("f", Scalar.FLOAT64, 0, default=0.1), 0.1),
        (Field("f", Scalar.FLOAT32, 0, default=0.1), float(np.float32(0.1))),
        (Field("f", Scalar.UINT64, 0, default=2**64 - 1), 2**64 - 1),
        (Field("f", Named("n.Level"), 0, default=2), 2),
        (Field("f", Named("n.Level"), 0), 0),
        (Field("f", String(), 0), None),
        (Field("f", String(), 0, default="d"), "d"),
        (Field("f", Named("n.Pair"), 0), None),
        (Field("f", Named("n.Choice"), 1), None),
    ],
)
def test_what_is_absent_reads_as_its_default(field: Field, absent: object) -> None:
    cls = table(field)
    for message in (cls(), received(cls()), cls().copy()):
        assert message.f == absent
        assert isinstance(message.f, bool) == isinstance(absent, bool)


def test_an_enums_default_is_a_member_where_there_is_one() -> None:
    assert table(Field("f", Named("n.Level"), 0, default=2))().f.name == "HIGH"
    assert type(table(Field("f", Named("n.Level"), 0))().f) is int


def test_an_absent_vector_is_empty_or_told_apart() -> None:
    vector = Field("f", Vector(Scalar.INT16), 0)
    assert received(table(vector)()).f.tolist() == []
    assert received(table(vector, annotated=True)()).f is None
    told = table(vector, annotated=True)
    assert received(told(f=[])).f.tolist() == []
    assert told(f=[]) != told()
    names = Field("f", Vector(String()), 0)
    assert received(table(names, annotated=True)()).f is None
    assert list(received(table(names, annotated=True)(f=[])).f) == []
    shaped = Field("f", Vector(Scalar.INT16), 0, shape=(2, 2))
    assert received(table(shaped)()).f is None


def test_classes_that_are_given_are_taken() -> None:
    class Level(enum.IntEnum):
        LOW = 1
        HIGH = 2

    cls = table(Field("f", Named("n.Level"), 0, default=1), given={"n.Level": Level})
    assert cls().f is Level.LOW
    assert received(cls(f=2)).f is Level.HIGH


def test_what_is_no_class_is_not_found() -> None:
    compiler = Compiler(Schema({"n.Choice": CHOICE, "n.Pair": PAIR}), "made")
    for name in ("n.Choice", "n.Other", ""):
        with pytest.raises(KeyError):
            compiler.class_of(name)
    assert compiler.class_of("n.Pair") is compiler.class_of("n.Pair")
    assert compiler.plan_of("n.Pair").name == "n.Pair"


# ---- limits ----


def test_the_last_id_that_a_vtable_has_room_for() -> None:
    last = (2**16 - 2 - 4) // 2 - 1
    cls = table(Field("f", Scalar.INT32, last))
    data = encode(cls(f=5))
    assert len(data) >= 2**16 - 2
    assert decode(cls, data).f == 5
    with pytest.raises(ValueError, match="the plan of field f makes no sense"):
        table(Field("f", Scalar.INT32, last + 1))


def test_a_table_has_less_than_64_kib_in_line(tmp_path: Path) -> None:
    form = load_text(
        tmp_path,
        "struct Big { a: [double:8000]; } struct Bigger { b: Big; c: [double:190]; } "
        "struct Huge { b: Big; c: [double:200]; } table M { a: Big; b: [double]; } table Two { a: Big; b: Big; }",
    )
    big = form.Big([1.5] * 8000)
    assert received(form.M(a=big)).a == big
    assert received(big) == big
    assert received(form.Bigger(b=big)).b == big
    for message in (form.Two(a=big, b=big), form.Huge(b=big)):
        with pytest.raises(lunar.VerificationError, match="more bytes in line than a table may have"):
            encode(message)
    assert form.Two(a=big).copy() == form.Two(a=big)
    assert form.Huge(b=big).copy().b == big


# ---- lifetime ----


def test_a_class_that_nobody_needs_is_collected() -> None:
    def use() -> tuple[weakref.ref[type], Form]:
        @lunar.message
        class Short:
            number: int
            others: list["Short"]

        message = Short(1, [Short(2)])
        assert decode(Short, encode(message)) == message
        return weakref.ref(Short), message.others[0]

    gone, kept = use()
    gc.collect()
    assert gone() is type(kept)
    assert kept.copy().number == 2
    del kept
    gc.collect()
    assert gone() is None
