import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest

import lunar
from lunar.errors import SchemaError
from lunar.messages import fields
from lunar.messages.annotations import schema_of
from lunar.messages.fields import Array, field, float32, float64, int32
from lunar.messages.schema import (
    Field,
    Named,
    Scalar,
    String,
    Vector,
)
from tests.unit.messages.annotated import (
    Go,
    Mode,
    Stop,
    make,
    one_field,
    table,
)


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
