import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import lunar
from lunar.messages.bfbs import read_schema
from lunar.messages.flatc import compile_schema
from lunar.messages.stubs import stub_text
from tests.unit.messages.forms import FBS

ODD = """
namespace a;
/// Ends with a "quotation mark"
struct Sequence { int_: int; }
table M { x: int; }
namespace b;
enum E : byte { None, class, other }
table M { y: int; o: a.M; }
table np { e: E; }
table Array { message: [np]; }
union U { M, a.M }
/// One line with \\ and \"\"\" in it.
///
/// And more.
table Message {
  /// A field's words "quoted"
  int: int; float: float; str: string; bool: bool; a: int; b: string; c: [float]; d: bool; e: [E];
  Sequence: a.Sequence; sequences: [a.Sequence]; arrays: [Array]; one: M; other: a.M; u: U; us: [U];
  class: int; old: int (deprecated); must: string (required); maybe: int = null; s: [string]; raw: [ubyte];
  IntEnum: [double]; nps: np; inner: Message;
}
table Empty { }
"""

SNIPPET = """
from odd import Array, E, Empty, Message, Sequence, np
import numpy

m = Message(int=1, float=2.0, str="a", bool=True, a=1, b="b", c=[1.0], d=False, e=[1], sequences=[Sequence(int_=1)])
Message(Sequence=Sequence(), arrays=[Array(message=[np()])], must="m", maybe=None, s=["a"], raw=b"abc")
Message(raw=numpy.ndarray(), c=numpy.ndarray(), e=numpy.ndarray(), IntEnum=[1.0], inner=m, nps=np(e=E.other))
reveal_type(m.int)
reveal_type(m.b)
reveal_type(m.c)
reveal_type(m.sequences)
reveal_type(m.must)
reveal_type(m.maybe)
reveal_type(m.arrays)
reveal_type(m.nps)
reveal_type(m.u)
reveal_type(E.other)
Empty()
Message(int="a")  # refused
Message(c=["a"])  # refused
Message(c=b"a" if m else "a")  # refused
Message(klass=1)  # refused
Message(old=1)  # refused
Message(sequences=[1])  # refused
Message(must=None)  # refused
m.maybe + 1  # refused
"""
NUMPY = "class ndarray: ...\n"


def printed(tmp_path: Path, text: str) -> str:
    (tmp_path / "schema.fbs").write_text(text)
    return stub_text(read_schema(compile_schema(tmp_path / "schema.fbs")), "A title.")


@pytest.mark.parametrize("text", [FBS, ODD], ids=["usual", "odd"])
def test_a_stub_is_python(tmp_path: Path, text: str) -> None:
    stub = printed(tmp_path, text)
    module = ast.parse(stub)
    assert ast.get_docstring(module) == "A title.\n\nGenerated: do not edit."
    compile(stub, "stub", "exec")
    assert stub.endswith("\n")
    assert not stub.endswith("\n\n")
    assert all(line == line.rstrip() for line in stub.splitlines())


def test_a_usual_stub_is_plain(tmp_path: Path) -> None:
    stub = printed(tmp_path, FBS)
    assert " as _" not in stub
    for line in (
        "from collections.abc import Sequence",
        "from enum import IntEnum, IntFlag",
        "class Mode(IntEnum):",
        "class Access(IntFlag):",
        "class Wheel(Message):",
        '    """One wheel."""',
        "    stamp_ns: int",
        "    label: str | None",
        "    key: str | None",
        "    ticks: Array[int]",
        "    weights: Array[float]",
        "    mode: Mode",
        "    pose: Pose | None",
        "    points: Sequence[Point]",
        "    load: Tag | Point | str | None",
        "    loads: Sequence[Tag | Point | str | None]",
        "    spare: int | None",
        "        ticks: Sequence[int] | np.ndarray = ...,",
    ):
        assert line in stub.splitlines()


def test_words_are_carried_over(tmp_path: Path) -> None:
    module = ast.parse(printed(tmp_path, ODD))
    words = {each.name: ast.get_docstring(each) for each in module.body if isinstance(each, ast.ClassDef)}
    assert words["Sequence"] is not None
    assert words["Sequence"].strip() == 'Ends with a "quotation mark"'
    assert words["Message"] == "One line with \\ and ''' in it.\n\nAnd more."
    assert words["np"] is None


def test_what_two_namespaces_have_is_not_importable(tmp_path: Path) -> None:
    stub = printed(tmp_path, ODD)
    assert "class _a_M(" in stub
    assert "class _b_M(" in stub
    assert "class M(" not in stub


def test_type_checkers_understand_any_names(tmp_path: Path) -> None:
    (tmp_path / "odd.pyi").write_text(printed(tmp_path, ODD))
    (tmp_path / "numpy.pyi").write_text(NUMPY)
    (tmp_path / "snippet.py").write_text(SNIPPET)
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "snippet.py", "odd.pyi"]
    root = Path(lunar.__path__[0]).parent
    environment = {**os.environ, "MYPYPATH": os.pathsep.join([str(tmp_path), str(root)])}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    refused = {number for number, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# refused")}
    said = run.stdout.splitlines()
    errors = {(line.split(":")[0], int(line.split(":")[1])) for line in said if ": error: " in line}
    assert errors == {("snippet.py", number) for number in refused}, run.stdout + run.stderr
    revealed = [line.partition("Revealed type is ")[2].strip('"') for line in said if ": note: Revealed" in line]
    assert revealed == [
        "int",
        "str | None",
        "numpy.ndarray",
        "typing.Sequence[odd.Sequence]",
        "str",
        "int | None",
        "typing.Sequence[odd.Array]",
        "odd.np | None",
        "odd._b_M | odd._a_M | None",
        "Literal[odd.E.other]?",
    ], run.stdout
