"""Schemas that peers tell, and what is made of them."""

import json

import pytest

from lunar.errors import PeerFault, VerificationError
from lunar.graph.schemas import SchemaTexts, judge, parse, schema_text
from lunar.messages.identity import type_hash
from lunar.messages.schema import Field, Scalar, Schema, String, TableDefinition, Vector

X = Field("x", Scalar.FLOAT32, 0, 0.0)


def described(*fields: Field, name: str = "robot.State") -> tuple[Schema, str]:
    return Schema({name: TableDefinition(name, fields)}, name), name


def told(*fields: Field) -> dict[str, object]:
    own = described(*fields)
    return {"op": "schema", "hash": type_hash(*own), "text": schema_text(own)}


def test_what_is_told_is_read_by_its_hash() -> None:
    texts = SchemaTexts()
    operation = told(X, Field("names", Vector(String()), 1))
    texts.take(operation, 7)
    assert texts.described(str(operation["hash"])) == described(X, Field("names", Vector(String()), 1))
    assert texts.described("0" * 32) is None


@pytest.mark.parametrize(
    "operation",
    [
        {},
        {"hash": "0" * 32},
        {"hash": 7, "text": "{}"},
        {"hash": "0" * 31, "text": "{}"},
        {"hash": "0" * 32, "text": 7},
        {"hash": "0" * 32, "text": " " * 60_001},
    ],
    ids=lambda operation: str(operation)[:30],
)
def test_what_is_no_schema_is_a_fault(operation: dict[str, object]) -> None:
    with pytest.raises(PeerFault, match="schema"):
        SchemaTexts().take(operation, 7)


def test_one_schema_is_told_once() -> None:
    texts = SchemaTexts()
    texts.take(told(X), 7)
    with pytest.raises(PeerFault, match="more schemas than there can be"):
        texts.take(told(X), 7)


def test_no_peer_fills_our_memory_with_schemas() -> None:
    texts = SchemaTexts()
    for number in range(69):
        texts.take({"hash": f"{number:032x}", "text": " " * 60_000}, 7)
    with pytest.raises(PeerFault, match="more schemas than there can be"):
        texts.take({"hash": "f" * 32, "text": " " * 60_000}, 7)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 50_000, '{"version":1}', "null"])
def test_who_lies_has_no_schema_and_the_log_says_so(text: str, caplog: pytest.LogCaptureFixture) -> None:
    texts = SchemaTexts()
    texts.take({"hash": "0" * 32, "text": text}, 7)
    assert texts.described("0" * 32) is None
    assert texts.described("0" * 32) is None
    assert len(caplog.records) == (1 if text else 0)


def test_a_schema_is_not_taken_for_that_of_another_type() -> None:
    text = schema_text(described(X))
    assert text is not None
    with pytest.raises(VerificationError, match="another type"):
        parse(text, "0" * 32)


def test_a_schema_that_fits_no_packet_is_not_told() -> None:
    many = [Field(f"a_field_with_a_long_name_{number}", Scalar.INT8, number) for number in range(2000)]
    assert schema_text(described(*many)) is None


def test_the_text_is_json() -> None:
    assert json.loads(schema_text(described(X)) or "")["root"] == "robot.State"


def test_a_field_more_is_compatible_and_said() -> None:
    verdict = judge(described(X), described(X, Field("y", Scalar.INT8, 1, 0)))
    assert verdict is not None
    assert verdict.compatible
    assert len(verdict.differences) == 1
    assert verdict.differences[0].startswith("robot.State.y: ")


def test_another_type_of_a_field_is_not() -> None:
    verdict = judge(described(X), described(Field("x", Scalar.INT32, 0, 0)))
    assert verdict is not None
    assert not verdict.compatible
    assert "float32" in verdict.differences[0]
    assert "int32" in verdict.differences[0]


def test_nothing_is_said_of_what_is_not_known_or_has_another_name() -> None:
    assert judge(None, described(X)) is None
    assert judge(described(X), None) is None
    assert judge(described(X), described(X, name="robot.Other")) is None
