import math
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lunar.errors import SchemaError
from lunar.messages.bfbs import read_schema
from lunar.messages.flatc import compile_schema, find_flatc
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

Load = Callable[[str], Schema]

EVERYTHING = """
    attribute "shape";
    namespace lab.inner;
    /// A colour.
    /// Really.
    enum Color: ubyte { Off, Red, Green, Blue = 8 }
    enum Flags: ushort (bit_flags) { Hot, Cold = 4 }
    struct Point (force_align: 16) { x: float (key); y: [double:6] (shape: "2,3"); c: Color; }
    namespace lab;
    struct Box { corners: [inner.Point:2]; on: bool; }
    union Thing { Tree, inner.Point, Note: string, Other: Tree = 9 }
    /// A tree.
    table Tree {
      /// Its name.
      name: string (key);
      children: [Tree];
      thing: Thing;
      things: [Thing];
      color: inner.Color = Green;
      flags: inner.Flags = "Hot Cold";
      maybe: int = null;
      gone: long (deprecated);
      box: Box;
      cloud: [float] (shape: ",3", required);
      inner: [ubyte] (nested_flatbuffer: "Tree");
      hashed: ulong (hash: "fnv1_64");
    }
    rpc_service Store { get(Tree): Tree; }
    root_type Tree;
    file_identifier "TREE";
    file_extension "tree";
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Compiles and reads the text of a schema."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def load(text: str) -> Schema:
        (tmp_path / "a.fbs").write_text(text)
        return read_schema(compile_schema(tmp_path / "a.fbs"))

    return load


def fields_of(schema: Schema, name: str = "T") -> dict[str, Field]:
    definition = schema.definitions[name]
    assert isinstance(definition, TableDefinition | StructDefinition)
    return {field.name: field for field in definition.fields}


def test_everything_the_language_has(load: Load) -> None:
    color, flags, point = Named("lab.inner.Color"), Named("lab.inner.Flags"), Named("lab.inner.Point")
    thing, tree = Named("lab.Thing"), Named("lab.Tree")
    assert load(EVERYTHING) == Schema(
        {
            "lab.inner.Color": EnumDefinition(
                color.name,
                Scalar.UINT8,
                (("Off", 0), ("Red", 1), ("Green", 2), ("Blue", 8)),
                documentation=("A colour.", "Really."),
            ),
            "lab.inner.Flags": EnumDefinition(flags.name, Scalar.UINT16, (("Hot", 1), ("Cold", 16)), bit_flags=True),
            "lab.inner.Point": StructDefinition(
                point.name,
                (
                    Field("x", Scalar.FLOAT32, 0, key=True),
                    Field("y", Array(Scalar.FLOAT64, 6), 1, shape=(2, 3)),
                    Field("c", color, 2),
                ),
                force_align=16,
            ),
            "lab.Box": StructDefinition("lab.Box", (Field("corners", Array(point, 2), 0), Field("on", Scalar.BOOL, 1))),
            "lab.Thing": UnionDefinition(
                thing.name,
                (
                    UnionMember("Tree", 1, tree),
                    UnionMember("inner_Point", 2, point),
                    UnionMember("Note", 3, String()),
                    UnionMember("Other", 9, tree),
                ),
            ),
            "lab.Tree": TableDefinition(
                tree.name,
                (
                    Field("name", String(), 0, required=True, key=True, documentation=("Its name.",)),
                    Field("children", Vector(tree), 1),
                    Field("thing", thing, 3),
                    Field("things", Vector(thing), 5),
                    Field("color", color, 6, default=2),
                    Field("flags", flags, 7, default=17),
                    Field("maybe", Scalar.INT32, 8, optional=True),
                    Field("gone", Scalar.INT64, 9, default=0, deprecated=True),
                    Field("box", Named("lab.Box"), 10),
                    Field("cloud", Vector(Scalar.FLOAT32), 11, required=True, shape=(None, 3)),
                    Field("inner", Vector(Scalar.UINT8), 12),
                    Field("hashed", Scalar.UINT64, 13, default=0),
                ),
                documentation=("A tree.",),
            ),
        },
        root="lab.Tree",
        file_identifier="TREE",
    )


def test_without_a_root_there_is_none(load: Load) -> None:
    schema = load("table T { x: int; }")
    assert (schema.root, schema.file_identifier) == (None, None)


@pytest.mark.parametrize(
    ("declared", "default"),
    [
        ("bool = true", True),
        ("byte = -128", -128),
        ("ubyte = 0xFF", 255),
        ("long = -9223372036854775808", -(2**63)),
        ("ulong = 9223372036854775807", 2**63 - 1),
        ("ulong = 9223372036854775808", 2**63),
        ("ulong = 18446744073709551615", 2**64 - 1),
        ("ulong = 0xFFFFFFFFFFFFFFFF", 2**64 - 1),
        ('ulong = "18446744073709551614"', 2**64 - 2),
        ("ulong = 18446744073709551615 (deprecated)", 2**64 - 1),
        ("E = Huge", 2**64 - 1),
        ("E = Zero", 0),
        ("E = 18446744073709551615", 2**64 - 1),
        ("F = Top", 2**63),
        ('F = "Low Top"', 2**63 + 1),
        ("F", 0),
        ("double = 0.1", 0.1),
        ("float = 1e-3", 1e-3),
        ("double = -1.7976931348623157e308", -1.7976931348623157e308),
        ("float = inf", math.inf),
        ("double = -inf", -math.inf),
        ("double = deg(0)", 0.0),
        ("string", None),
        ('string = ""', ""),
        ("string = ''", ""),
        ('string = "abc"', "abc"),
        ("string = 'it''s'".replace("''", "\\'"), "it's"),
        (r'string = "a\"\\\n\u00e9\ud83d\ude00;(=" (deprecated)', 'a"\\\né😀;(='),
        ('string = "// no comment /* none */"', "// no comment /* none */"),
        ("[int]", None),
        ("[int] = []", "[]"),
        ("[string] = []", "[]"),
    ],
)
def test_defaults(load: Load, declared: str, default: float | str | None) -> None:
    enums = "enum E: ulong { Zero, Huge = 18446744073709551615 } enum F: ulong (bit_flags) { Low, Top = 63 }"
    found = fields_of(load(f"/* x = 'y' */ {enums} table T {{ x: {declared}; y: int = 3; }}"))["x"].default
    assert (found, type(found)) == (default, type(default))


def test_defaults_that_do_not_equal_themselves_or_equal_another(load: Load) -> None:
    fields = fields_of(
        load("table T { nan: float = nan; minus: double = -0.0; dot: float = -.0e5; plus: float = 0.0; }")
    )
    # The one object, so that schemas with it can be equal.
    assert id(fields["nan"].default) == id(math.nan)
    signs = [math.copysign(1, float(str(fields[name].default))) for name in ("minus", "dot", "plus")]
    assert signs == [-1, -1, 1]


def test_defaults_of_included_files_are_kept_too(tmp_path: Path, load: Load) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.fbs").write_text('\ufeffinclude "c.fbs"; table B { c: C; s: string = "b"; }')
    (tmp_path / "sub" / "c.fbs").write_text('table C { s: string = "c"; }')
    schema = load('native_include "x.h"; include "sub/b.fbs"; include "sub/c.fbs"; table T { b: B; s: string = "t"; }')
    assert [fields_of(schema, name)["s"].default for name in "BCT"] == ["b", "c", "t"]


def test_a_comment_may_open_a_file_whose_defaults_are_kept(load: Load) -> None:
    schema = load('/// First.\ntable T { s: string = "t"; }')
    assert schema.definitions["T"].documentation == ("First.",)
    assert fields_of(schema)["s"].default == "t"


def test_ids_give_the_order(load: Load) -> None:
    schema = load("table V { x: int; } union U { V } table T { b: int (id: 3); u: U (id: 2); a: int (id: 0); }")
    assert [(field.name, field.id) for field in fields_of(schema).values()] == [("a", 0), ("u", 2), ("b", 3)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("table T { far: [ubyte] (offset64); }", r"^T\.far has a 64-bit offset"),
        ("table T { big: [ubyte] (vector64); }", r"^T\.big has a 64-bit offset"),
        ("table T { name: string (offset64); }", r"^T\.name has a 64-bit offset"),
        ("struct S (force_align: 32) { x: int; }", "^struct S has force_align '32'"),
        ("table T { v: [ubyte] (force_align: 32); }", r"^T\.v has force_align '32'"),
        ("table T { v: [ubyte] (force_align: 3); }", r"^T\.v has force_align '3'"),
        ("table T { x: float = 1e300; }", r"T\.x does not fit float32"),
        ("table T { x: int; } union U: int { T }", "^union U has tags of int32"),
        ("table T { x: int; } union U: ushort { T = 256 }", "^union U has tags of uint16"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(load: Load, text: str, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        load(text)


def test_a_vector_may_ask_for_an_alignment_that_it_has_anyway(load: Load) -> None:
    assert fields_of(load("table T { v: [ubyte] (force_align: 16); }"))["v"].type == Vector(Scalar.UINT8)


@pytest.mark.parametrize(
    ("declared", "shape"),
    [("3,3", (3, 3)), (",3", (None, 3)), ("9", (9,)), (" 2 , 4 ", (2, 4)), (",2,2", (None, 2, 2))],
)
def test_shapes(load: Load, declared: str, shape: tuple[int | None, ...]) -> None:
    schema = load(f'attribute "shape"; table T {{ v: [int] (shape: "{declared}"); }}')
    assert fields_of(schema)["v"].shape == shape


@pytest.mark.parametrize(
    "field",
    [
        'v: [int] (shape: "")',
        'v: [int] (shape: ",")',
        'v: [int] (shape: "3,")',
        'v: [int] (shape: "3,,3")',
        'v: [int] (shape: "-3")',
        'v: [int] (shape: "0,3")',
        'v: [int] (shape: "1_0")',
        'v: [int] (shape: "\\u0663")',
        'v: [int] (shape: "65536,65536")',
        'v: [int] (shape: "three")',
        "v: [int] (shape)",
        'v: int (shape: "1")',
        'v: string (shape: "1")',
        'v: [string] (shape: "1")',
        'v: [T] (shape: "1")',
    ],
)
def test_a_malformed_shape_is_refused(load: Load, field: str) -> None:
    with pytest.raises(SchemaError, match=r"^T\.v has"):
        load(f'attribute "shape"; table T {{ {field}; }}')


@pytest.mark.parametrize("shape", ["2,2", ",3", "10"])
def test_the_shape_of_an_array_has_as_many_elements(load: Load, shape: str) -> None:
    with pytest.raises(SchemaError, match=r"^S\.v has"):
        load(f'attribute "shape"; struct S {{ v: [int:9] (shape: "{shape}"); }}')


def test_a_schema_without_builtins_whose_alignment_is_not_said_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.fbs").write_text("struct S (force_align: 16) { x: int; }")
    subprocess.run([find_flatc(), "--binary", "--schema", "-o", tmp_path, tmp_path / "a.fbs"], check=True)
    with pytest.raises(SchemaError, match="--bfbs-builtins"):
        read_schema((tmp_path / "a.bfbs").read_bytes())


# ---- corrupt bytes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "a.fbs").write_text(EVERYTHING)
    return compile_schema(tmp_path / "a.fbs")


@pytest.mark.parametrize("data", [b"", b"BFBS", b"\0\0\0\0BFBS", b"\xff\xff\xff\xffBFBS", b"\x04\0\0\0BFBX" * 9])
def test_what_is_no_compiled_schema_is_refused(data: bytes) -> None:
    with pytest.raises(SchemaError):
        read_schema(data)


def test_truncated_bytes_are_refused(compiled: bytes) -> None:
    good = read_schema(compiled)
    for size in range(0, len(compiled), 7):
        try:
            found = read_schema(compiled[:size])
        except SchemaError:
            continue
        # Only what nobody reads was cut off.
        assert found == good


@pytest.mark.hostile
def test_mutated_bytes_raise_nothing_but_schema_errors(compiled: bytes) -> None:
    chance = random.Random(3)
    refused = 0
    for _ in range(3000):
        mutated = bytearray(compiled)
        for _ in range(chance.choice((1, 1, 2, 8))):
            at = chance.randrange(len(mutated))
            if chance.random() < 0.5:
                mutated[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            else:
                at -= at % 4
                mutated[at : at + 4] = struct.pack(
                    "<I", chance.choice((0, 4, 0xFFFFFFFF, chance.randrange(len(mutated))))
                )
        try:
            schema = read_schema(bytes(mutated))
        except SchemaError:
            refused += 1
            continue
        for definition in schema.definitions.values():
            if isinstance(definition, StructDefinition):
                assert schema.struct_layout(definition.name)[0] > 0
            assert schema.closure(definition.name)
    assert refused > 300
