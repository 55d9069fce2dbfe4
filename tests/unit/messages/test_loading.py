"""Classes of `.fbs` files, made at run time."""

# Classes made at run time, and wrong values on purpose: what type checkers see is tested with snippets.
# mypy: ignore-errors
import enum
import math
from pathlib import Path

import numpy as np
import pytest

import lunar
from lunar.messages import decode, encode, load, loading
from lunar.messages.flatc import compile_schema
from lunar.messages.loading import load_compiled
from lunar.messages.types import message_type
from tests.unit.messages.forms import FBS, Form, load_text


def received(message: Form) -> Form:
    return decode(type(message), encode(message))


def test_the_program_of_the_issue(tmp_path: Path) -> None:
    (tmp_path / "robot.fbs").write_text(
        "struct Pose { x: double; y: double; } table State { pose: Pose; name: string; cells: [float]; }"
    )
    robot = lunar.messages.load(str(tmp_path / "robot.fbs"))
    state = robot.State(pose=robot.Pose(x=1.0, y=2.0), name="r1", cells=[0.1, 0.2])
    view = received(state)
    assert view == state
    assert (view.pose.x, view.name, view.cells.tolist()) == (1.0, "r1", [np.float32(0.1), np.float32(0.2)])


# ---- finding classes ----


def test_the_same_content_gives_the_same_classes(tmp_path: Path) -> None:
    first = load_text(tmp_path, FBS, "one.fbs")
    again = load(tmp_path / "one.fbs")
    assert first is again
    assert first.Wheel is again.Wheel
    other = load_text(tmp_path, FBS.replace("PARKED", "STOPPED"), "two.fbs")
    assert other.Wheel is not first.Wheel
    compiled = compile_schema(tmp_path / "one.fbs")
    assert load_compiled(bytes(compiled), "elsewhere") is first


def test_classes_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    form = load_text(tmp_path, "namespace a.b; table First { x: int; } table Second { x: int; } // made late")
    assert [*form] == ["a.b.First", "a.b.Second"]
    assert form.First is form["a.b.First"]
    assert (form.First.__name__, form.First.__module__) == ("First", "schema")
    assert {"First", "Second", "schema"} <= set(dir(form))
    with pytest.raises(AttributeError, match="the schema defines no Third; it has First, Second"):
        _ = form.Third
    with pytest.raises(AttributeError):
        _ = form._private
    with pytest.raises(KeyError):
        form["First"]


def test_equal_last_names_are_asked_for_by_full_name(tmp_path: Path) -> None:
    form = load_text(
        tmp_path, "namespace a; table M { x: int; } namespace b; table M { y: int; o: a.M; } enum E: byte { A }"
    )
    with pytest.raises(AttributeError, match=r"M may be a.M or b.M: ask for one by its full name"):
        _ = form.M
    assert received(form["b.M"](y=1, o=form["a.M"](x=2))).o.x == 2
    assert issubclass(form.E, enum.IntEnum)


def test_documentation_becomes_docstrings(tmp_path: Path) -> None:
    form = load_text(
        tmp_path,
        "/// Where it is.\n/// In metres.\nstruct P { x: float; }\n/// How.\nenum E : byte { A }\ntable Q { x: int; }",
    )
    assert (form.P.__doc__, form.E.__doc__, form.Q.__doc__) == ("Where it is.\nIn metres.", "How.", None)


def test_a_union_is_no_class(tmp_path: Path) -> None:
    form = load_text(tmp_path, "table A { x: int; } union U { A } table M { u: U; }")
    assert [*form] == ["A", "M"]
    with pytest.raises(AttributeError, match="the schema defines no U; it has A, M"):
        _ = form.U
    with pytest.raises(KeyError):
        form["U"]


# ---- errors ----


def test_an_error_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.fbs"
    path.write_text("table A {\n  x: int;\n  y: nonsense;\n}\n")
    with pytest.raises(lunar.SchemaError, match="nonsense") as caught:
        load(path)
    assert caught.value.path == str(path)
    assert caught.value.line in (3, 4)  # flatc may have read on to the next line
    assert str(path) in str(caught.value)


def test_an_error_in_an_include_names_the_include(tmp_path: Path) -> None:
    (tmp_path / "inner.fbs").write_text("table {\n")
    (tmp_path / "outer.fbs").write_text('include "inner.fbs";\ntable M { x: int; }')
    with pytest.raises(lunar.SchemaError) as caught:
        load(tmp_path / "outer.fbs")
    assert caught.value.path is not None
    assert caught.value.path.endswith("inner.fbs")
    assert caught.value.line == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("table M { a: [ubyte] (vector64); }", "64"),
        ("table M { a: string (offset64); }", "64"),
    ],
)
def test_what_is_not_supported_is_refused_with_the_file(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(lunar.SchemaError, match=reason) as caught:
        load_text(tmp_path, text, "wide.fbs")
    assert caught.value.path == str(tmp_path / "wide.fbs")


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"missing.fbs"):
        load(tmp_path / "missing.fbs")


