from collections.abc import Callable

import pytest

from lunar.cli.interface_texts import list_interfaces
from lunar.cli.topic_interfaces import field_lines
from lunar.cli.type_lookup import UnknownType, find_type, standard_types
from lunar.errors import LunarError, TypeMismatch
from lunar.graph.descriptions import EndpointInfo, GraphSnapshot, NodeInfo
from lunar.graph.schemas import schema_text
from lunar.messages.identity import type_hash
from lunar.messages.schema import Definition, Field, Named, Scalar, Schema, TableDefinition
from lunar.messages.structured import structured_type

MakeEndpoint = Callable[..., EndpointInfo]


def table(name: str, *fields: str) -> Schema:
    described = tuple(Field(field, Scalar.INT32, index, default=0) for index, field in enumerate(fields))
    return Schema({name: TableDefinition(name, described)}, name)


@pytest.fixture
def tell(make_endpoint: MakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``tell(*schemas)``: each is the type of a publisher on a topic of its own, /t0, /t1 and so on."""

    def tell(*schemas: Schema) -> None:
        ends, texts = [], {}
        for index, schema in enumerate(schemas):
            root = schema.root or ""
            identity = type_hash(schema, root)
            ends.append(make_endpoint("publisher", topic=f"/t{index}", type_name=root, type_hash=identity))
            texts[identity] = schema_text((schema, root)) or ""
        ends.append(make_endpoint("publisher", topic="/lie", type_name="robot.Lie", type_hash="cd" * 16))
        texts["cd" * 16] = texts.get(ends[0].type_hash, "{}")
        snapshot = GraphSnapshot((NodeInfo("talker", "/", 12, 1000, tuple(ends)),), (), texts)
        monkeypatch.setattr("lunar.graph_snapshot", lambda timeout_s=1.0, types_of=(): snapshot, raising=False)

    return tell


def test_names_of_the_standard_set_come_first(tell: Callable[..., None]) -> None:
    tell(table("geometry_msgs.Twist", "other"), table("robot.Twist", "x"))
    for name in ("geometry_msgs.Twist", "geometry_msgs/msg/Twist", "geometry_msgs/Twist", "Twist"):
        assert find_type(name).origin == "lunar.msgs"
    assert find_type("robot.Twist").origin == "/t1"


def test_what_is_ambiguous_is_asked(tell: Callable[..., None]) -> None:
    tell(table("robot.State", "x"), table("robot.State", "x", "y"), table("arm.Load", "x"), table("leg.Load", "x"))
    with pytest.raises(UnknownType, match=r"robot.State of /t0; robot.State of /t1"):
        find_type("robot.State")
    with pytest.raises(UnknownType, match=r"arm.Load of /t2; leg.Load of /t3"):
        find_type("Load")
    assert [field.name for field in find_type("/t0").schema.definitions["robot.State"].fields] == ["x"]  # type: ignore[union-attr]


def test_a_schema_that_is_not_what_it_was_told_as_is_refused(tell: Callable[..., None]) -> None:
    tell(table("robot.State", "x"))
    with pytest.raises(LunarError, match=r"has told no schema of robot.Lie: it is the schema of another type"):
        find_type("/lie")
    with pytest.raises(UnknownType):
        find_type("robot.Lie")


def test_names_that_python_cannot_have_do_not_spoil_a_list(
    tell: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    tell(table("robot.Odd", "__init__"))
    assert list_interfaces("robot", as_json=True) == 0
    assert '"name": "robot.Odd"' in capsys.readouterr().out


def test_a_type_has_the_identity_of_its_class() -> None:
    for found in standard_types().values():
        if found.is_message:
            assert found.type_hash() == structured_type(found.message_class()).hash
        else:
            assert found.type_hash() == ""
            with pytest.raises(TypeMismatch, match=f"of kind {found.kind}"):
                found.described()


def test_there_is_an_end_to_fields() -> None:
    definitions: list[Definition] = [TableDefinition("D0", (Field("x", Scalar.UINT8, 0, default=0),))]
    for depth in range(1, 40):
        fields = tuple(Field(f"f{i}", Named(f"D{depth - 1}"), i) for i in range(4))
        definitions.append(TableDefinition(f"D{depth}", fields))
    lines = field_lines(Schema({each.name: each for each in definitions}), "D39")
    assert (len(lines), lines[-1]) == (1001, "  ...")
