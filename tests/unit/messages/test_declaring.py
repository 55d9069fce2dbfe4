# Classes made at run time, and wrong values on purpose: what type checkers see is tested with snippets.
# mypy: ignore-errors
import abc
import enum
import functools
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import pytest

import lunar
from lunar.messages import decode, encode
from lunar.messages.declarations import UnresolvedName
from tests.unit.messages.forms import load_text

T = TypeVar("T")


class Slotless:
    def where(self) -> str:
        return "mixin"


class Slotted:
    __slots__ = ()
    registered: ClassVar[list[str]] = []

    def __init_subclass__(cls) -> None:
        cls.registered.append(cls.__name__)

    def where(self) -> str:
        return "mixin with slots"


def traced(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*arguments: object) -> object:
        return function(*arguments)

    return wrapper


@lunar.message
class Wheel(Slotted):
    """A wheel.

    With a second paragraph.
    """

    PARTS: ClassVar[tuple[str, ...]] = ("hub", "rim")
    plain = lunar.message  # anything without an annotation is no field
    speed: lunar.float32
    radius: lunar.float64 = 0.5

    class Inner:
        pass

    def __repr__(self) -> str:
        return f"<{super().__repr__()}>"

    def __len__(self) -> int:
        return 4

    def where(self) -> str:
        return f"wheel, {super().where()}"

    def doubled(self) -> "Wheel":
        return type(self)(speed=2 * self.speed)

    def own_class(self) -> type:
        return __class__

    @property
    def turns(self) -> float:
        return self.speed / (2 * math.pi * self.radius)

    @turns.setter
    def turns(self, turns: float) -> None:
        self.speed = turns * 2 * math.pi * self.radius

    @classmethod
    def fast(cls) -> "Wheel":
        return cls(speed=99)

    @staticmethod
    def unit() -> str:
        return "m/s"


def test_what_the_class_has_beside_its_fields_survives() -> None:
    wheel = Wheel(speed=1)
    assert (Wheel.PARTS, Wheel.plain, Wheel.unit(), Wheel.Inner.__name__) == (
        ("hub", "rim"),
        lunar.message,
        "m/s",
        "Inner",
    )
    assert Wheel.fast() == Wheel(speed=99)
    assert wheel.doubled() == Wheel(speed=2)
    assert len(wheel) == 4
    wheel.turns = 1 / math.pi
    assert wheel.speed == 1
    assert Wheel.__doc__ is not None
    assert Wheel.__doc__.startswith("A wheel.\n\n    With a second")
    assert (Wheel.__name__, Wheel.__qualname__, Wheel.__module__) == ("Wheel", "Wheel", __name__)
    assert Wheel.__annotations__["speed"] == lunar.float32
    assert wheel == decode(Wheel, encode(wheel))
    assert decode(Wheel, encode(wheel)).doubled() == Wheel(speed=2)


def test_super_means_the_class_that_was_made() -> None:
    wheel = Wheel(speed=1)
    assert repr(wheel) == "<Wheel(speed=1.0, radius=0.5)>"
    assert wheel.where() == "wheel, mixin with slots"
    assert wheel.own_class() is Wheel


class Speaking:
    def say(self) -> str:
        return "base"


@lunar.message
class ByMethod(Speaking):
    def say(self) -> Any:
        return super().say()


@lunar.message
class ByClassMethod(Speaking):
    @classmethod
    def say(cls) -> Any:
        return super().say(cls)


@lunar.message
class ByStaticMethod(Speaking):
    @staticmethod
    def say() -> Any:
        return "base" if issubclass(__class__, lunar.Message) else "the class that was decorated"


@lunar.message
class ByProperty(Speaking):
    @property
    def say(self) -> Any:
        return super().say


@lunar.message
class ByCachedProperty(Speaking):
    @functools.cached_property
    def say(self) -> Any:
        return super().say


@lunar.message
class ByWrapper(Speaking):
    @traced
    def say(self) -> Any:
        return super().say()


@pytest.mark.parametrize(
    "cls",
    [ByMethod, ByClassMethod, ByStaticMethod, ByProperty, ByCachedProperty, ByWrapper],
    ids=lambda cls: cls.__name__,
)
def test_super_is_found_wherever_it_is_said(cls: Any) -> None:
    assert cls().say() == "base"


def test_mixins_are_bases() -> None:
    assert issubclass(Wheel, Slotted)
    assert issubclass(Wheel, lunar.Message)
    assert "Wheel" in Slotted.registered

    @lunar.message
    class Open(Slotless, Generic[T]):
        a: int

    message = Open(1)
    assert message.where() == "mixin"
    message.note = "kept"  # the mixin gives instances a __dict__
    assert message.note == "kept"
    assert message == Open(1) == message.copy()