def test_bytes_that_are_no_compiled_schema_are_refused() -> None:
    for wrong in (b"", b"nonsense", bytes(100)):
        with pytest.raises((lunar.SchemaError, lunar.VerificationError)):
            load_compiled(wrong, "wrong")
        assert wrong not in loading._loaded


@pytest.mark.parametrize("name", ["__slots__", "__lunar_plan__", "__class__", "__new__", "__init__", "__doc__"])
def test_names_that_mean_something_to_python_are_refused(tmp_path: Path, name: str) -> None:
    form = load_text(tmp_path, f"table M {{ {name}: int; }}")
    with pytest.raises(lunar.SchemaError, match=rf"M.{name}: .*name"):
        _ = form.M


@pytest.mark.parametrize("name", ["mro", "__class__", "_a_"])
def test_names_that_an_enum_cannot_have_are_refused(tmp_path: Path, name: str) -> None:
    form = load_text(tmp_path, f"enum E : byte {{ {name} }} table M {{ e: E; }}")
    with pytest.raises(lunar.SchemaError, match=rf"E.{name}: .*name"):
        _ = form.M


@pytest.mark.parametrize("name", ["copy", "class_", "name", "value", "self", "items", "_x", "None_", "cls", "__repr"])
def test_any_other_name_will_do(tmp_path: Path, name: str) -> None:
    form = load_text(tmp_path, f"enum E : byte {{ {name}, other }} table M {{ {name}: int; e: E; }}")
    message = form.M(**{name: 5, "e": 1})
    assert getattr(received(message), name) == 5
    assert repr(received(message)) == f"M({name}=5, e=<E.other: 1>)"


@pytest.mark.parametrize("name", ["class", "from", "None", "def"])
def test_keywords_are_reached_by_getattr(tmp_path: Path, name: str) -> None:
    form = load_text(tmp_path, f"enum E : byte {{ {name} }} table M {{ {name}: int; e: E; }}")
    message = form.M(**{name: 5})
    assert getattr(received(message), name) == 5
    assert form.E[name] == 0


# ---- the language ----


def test_enums_of_every_size(tmp_path: Path) -> None:
    form = load_text(
        tmp_path,
        """
        enum S : byte { LOW = -128, HIGH = 127 }
        enum L : long { LOW = -9223372036854775808, HIGH = 9223372036854775807 }
        enum U : ulong { LOW = 0, HIGH = 18446744073709551615 }
        enum F : ulong (bit_flags) { FIRST, LAST = 63 }
        enum NoZero : ubyte { ONE = 1, TWO = 2 }
        table M {
          s: S = HIGH; l: L = LOW; u: U; f: F = "FIRST LAST"; n: NoZero = TWO; o: S = null; list: [S]; flags: [F];
        }
        """,
    )
    empty = form.M()
    for each in (empty, received(empty)):
        assert (each.s, each.l, each.u, each.n, each.o) == (form.S.HIGH, form.L.LOW, form.U.LOW, form.NoZero.TWO, None)
        assert each.f == form.F.FIRST | form.F.LAST
        assert isinstance(each.f, form.F)
        assert isinstance(each.n, form.NoZero)
    message = form.M(s=-128, l=form.L.HIGH, u=2**64 - 1, f=0, n=1, o=127, list=[-128, 127], flags=[2**63 + 1, 0])
    view = received(message)
    assert view == message
    assert (view.s, view.l, view.u, view.n, view.o) == (
        form.S.LOW,
        form.L.HIGH,
        form.U.HIGH,
        form.NoZero.ONE,
        form.S.HIGH,
    )
    assert view.f is form.F(0)
    assert [type(each) for each in (view.s, view.l, view.u, view.f)] == [form.S, form.L, form.U, form.F]
    assert view.list.tolist() == [-128, 127]
    assert view.flags.dtype == np.uint64
    for wrong in (0, 3):
        with pytest.raises(lunar.FieldError, match=r"M.n: expected NoZero"):
            form.M(n=wrong)


