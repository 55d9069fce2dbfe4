import enum
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lunar
from lunar.cli.echo_forms import finite
from lunar.cli.message_fields import described
from lunar.cli.message_text import MessageText, csv_text, single_text
from lunar.messages.schema import Scalar, Schema, String

NOTHING = Schema({})
NO_NUMBERS = np.empty(0, np.float32)


class Colour(enum.IntEnum):
    NONE = 0
    RED = 1


class Flag(enum.IntFlag):
    A = 1
    B = 2


@lunar.message(name="robot.Empty")
class Empty:
    pass


@lunar.message(name="robot.Leaf")
class Leaf:
    x: lunar.float32
    child: Empty | None = None


@lunar.message(name="robot.State")
class State:
    colour: Colour
    flags: Flag
    ready: bool
    text: str | None = None
    leaves: list[Leaf] | None = None
    words: list[str] | None = None
    numbers: lunar.Array[lunar.float32] | None = None
    what: Leaf | Empty | None = None


def lay_out(message: object, *, full: bool = False) -> str:
    schema, _ = described(type(message))
    return MessageText(schema, full).of_message(message)


def test_fields_stand_below_each_other() -> None:
    state = State(
        colour=Colour.RED,
        flags=Flag.A | Flag.B,
        ready=True,
        text="true",
        leaves=[Leaf(x=0.1, child=Empty()), Leaf(x=2.0)],
        words=["a b", "x: y", ""],
        numbers=np.array([0.1, math.nan, -math.inf], np.float32),
        what=Leaf(x=1.0),
    )
    assert lay_out(state).splitlines() == [
        "colour: RED",
        "flags: A B",
        "ready: true",
        'text: "true"',
        "leaves:",
        "- x: 0.1",
        "  child: {}",
        "- x: 2.0",
        "  child: null",
        "words:",
        "- a b",
        '- "x: y"',
        '- ""',
        "numbers: [0.1, .nan, -.inf]",
        "what_type: Leaf",
        "what:",
        "  x: 1.0",
        "  child: null",
    ]


def test_what_is_absent_or_empty_is_said() -> None:
    lines = lay_out(State(colour=Colour.NONE, flags=Flag(0), ready=False, leaves=[], numbers=NO_NUMBERS)).splitlines()
    assert lines == [
        "colour: NONE", "flags: 0", "ready: false", "text: null", "leaves: []", "words: null", "numbers: []",
        "what: null",
    ]  # fmt: skip
    assert lay_out(Empty()) == "{}"


def test_what_is_long_is_cut_unless_all_is_wanted() -> None:
    state = State(
        colour=Colour.RED,
        flags=Flag.A,
        ready=True,
        text="x" * 1001,
        leaves=[Leaf(x=1)] * 17,
        words=["w"] * 17,
        numbers=np.arange(65, dtype=np.float32),
    )
    cut = lay_out(state)
    assert f'text: "{"x" * 1000}"  # 1 more characters' in cut
    assert cut.count("- x:") == cut.count("- w") == 16
    assert cut.count("# ... 17 in all") == 2
    assert "63.0, ...]  # 65 in all" in cut
    whole = lay_out(state, full=True)
    assert "#" not in whole
    assert (whole.count("- x:"), whole.count("x" * 1001), "64.0]" in whole) == (17, 1, True)


@given(st.floats(width=32))
def test_a_float32_is_as_short_as_it_can_be_and_the_same(number: float) -> None:
    text = single_text(number, Scalar.FLOAT32, NOTHING)
    read = float(text.replace(".nan", "nan").replace(".inf", "inf"))
    assert np.float32(read) == np.float32(number) or math.isnan(number)
    assert len(text) <= len(repr(number)) + 1


@given(st.text())
def test_nothing_in_a_text_controls_the_terminal(text: str) -> None:
    assert single_text(text, String(), NOTHING).isprintable()


@pytest.mark.parametrize(
    ("value", "type_", "text"),
    [
        (None, String(), ""),
        ("null", String(), "null"),
        (math.nan, Scalar.FLOAT64, "nan"),
        (-math.inf, Scalar.FLOAT64, "-inf"),
        (np.float32(0.1), Scalar.FLOAT32, "0.1"),
        (True, Scalar.BOOL, "true"),
    ],
)
def test_a_cell_is_what_spreadsheets_read(value: object, type_: Scalar | String, text: str) -> None:
    assert csv_text(value, type_, NOTHING) == text


def test_json_has_words_for_what_is_no_number() -> None:
    assert finite({"a": [math.nan, 1.0], "b": math.inf, "c": "x"}) == {"a": ["NaN", 1.0], "b": "Infinity", "c": "x"}
