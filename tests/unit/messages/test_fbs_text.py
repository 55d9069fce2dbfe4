import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lunar.errors import SchemaError
from lunar.messages.bfbs import read_schema
from lunar.messages.fbs_text import to_fbs
from lunar.messages.flatc import compile_schema
from lunar.messages.schema import (
    Array,
    Definition,
    EnumDefinition,
    Field,
    Named,
    Scalar,
    Schema,
    SchemaType,
    String,
    StructDefinition,
    TableDefinition,
    UnionDefinition,
    UnionMember,
    Vector,
)

INTEGERS = [scalar for scalar in Scalar if not scalar.is_float and scalar is not Scalar.BOOL]
# Some that look like words of the language.
FIELD_NAMES = [
    "table",
    "struct",
    "int32",
    "namespace",
    "string",
    "root_type",
    "null",
    "_",
    "x1",
    "y_z",
    "include",
    "id",
]

documentation = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), max_size=12), max_size=2
).map(tuple)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


def numbers_of(scalar: Scalar) -> st.SearchStrategy[int | float]:
    if scalar is Scalar.BOOL:
        return st.booleans()
    if scalar.is_float:
        floats = st.floats(width=32) if scalar is Scalar.FLOAT32 else st.floats()
        # Of NaNs there is but one.
        return floats.map(lambda number: math.nan if math.isnan(number) else number)
    least, greatest = scalar.limits
    return st.integers(least, greatest) | st.sampled_from([0, least, greatest])


@st.composite
def enums(draw: st.DrawFn, name: str) -> EnumDefinition:
    bit_flags = draw(st.booleans())
    underlying = draw(st.sampled_from([each for each in INTEGERS if not bit_flags or each.limits[0] == 0]))
    if bit_flags:
        bits = st.integers(0, 8 * underlying.size_bytes - 1)
        numbers = [2**bit for bit in draw(st.lists(bits, min_size=1, max_size=4, unique=True))]
    else:
        numbers = [0, *draw(st.lists(st.integers(*underlying.limits).filter(bool), max_size=4, unique=True))]
    # "inf" as a value's name must not be taken for a number.
    names = ["inf", "A", "B_2", "true", "enum"]
    values = [(member, number) for member, number in zip(names, sorted(numbers), strict=False)]
    return EnumDefinition(name, underlying, tuple(values), bit_flags, draw(documentation))


@st.composite
def structs(draw: st.DrawFn, name: str, inline: list[str]) -> StructDefinition:
    fields = []
    key = draw(st.sampled_from([None, "x1"]))
    for number, field in enumerate(draw(st.lists(st.sampled_from(FIELD_NAMES), min_size=1, max_size=4, unique=True))):
        element: Scalar | Named = draw(st.sampled_from([*Scalar, *map(Named, inline)]))
        type_: SchemaType = element
        shape: tuple[int, ...] = ()
        if draw(st.booleans()):
            type_ = Array(element, draw(st.integers(1, 12)))
            if isinstance(element, Scalar) and draw(st.booleans()):
                shape = (1, type_.length)
        fields.append(Field(field, type_, number, key=field == key, shape=shape, documentation=draw(documentation)))
    return StructDefinition(name, tuple(fields), draw(st.sampled_from([0, 16])), draw(documentation))


@st.composite
def unions(draw: st.DrawFn, name: str, members: list[str]) -> UnionDefinition:
    tags = sorted(draw(st.lists(st.integers(1, 255), max_size=3, unique=True)))
    types: st.SearchStrategy[Named | String] = st.sampled_from([String(), *map(Named, members)])
    alternatives = [
        UnionMember(member, tag, draw(types)) for member, tag in zip(["One", "Two", "string"], tags, strict=False)
    ]
    return UnionDefinition(name, tuple(alternatives), draw(documentation))