def test_a_base_may_have_a_metaclass() -> None:
    class Drivable(abc.ABC):
        @abc.abstractmethod
        def drive(self) -> str: ...

    @lunar.message
    class Car(Drivable):
        speed: int

        def drive(self) -> str:
            return f"at {self.speed}"

    assert isinstance(Car(speed=3), Drivable)
    assert decode(Car, encode(Car(speed=3))).drive() == "at 3"


def test_a_message_may_be_a_declared_message() -> None:
    @lunar.message
    class M(lunar.Message):
        a: int

        def copy(self) -> "M":
            return super().copy()

    assert M(a=1).copy() == M(1)
    assert M.__mro__[1:] == lunar.Message.__mro__


# ---- inheritance ----


@lunar.message
class Stamped:
    stamp_ns: lunar.int64
    frame: str = "map"

    def age(self, now_ns: int) -> int:
        return now_ns - self.stamp_ns


def test_fields_and_methods_are_inherited() -> None:
    @lunar.message
    class Position(Stamped):
        x: float
        frame: str = "odom"

    position = Position(stamp_ns=5, x=1)
    assert position.age(7) == 2
    assert Position.__match_args__ == ("stamp_ns", "frame", "x")
    assert (position.frame, Stamped().frame) == ("odom", "map")
    assert isinstance(position, Stamped)
    assert decode(Position, encode(position)) == position == position.copy()
    assert type(decode(Position, encode(position))) is Position
    assert position != Stamped(stamp_ns=5)

    @lunar.message
    class Further(Position):
        y: float

        def age(self, now_ns: int) -> int:
            return 10 * super().age(now_ns)

    assert Further.__match_args__ == ("stamp_ns", "frame", "x", "y")
    assert Further(stamp_ns=5, y=2, x=3).age(7) == 20
    assert Further().frame == "odom"


def test_an_heir_is_a_type_of_its_own() -> None:
    @lunar.message
    class Heir(Stamped):
        pass

    @lunar.message
    class Holder:
        held: Stamped

    with pytest.raises(lunar.FieldError, match=r"Holder.held: expected Stamped, got Heir"):
        Holder(held=Heir())
    assert Holder(held=Stamped()).held == Stamped()


def test_structs_inherit_too() -> None:
    @lunar.message(struct=True)
    class Flat:
        x: float

    @lunar.message(struct=True)
    class Solid(Flat):
        z: lunar.float32

    assert Solid(1, 2).copy() == Solid(x=1, z=2)
    assert Solid.__lunar_plan__.name == "Solid"


def test_names_of_an_inherited_annotation_are_those_where_it_was_written() -> None:
    def make() -> type:
        class Local(enum.IntEnum):
            A = 0
            B = 1

        @lunar.message
        class Base:
            kind: "Local"

        return Base

    base: Any = make()

    @lunar.message
    class Heir(base):
        y: int

    assert Heir(kind=1).kind.name == "B"


def test_a_class_from_a_file_is_no_base(tmp_path: Any) -> None:
    form = load_text(tmp_path, "table Base { a: int; }")
    with pytest.raises(lunar.SchemaError, match=r"Base is from a .fbs file; derive from annotated classes only"):

        @lunar.message
        class Heir(form.Base):
            b: int


def test_an_undecorated_heir_is_the_same_type() -> None:
    class Own(Stamped):
        def label(self) -> str:
            return f"{self.frame}@{self.stamp_ns}"

    own = Own(stamp_ns=4)
    assert own.label() == "map@4"
    assert own == Stamped(stamp_ns=4)
    assert encode(own) == encode(Stamped(stamp_ns=4))
    assert type(own.copy()) is Stamped


def test_plain_bases_give_fields() -> None:
    class Named:
        name: str = "nobody"

    @lunar.message
    class M(Named):
        a: int

    assert M(a=1) == M("nobody", 1)
    assert M().name == "nobody"


# ---- names and references ----


def test_a_name_in_the_schema_is_no_name_of_the_class() -> None:
    @lunar.message(name="robot.arm.Joint")
    class J:
        angle: float

    assert (J.__name__, repr(J(1.0))) == ("J", "J(angle=1.0)")
    assert J.__qualname__.endswith("<locals>.J")
    with pytest.raises(lunar.FieldError, match=r"^robot.arm.Joint.angle: expected float64"):
        J("a")


@lunar.message
class Node:
    value: int
    children: list["Node"]
    parent: "Node | None"


