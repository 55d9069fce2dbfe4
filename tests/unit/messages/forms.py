# Classes made at run time, and wrong values on purpose: what type checkers see is tested with snippets.
# mypy: ignore-errors
"""The same messages twice: as annotated classes, and as a `.fbs` file."""

import enum
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lunar
from lunar.messages.loading import load

# `Any`, because tests give wrong values on purpose and look at what type checkers do not know.
Form = Any


class Mode(enum.IntEnum):
    __lunar_name__ = "bench.Mode"
    PARKED = 0
    MANUAL = 1
    AUTO = 2


class Access(enum.IntFlag):
    __lunar_name__ = "bench.Access"
    READ = 1
    WRITE = 2


@lunar.message(struct=True, name="bench.Point")
class Point:
    x: lunar.float64
    y: lunar.float32


@lunar.message(struct=True, name="bench.Pose")
class Pose:
    at: Point
    spread: lunar.Array[lunar.float32, 3]
    corners: lunar.Array[Point, 2]
    mode: Mode


@lunar.message(name="bench.Tag")
class Tag:
    text: str | None
    number: lunar.int32 = 3


@lunar.message(name="bench.Wheel")
class Wheel:
    """One wheel."""

    stamp_ns: lunar.int64
    speed: lunar.float32
    torque: lunar.float32 = 1.5
    exact: lunar.float64
    small: lunar.uint8
    on: bool
    label: str | None
    ticks: lunar.Array[lunar.int32]
    raw: bytes
    weights: lunar.Array[lunar.float64]
    mode: Mode
    access: Access
    pose: Pose
    points: list[Point]
    tag: Tag
    tags: list[Tag]
    names: list[str]
    load: Tag | Point | str = lunar.field(union="Payload")
    loads: list[Tag | Point | str] = lunar.field(union="Payload")
    spare: lunar.int16 | None
    key: str = lunar.field(default="k")


ANNOTATED: Form = SimpleNamespace(Mode=Mode, Access=Access, Point=Point, Pose=Pose, Tag=Tag, Wheel=Wheel)

FBS = """
namespace bench;

enum Mode : int { PARKED, MANUAL, AUTO }
enum Access : uint (bit_flags) { READ, WRITE }
struct Point { x: double; y: float; }
struct Pose { at: Point; spread: [float:3]; corners: [Point:2]; mode: Mode; }
table Tag { text: string; number: int = 3; }
union Payload { Tag, Point, String: string }
/// One wheel.
table Wheel {
  stamp_ns: long;
  speed: float;
  torque: float = 1.5;
  exact: double;
  small: ubyte;
  on: bool;
  label: string;
  ticks: [int];
  raw: [ubyte];
  weights: [double];
  mode: Mode;
  access: Access;
  pose: Pose;
  points: [Point];
  tag: Tag;
  tags: [Tag];
  names: [string];
  load: Payload;
  loads: [Payload];
  spare: short = null;
  key: string = "k";
}
root_type Wheel;
"""


@cache
def loaded() -> Form:
    """The classes of the file."""
    with tempfile.TemporaryDirectory() as folder:
        return load_text(Path(folder), FBS)


def load_text(folder: Path, text: str, name: str = "schema.fbs") -> Form:
    """The classes of a schema that is written here."""
    (folder / name).write_text(text)
    return load(folder / name)


def full_wheel(form: Form) -> Form:
    """A wheel with every field set to something that is not its default."""
    corners = [form.Point(1, 2), form.Point(3, 4)]
    return form.Wheel(
        stamp_ns=-(2**62),
        speed=0.1,
        torque=-0.0,
        exact=0.1,
        small=255,
        on=True,
        label="rädchen",
        ticks=[-1, 2, 3],
        raw=b"\x00\xff",
        weights=[0.5, -0.5],
        mode=form.Mode.AUTO,
        access=form.Access.READ | form.Access.WRITE,
        pose=form.Pose(form.Point(5, 6), [7, 8, 9], corners, form.Mode.MANUAL),
        points=[form.Point(1, 1), form.Point(2, 2)],
        tag=form.Tag("t", 4),
        tags=[form.Tag(), form.Tag("u")],
        names=["", "n"],
        load=form.Point(9, 9),
        loads=[form.Tag("v"), "w", form.Point(8, 8)],
        spare=0,
        key="",
    )
