import sys
import types
from typing import ClassVar

import pytest

from lunar.errors import SchemaError
from lunar.messages.annotations import schema_of
from lunar.messages.declarations import UnresolvedName
from lunar.messages.fields import Array, int32
from lunar.messages.schema import (
    Field,
    Named,
    Scalar,
    String,
    Vector,
)
from tests.unit.messages.annotated import (
    Point,
    make,
    marked,
    table,
)


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


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        ("1 / 0", "cannot be evaluated: ZeroDivisionError"),
        ("int +", "cannot be evaluated: SyntaxError"),
        ("int.no_such_name", "cannot be evaluated: AttributeError"),
        ("no_such_name", "name 'no_such_name' is not defined"),
        ("Array[int, 0]", "the shape (0,) of an Array is not valid"),
    ],
)
def test_an_annotation_that_cannot_be_evaluated_is_an_error_of_its_field(annotation: str, text: str) -> None:
    with pytest.raises(SchemaError) as caught:
        schema_of(make("M", {"f": annotation}), scope={"Array": Array})
    assert str(caught.value).startswith("M.f: ")
    assert text in str(caught.value)


def test_the_class_comes_before_what_bore_its_name_before() -> None:
    old = marked(make("Node", {"x": int32}))
    new = make("Node", {"next": "Node | None"})
    assert [*schema_of(new, scope={"Node": old})[0].definitions] == ["Node"]
    assert table(schema_of(new, scope={"Node": old})[0], "Node").fields == (Field("next", Named("Node"), 0),)