def test_a_class_may_mention_itself() -> None:
    tree = Node(1, [Node(2, [Node(3)]), Node(4)], Node(0))
    assert decode(Node, encode(tree)) == tree
    assert [child.value for child in decode(Node, encode(tree)).children] == [2, 4]


def test_what_is_not_defined_yet_is_refused() -> None:
    with pytest.raises(UnresolvedName, match=r"M.later: .*Later"):

        @lunar.message
        class M:
            later: "Later"  # noqa: F821


def test_classes_of_a_file_may_be_fields(tmp_path: Any) -> None:
    form = load_text(tmp_path, "namespace f; struct P { x: int; } enum E : byte { A, B } table Q { p: P; e: E; }")

    @lunar.message
    class M:
        q: form.Q
        p: form.P
        e: form.E
        ps: list[form.P]

    message = M(q=form.Q(form.P(1), form.E.B), p=form.P(2), e=form.E.B, ps=[form.P(3)])
    view = decode(M, encode(message))
    assert view == message
    assert type(view.q) is form.Q
    assert type(view.ps[0]) is form.P
    assert view.e is form.E.B


def test_a_class_is_declared_once() -> None:
    with pytest.raises(lunar.SchemaError, match="Wheel is a message class already"):
        lunar.message(Wheel)


def test_an_empty_class_is_a_message() -> None:
    @lunar.message
    class Stop:
        pass

    assert Stop() == decode(Stop, encode(Stop())) == Stop().copy()
    assert repr(Stop()) == "Stop()"


def test_fields_with_everything_that_field_says() -> None:
    @lunar.message
    class M:
        first: str = lunar.field(required=True)
        old: int = lunar.field(deprecated=True, default=5)
        grid: lunar.Array[lunar.float32] = lunar.field(shape=(2, 2))
        last: lunar.int8 = lunar.field(default=-3, doc="how it ended")

    assert M.__match_args__ == ("first", "grid", "last")
    assert M("a").last == -3
    with pytest.raises(lunar.FieldError, match=r"M.old: expected one of its fields: first, grid, last"):
        M("a", old=1)
    with pytest.raises(lunar.FieldError, match=r"M.first: expected str: it is required, got NoneType None"):
        encode(M())


# ---- type checkers ----

SNIPPET = """
import lunar
import numpy as np

@lunar.message(name="robot.Wheel")
class Wheel(lunar.Message):
    stamp_ns: lunar.int64
    speed: lunar.float32
    torque: lunar.float32 = 0.0
    label: str | None = None
    ticks: lunar.Array[lunar.int32]

    def doubled(self) -> float:
        return 2 * self.speed

@lunar.message(struct=True)
class Point:
    x: float

wheel = Wheel(stamp_ns=1, speed=2.0, ticks=np.arange(4))
Wheel(stamp_ns=1, speed=2, ticks=[1, 2])
reveal_type(wheel.ticks)
reveal_type(wheel.copy())
reveal_type(wheel.doubled())
reveal_type(lunar.messages.decode(Wheel, lunar.messages.encode(wheel)))
reveal_type(Point(x=1.0).x)
wheel.label = None
Wheel(stamp_ns="1", speed=2.0, ticks=[])  # refused
Wheel(speed=2.0, ticks=[])  # refused
Wheel(stamp_ns=1, speed=2.0, ticks=[], sped=1)  # refused
wheel.speed = "fast"  # refused

async def main(node: lunar.Node) -> None:
    publisher = node.create_publisher(Wheel, "wheel")
    await publisher.publish(wheel)
    await publisher.publish(b"wheel")  # refused
    async with publisher.loan(ticks=4) as lent:
        reveal_type(lent)
    async for received in node.create_subscription(Wheel, "wheel"):
        reveal_type(received.label)
"""
NUMPY = """
class ndarray: ...
def arange(stop: int) -> ndarray: ...
"""


def test_type_checkers_know_a_declared_class(tmp_path: Path) -> None:
    (tmp_path / "numpy.pyi").write_text(NUMPY)
    (tmp_path / "snippet.py").write_text(SNIPPET)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "snippet.py"]
    root = Path(lunar.__path__[0]).parent
    environment = {**os.environ, "MYPYPATH": os.pathsep.join([str(tmp_path), str(root)])}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    refused = {number for number, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# refused")}
    said = run.stdout.splitlines()
    errors = {int(line.split(":")[1]) for line in said if ": error: " in line}
    assert errors == refused, run.stdout + run.stderr
    revealed = [line.partition("Revealed type is ")[2].strip('"') for line in said if ": note: Revealed" in line]
    kinds = ["numpy.ndarray", "snippet.Wheel", "float", "snippet.Wheel", "float", "snippet.Wheel", "str | None"]
    assert revealed == kinds, run.stdout