def test_a_number_of_a_newer_enum_reads_as_a_number(tmp_path: Path) -> None:
    old = load_text(
        tmp_path, "enum E : byte { A } enum F : ubyte (bit_flags) { A } table M { e: E; es: [E]; f: F; }", "o.fbs"
    )
    new = load_text(
        tmp_path, "enum E : byte { A, B } enum F : ubyte (bit_flags) { A, B } table M { e: E; es: [E]; f: F; }", "n.fbs"
    )
    view = decode(old.M, encode(new.M(e=new.E.B, es=[0, 1], f=3)))
    assert (view.e, type(view.e), view.es.tolist()) == (1, int, [0, 1])
    assert view.f == 3
    assert isinstance(view.f, old.F)
    assert old.F.A in view.f
    kept = view.copy()
    assert kept == view
    assert decode(new.M, encode(kept)).e is new.E.B
    with pytest.raises(lunar.FieldError, match=r"M.e: expected E, got int 1"):
        kept.e = 1


def test_unions(tmp_path: Path) -> None:
    form = load_text(
        tmp_path,
        """
        namespace n;
        struct P { x: int; }
        table A { x: int; }
        table B { x: int; }
        union U { A, Second: A, P, Text: string, B = 9 }
        table M { first: int; u: U; us: [U]; }
        """,
    )
    for value in (form.A(1), form.P(2), "three", "", form.B(4)):
        message = form.M(1, u=value, us=[value, "x", value])
        view = received(message)
        assert view == message == view.copy()
        assert (view.u, list(view.us)) == (value, [value, "x", value])
        assert type(view.u) is type(value)
    assert received(form.M(us=[])).u is None
    with pytest.raises(lunar.FieldError, match=r"n.M.u: expected n.A or n.A or n.P or str or n.B, got M"):
        form.M(u=form.M())


def test_an_alternative_of_a_newer_union_reads_as_none(tmp_path: Path) -> None:
    text = "table A { x: int; } table B { x: int; } union U { A%s } table M { u: U; us: [U]; y: int; }"
    old = load_text(tmp_path, text % "", "old.fbs")
    new = load_text(tmp_path, text % ", B, String: string", "new.fbs")
    data = encode(new.M(u=new.B(1), us=[new.A(2), new.B(3), "s", new.A(4)], y=5))
    view = decode(old.M, data, verify=True)
    assert view.u is None
    assert list(view.us) == [old.A(2), None, None, old.A(4)]
    assert view.y == 5
    kept = view.copy()
    assert kept == view
    assert list(kept.us) == [old.A(2), None, None, old.A(4)]
    again = decode(new.M, encode(kept), verify=True)
    assert list(again.us) == [new.A(2), None, None, new.A(4)]
    kept.us.append(None)
    assert len(received(kept).us) == 5


def test_vectors_of_everything(tmp_path: Path) -> None:
    form = load_text(
        tmp_path,
        """
        enum E : short { A, B }
        struct S { a: byte; b: double; }
        table T { n: string; }
        union U { T, S }
        table M {
          a: [bool]; b: [byte]; c: [ubyte]; d: [short]; e: [ushort]; f: [int]; g: [uint]; h: [long]; i: [ulong];
          j: [float]; k: [double]; l: [E]; m: [S]; n: [T]; o: [string]; p: [U];
        }
        """,
    )
    limits = {
        "b": (-128, 127),
        "c": (0, 255),
        "d": (-(2**15), 2**15 - 1),
        "e": (0, 2**16 - 1),
        "f": (-(2**31), 2**31 - 1),
        "g": (0, 2**32 - 1),
        "h": (-(2**63), 2**63 - 1),
        "i": (0, 2**64 - 1),
    }
    fields = {
        **{name: list(pair) for name, pair in limits.items()},
        "a": [True, False],
        "j": [0.5, math.inf],
        "k": [0.1, -math.inf],
        "l": [1, 0],
        "m": [form.S(1, 2), form.S(-1, 0.5)],
        "n": [form.T("a"), form.T()],
        "o": ["", "ü€𝄞", "a\0b"],
        "p": [form.S(3, 4), form.T("b")],
    }
    message = form.M(**fields)
    view = received(message)
    assert view == message == view.copy()
    for name, values in fields.items():
        assert list(getattr(view, name)) == values
    for name, (low, high) in limits.items():
        for wrong in (low - 1, high + 1):
            with pytest.raises(
                lunar.FieldError, match=rf"M.{name}: expected a sequence of \w+, {low} to {high}, got int"
            ):
                form.M(**{name: [wrong]})
    for name in fields:
        assert len(getattr(received(form.M(**{name: []})), name)) == 0