@st.composite
def table_fields(draw: st.DrawFn, name: str, number: int, known: dict[str, Definition], tables: list[str]) -> Field:
    element = draw(st.sampled_from([*Scalar, String(), *map(Named, [*known, *tables])]))
    is_vector = draw(st.booleans())
    definition = known.get(element.name) if isinstance(element, Named) else None
    scalar = element if isinstance(element, Scalar) else None
    if isinstance(definition, EnumDefinition):
        scalar = definition.underlying
    deprecated, comment = draw(st.booleans()), draw(documentation)
    shape: tuple[int | None, ...] = ()
    default: int | float | str | None = None
    optional = required = False
    if is_vector or scalar is None:
        required = draw(st.booleans())
        if is_vector and isinstance(element, Scalar):
            shape = draw(st.sampled_from([(), (3, 3), (None, 3), (2,)]))
        if not required and is_vector:
            default = draw(st.sampled_from([None, "[]"])) if not isinstance(definition, UnionDefinition) else None
        elif not required and isinstance(element, String):
            default = draw(st.none() | texts)
    else:
        optional = draw(st.booleans())
        if isinstance(definition, EnumDefinition):
            values = [value for _, value in definition.values]
            default = draw(st.sampled_from([*values, 0, sum(values)] if definition.bit_flags else values))
        else:
            default = draw(numbers_of(scalar))
    return Field(
        name,
        Vector(element) if is_vector else element,
        number + isinstance(definition, UnionDefinition),
        default=None if optional else default,
        optional=optional,
        required=required,
        deprecated=deprecated,
        shape=shape,
        documentation=comment,
    )


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """Schemas with a little of everything, whose types lie in several namespaces and mention each other."""

    def names(kind: str, least: int, most: int) -> list[str]:
        spaces = draw(st.lists(st.sampled_from(["", "lab.", "lab.arm.", "Zoo."]), min_size=least, max_size=most))
        return [f"{space}{kind}{number}" for number, space in enumerate(spaces)]

    known: dict[str, Definition] = {name: draw(enums(name)) for name in names("Color", 0, 2)}
    for name in names("Box", 0, 3):
        known[name] = draw(structs(name, [*known]))
    tables = names("Tree", 1, 3)
    inline = [name for name, each in known.items() if isinstance(each, StructDefinition)]
    for name in names("Thing", 0, 2):
        known[name] = draw(unions(name, [*inline, *tables]))
    definitions = dict(known)
    for name in tables:
        fields: list[Field] = []
        for field in draw(st.lists(st.sampled_from(FIELD_NAMES), max_size=6, unique=True)):
            fields.append(draw(table_fields(field, fields[-1].id + 1 if fields else 0, known, tables)))
        definitions[name] = TableDefinition(name, tuple(fields), draw(documentation))
    root = draw(st.none() | st.sampled_from(tables))
    identifier = draw(st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=4, max_size=4))
    return Schema(dict(sorted(definitions.items())), root, identifier)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fbs")


def compiled(text: str, folder: Path) -> Schema:
    # Each compiled once only: the caches would but grow.
    (folder / "a.fbs").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        return read_schema(compile_schema(folder / "a.fbs"))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schemas())
def test_what_is_printed_is_read_back_as_it_was(folder: Path, schema: Schema) -> None:
    # In `repr`, unlike in comparing, NaN is equal to itself and -0.0 is not 0.0.
    assert repr(compiled(to_fbs(schema), folder)) == repr(schema)


def schema_of(*definitions: Definition, root: str | None = None, identifier: str | None = None) -> Schema:
    return Schema({each.name: each for each in definitions}, root, identifier)


def test_it_reads_as_one_would_write_it() -> None:
    schema = schema_of(
        EnumDefinition("lab.Color", Scalar.UINT8, (("Red", 0), ("Blue", 7)), documentation=("Of light.",)),
        EnumDefinition("lab.Flags", Scalar.UINT8, (("Hot", 1), ("Cold", 128)), bit_flags=True),
        StructDefinition("lab.Point", (Field("xy", Array(Scalar.FLOAT32, 4), 0, shape=(2, 2)),), force_align=8),
        UnionDefinition("lab.Thing", (UnionMember("Tree", 1, Named("lab.Tree")), UnionMember("note", 2, String()))),
        TableDefinition(
            "lab.Tree",
            (
                Field("name", String(), 0, required=True, key=True, documentation=("Its name.", "")),
                Field("color", Named("lab.Color"), 1, default=7),
                Field("flags", Named("lab.Flags"), 2, default=129),
                Field("thing", Named("lab.Thing"), 4, deprecated=True),
                Field("note", String(), 5, default='a "b"\n'),
                Field("rows", Vector(Scalar.INT16), 6, default="[]", shape=(None, 2)),
                Field("age", Scalar.INT32, 7, optional=True),
            ),
        ),
        root="lab.Tree",
        identifier="TREE",
    )
    assert (
        to_fbs(schema)
        == r"""attribute "shape";

namespace lab;

/// Of light.
enum Color: uint8 {
  Red = 0,
  Blue = 7,
}

enum Flags: uint8 (bit_flags) {
  Hot = 0,
  Cold = 7,
}

struct Point (force_align: 8) {
  xy: [float32:4] (shape: "2,2");
}

union Thing {
  Tree: lab.Tree = 1,
  note: string = 2,
}

table Tree {
  /// Its name.
  ///
  name: string (required, key);
  color: lab.Color = Blue;
  flags: lab.Flags = 129;
  thing: lab.Thing (deprecated);
  note: string = "a \"b\"\u000a";
  rows: [int16] = [] (shape: ",2");
  age: int32 = null;
}

root_type lab.Tree;
file_identifier "TREE";
"""
    )


def test_fields_out_of_order_say_their_ids(folder: Path) -> None:
    union = UnionDefinition("U", (UnionMember("T", 1, Named("T")),))
    fields = [Field("b", Scalar.INT32, 3, default=0), Field("u", Named("U"), 2), Field("a", Scalar.INT8, 0, default=0)]
    text = to_fbs(schema_of(union, TableDefinition("T", tuple(fields))))
    assert "b: int32 (id: 3);" in text
    expected = TableDefinition("T", tuple(sorted(fields, key=lambda field: field.id)))
    assert compiled(text, folder).definitions["T"] == expected


