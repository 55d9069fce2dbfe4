from array import array
from dataclasses import replace

import numpy as np
import pytest

import lunar
from lunar.cli.message_fields import PathError, elements, find_field, scalar_columns
from lunar.messages.plan import Compiler
from lunar.messages.schema import Array, Definition, Field, Named, Scalar, Schema, StructDefinition, TableDefinition


@lunar.message(struct=True, name="robot.Point")
class Point:
    x: lunar.float64
    y: lunar.float64


@lunar.message(name="robot.Text")
class Text:
    text: str | None = None


@lunar.message(name="robot.State")
class State:
    place: Point
    path: list[Point]
    grid: lunar.Array[lunar.int32, 2, 2]  # type: ignore[valid-type]
    words: list[str]
    what: Point | Text | None = None


STATE = State(
    place=Point(x=1.0, y=2.0),
    path=[Point(x=3.0, y=4.0), Point(x=5.0, y=6.0)],
    grid=np.array([[1, 2], [3, 4]], np.int32),
    words=["a", "b"],
    what=Text(text="hi"),
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("place.x", 1.0),
        ("path[1].y", 6.0),
        ("path[-2].x", 3.0),
        ("path[2].x", None),
        ("grid[2]", 3),
        ("words[-1]", "b"),
        ("what.text", "hi"),
        ("what.x", None),
    ],
)
def test_a_path_leads_to_a_value_or_to_nothing(path: str, value: object) -> None:
    assert find_field(State, path).value_in(STATE) == value


@pytest.mark.parametrize(
    "path", ["", ".place", "place.", "place x", "placex", "place.z", "path.x", "place[0]", "path[x]", "what.z", "x y"]
)
def test_what_leads_nowhere_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        find_field(State, path)


@pytest.mark.parametrize(
    "grid",
    [
        [1, 2, 3, 4],
        np.arange(1, 5).reshape(2, 2),
        memoryview(array("i", [1, 2, 3, 4])).cast("B").cast("i", (2, 2)),
        np.arange(1, 9)[::2].reshape(2, 2) // 2 + 1,
    ],
)
def test_elements_count_in_a_row(grid: object) -> None:
    assert [int(number) for number in elements(grid)] == [1, 2, 3, 4]  # type: ignore[call-overload]


def test_nothing_has_no_elements() -> None:
    empty = memoryview(b"").cast("i")
    assert [len(elements(value)) for value in (empty, np.empty((0, 3)), None, "text", 5)] == [0] * 5


def test_columns_are_what_is_single() -> None:
    columns = scalar_columns(State, [])
    assert [path.text for path in columns.paths] == ["place.x", "place.y", "grid[0]", "grid[1]", "grid[2]", "grid[3]"]
    assert columns.left_out == ("path", "words", "what")


def made(*definitions: Definition) -> type:
    first = definitions[0].name
    return Compiler(Schema({each.name: each for each in definitions}, first), "test").class_of(first)


def test_a_type_that_holds_itself_has_columns() -> None:
    number = Field("number", Scalar.INT32, 0, default=0)
    node = made(TableDefinition("Node", (number, Field("next", Named("Node"), 1))))
    columns = scalar_columns(node, [])
    assert ([path.text for path in columns.paths], columns.left_out) == (["number"], ("next",))


def test_there_is_an_end_to_columns() -> None:
    """A schema from a stranger: a few definitions, more values than anybody can count."""
    leaf = StructDefinition("D0", (Field("x", Array(Scalar.UINT8, 1000), 0),))
    tables: list[Definition] = [leaf]
    empty: list[Definition] = [TableDefinition("D0", ())]
    for depth in range(1, 40):
        fields = tuple(Field(f"f{i}", Named(f"D{depth - 1}"), i) for i in range(4))
        tables.append(TableDefinition(f"D{depth}", fields))
        empty.append(replace(tables[-1]))
    for definitions in (tables, empty):
        with pytest.raises(PathError, match="columns"):
            scalar_columns(made(*reversed(definitions)), [])