def test_fixed_arrays_of_structs(tmp_path: Path) -> None:
    form = load_text(
        tmp_path,
        """
        enum E : ubyte { A, B }
        struct In { a: ubyte; b: uint; }
        struct S { i: [int:3]; f: [double:2]; e: [E:2]; s: [In:2]; b: [bool:2]; }
        table M { s: S; many: [S]; }
        """,
    )
    struct = form.S([1, 2, 3], (0.5, 1.5), [form.E.B, 0], [form.In(1, 2), form.In(3, 4)], [True, False])
    view = received(form.M(s=struct, many=[struct, form.S()]))
    assert view.s == struct == view.many[0]
    assert view.many[1] == form.S()
    assert view.s.i.tolist() == [1, 2, 3]
    assert view.s.e.tolist() == [1, 0]
    assert view.s.b.tolist() == [True, False]
    assert isinstance(view.s.s, tuple)
    assert view.s.s == (form.In(1, 2), form.In(3, 4))
    kept = view.copy()
    kept.s.s[1].b = 9
    kept.many[1].i[2] = 7
    assert received(kept).s.s[1] == form.In(3, 9)
    assert received(kept).many[1].i.tolist() == [0, 0, 7]


def test_defaults_optionals_and_ids(tmp_path: Path) -> None:
    form = load_text(
        tmp_path,
        """
        table M {
          last: int = -5 (id: 3);
          first: float = 0.1 (id: 0);
          maybe: bool = null (id: 2);
          half: double = inf (id: 1);
          old: string (deprecated, id: 4);
          name: string (id: 5);
        }
        """,
    )
    assert form.M.__match_args__ == ("first", "half", "maybe", "last", "name")
    empty = received(form.M())
    assert (empty.last, empty.maybe, empty.half, empty.name) == (-5, None, math.inf, None)
    assert empty.first == np.float32(0.1)
    assert len(encode(form.M(first=0.1, half=math.inf, last=-5))) == len(encode(form.M()))
    for value in (True, False):
        assert received(form.M(maybe=value)).maybe is value
    with pytest.raises(AttributeError):
        _ = form.M().old
    with pytest.raises(lunar.FieldError, match=r"M.old: expected one of its fields: first, half, maybe, last, name"):
        form.M(old="a")


def test_required_fields(tmp_path: Path) -> None:
    form = load_text(
        tmp_path,
        "struct S { x: int; } table T { x: int; } union U { T }"
        "table M { a: string (required); b: [int] (required); c: S (required); d: T (required); e: U (required); }",
    )
    whole = {"a": "", "b": [], "c": form.S(), "d": form.T(), "e": form.T()}
    assert received(form.M(**whole)) == form.M(**whole)
    for name in whole:
        message = form.M(**{**whole, name: None})
        with pytest.raises(lunar.FieldError, match=rf"M.{name}: expected .*: it is required, got NoneType None"):
            encode(message)
        assert message.copy() == message  # it may be completed yet


def test_includes_and_namespaces(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "base.fbs").write_text("namespace base; struct P { x: int; } enum E : byte { A, B }")
    (tmp_path / "top.fbs").write_text('include "base.fbs"; namespace top.deep; table M { p: base.P; e: base.E = B; }')
    form = load(tmp_path / "top.fbs", include_dirs=[tmp_path / "shared"])
    assert received(form.M(p=form.P(3))).p.x == 3
    assert form.M().e is form.E.B
    assert set(form) == {"base.E", "base.P", "top.deep.M"}


def test_tables_that_mention_each_other(tmp_path: Path) -> None:
    form = load_text(tmp_path, "table A { b: B; n: int; } table B { a: A; many: [A]; } root_type A;")
    message = form.A(form.B(form.A(n=1), [form.A(n=2)]), 3)
    assert received(message) == message
    assert message_type(form.A).hash != message_type(form.B).hash


def test_a_table_with_many_fields(tmp_path: Path) -> None:
    count = 300
    fields = "".join(f"f{i}: {('int', 'double', 'string', 'ubyte')[i % 4]};" for i in range(count))
    form = load_text(tmp_path, f"table M {{ {fields} }}")
    values = {f"f{i}": (i + 1, (i + 1) / 2, str(i), i % 256)[i % 4] for i in range(count)}
    view = received(form.M(**values))
    assert all(getattr(view, name) == value for name, value in values.items())
    assert view == form.M(**values) == view.copy()
    for place in (0, 31, 32, 33, 298, 299):
        assert received(form.M(**{f"f{place}": values[f"f{place}"]})) != form.M()
    with pytest.raises(lunar.FieldError, match=r"M.f300: expected one of its fields: f0, f1"):
        form.M(f300=1)