@pytest.mark.parametrize("ids", [(0, 2), (1, 2), (0, 0)])
def test_ids_that_leave_a_gap_are_refused(ids: tuple[int, int]) -> None:
    fields = [Field(name, Scalar.INT8, each, default=0) for name, each in zip("ab", ids, strict=True)]
    with pytest.raises(SchemaError, match="ids of T's fields"):
        to_fbs(schema_of(TableDefinition("T", tuple(fields))))


def test_only_what_a_root_needs_is_printed(folder: Path) -> None:
    leaf = TableDefinition("a.Leaf", (Field("tree", Named("Tree"), 0),))
    tree = TableDefinition("Tree", (Field("leaves", Vector(Named("a.Leaf")), 0),))
    other = TableDefinition("Other", (Field("tree", Named("Tree"), 0),))
    whole = schema_of(other, tree, leaf, root="Tree", identifier="TREE")
    assert compiled(to_fbs(whole, "Tree"), folder) == schema_of(tree, leaf, root="Tree", identifier="TREE")
    assert compiled(to_fbs(whole, "a.Leaf"), folder) == schema_of(tree, leaf, root="a.Leaf")
    with pytest.raises(KeyError):
        to_fbs(whole, "Nowhere")


def test_a_root_that_is_no_table_is_printed_without_a_root_type(folder: Path) -> None:
    point = StructDefinition("Point", (Field("x", Scalar.INT8, 0),))
    table = TableDefinition("T", (Field("p", Named("Point"), 0),))
    assert compiled(to_fbs(schema_of(point, table, root="T"), "Point"), folder) == schema_of(point)


def test_a_comment_cannot_become_a_declaration(folder: Path) -> None:
    table = TableDefinition("T", (), documentation=("a\ntable Evil {}\r\nb\rc",))
    read = compiled(to_fbs(schema_of(table)), folder)
    assert read == schema_of(TableDefinition("T", (), documentation=("a", "table Evil {}", "b", "c")))


@pytest.mark.parametrize(
    "name", ["", "a b", "é", "1a", "a.", ".a", "a..b", "T{}table E"], ids=lambda name: name or "empty"
)
def test_a_name_that_the_language_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(SchemaError, match="not a name"):
        to_fbs(schema_of(TableDefinition(name, ())))


@pytest.mark.parametrize(
    "definition",
    [
        TableDefinition("T", (Field("a b", Scalar.INT8, 0, default=0),)),
        EnumDefinition("E", Scalar.INT8, (("é", 0),)),
        UnionDefinition("U", (UnionMember("a;b", 1, String()),)),
    ],
    ids=["field", "enum value", "union member"],
)
def test_a_members_name_that_the_language_does_not_have_is_refused(definition: Definition) -> None:
    with pytest.raises(SchemaError, match="not a name"):
        to_fbs(schema_of(definition))


def test_a_name_that_would_be_found_elsewhere_is_refused() -> None:
    table = TableDefinition("a.T", (Field("x", Named("X"), 0),))
    with pytest.raises(SchemaError, match=r"a\.T cannot name X: a\.X would be found first"):
        to_fbs(schema_of(table, TableDefinition("X", ()), TableDefinition("a.X", ())))


def test_a_global_name_is_not_taken_for_one_in_a_namespace(folder: Path) -> None:
    union = UnionDefinition("U", (UnionMember("X", 1, Named("X")),))
    schema = schema_of(union, TableDefinition("X", ()), TableDefinition("a.X", ()))
    assert compiled(to_fbs(schema), folder) == schema


def test_a_type_that_is_named_like_a_built_in_one_is_refused() -> None:
    table = TableDefinition("T", (Field("x", Named("float"), 0),))
    with pytest.raises(SchemaError, match="built-in"):
        to_fbs(schema_of(table, TableDefinition("float", ())))


@pytest.mark.parametrize(
    "definition",
    [
        StructDefinition("S", (Field("s", Named("S"), 0),)),
        StructDefinition("S", ()),
        EnumDefinition("E", Scalar.INT8, ()),
    ],
    ids=["struct in itself", "empty struct", "empty enum"],
)
def test_what_flatc_would_refuse_is_refused(definition: Definition) -> None:
    with pytest.raises(SchemaError):
        to_fbs(schema_of(definition))


def test_a_default_that_is_no_value_of_its_enum_is_refused() -> None:
    enum = EnumDefinition("E", Scalar.INT8, (("A", 1),))
    table = TableDefinition("T", (Field("e", Named("E"), 0, default=2),))
    with pytest.raises(SchemaError, match=r"default 2 of T\.e"):
        to_fbs(schema_of(enum, table))
