"""What a user's own objects do while a message reads, compares or writes them: an exception at most."""

import gc
import struct
import sys
import threading
import weakref
from typing import Any

import numpy as np
import pytest

import lunar
from lunar._native import _codec
from lunar.errors import FieldError, VerificationError
from lunar.messages import Message, decode, encode, encode_into, from_dict, to_dict
from lunar.messages.plan import Compiler
from lunar.messages.schema import Field, Named, Schema, TableDefinition, Vector
from lunar.testing import isolated
from tests.unit.messages.every import every, full_message

pytestmark = pytest.mark.hostile

E: Any = every()


class Meddler(bytearray):
    """A buffer that runs something when somebody asks for its length: to measure it first, then to write it."""

    meddle: Any = staticmethod(lambda: None)
    asks_before = 0

    def __len__(self) -> int:
        self.asks_before -= 1
        if self.asks_before < 0:
            self.meddle()
        return super().__len__()


@pytest.mark.parametrize("asks_before", [0, 1])
def test_a_field_that_is_unset_while_the_message_is_laid_out(asks_before: int) -> None:
    message = E.Every(name="n" * 2000, one="text", wide=full_message().wide, tree=E.Tree(), names=["x"])
    meddler = Meddler(b"123")
    message.nested = meddler
    meddler.asks_before = asks_before

    def unset() -> None:
        message.one = message.wide = message.tree = message.names = message.text = None

    meddler.meddle = unset
    # What is measured and what is written is each what the message held when that began; a large one is both.
    if asks_before == 0:
        with pytest.raises(VerificationError, match="changed while it was written"):
            encode(message)
    else:
        assert decode(E.Every, encode(message)).one == "text"
    assert decode(E.Every, encode(message)).one is None


def test_a_field_that_is_unset_while_a_small_message_is_drafted() -> None:
    message = E.Every(name="n", one="text")
    meddler = Meddler(b"123")
    message.nested = meddler

    def unset() -> None:
        message.one = None

    meddler.meddle = unset
    assert decode(E.Every, encode(message)).one == "text"
    assert decode(E.Every, encode(message)).one is None


def test_a_message_that_is_measured_while_it_is_drafted() -> None:
    message = E.Every(name="n", one="text")
    meddler = Meddler(b"123")
    message.nested = meddler
    with isolated(), lunar.Node("meddler") as node:
        pub = node.create_publisher(E.Every, "every")
        sub = node.create_subscription(E.Every, "every")
        pub.wait_for_subscribers_blocking(1, 10)
        meddler.meddle = lambda: pub.publish_blocking(E.Every(name="inner"))
        pub.publish_blocking(message)
        received = [sub.receive_blocking(10) for _ in range(2)]
    assert [each.name for each in received] == ["inner", "n"]
    assert received[1].one == "text"


def test_a_list_that_loses_its_elements_while_the_message_is_laid_out() -> None:
    message = E.Every(name="n", many=["a", E.Other()], names=["x", "y"], leaves=[E.Leaf(name="l")])
    meddler = Meddler(b"123")
    message.bytes = meddler
    names, many, leaves = message.names, message.many, message.leaves

    def empty() -> None:
        names.clear()
        many.clear()
        leaves.clear()

    meddler.meddle = empty
    written = decode(E.Every, encode(message))
    assert list(written.names) == list(written.many) == list(written.leaves) == []


def test_tags_are_those_of_the_values_though_the_list_changes() -> None:
    message = E.Every(name="n", many=["a"] * 10)
    many = message.many
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            many[:] = [E.Leaf(name="leaf")] * 10
            many[:] = ["a"] * 10

    thread = threading.Thread(target=swap)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        for _ in range(500):
            try:
                blob = encode(message)
            except VerificationError:
                continue
            assert {str(each) for each in decode(E.Every, blob).many} in ({"a"}, {"Leaf(name='leaf', size=0)"})
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(before)


def test_an_array_that_lost_its_type_is_compared_within_its_bounds() -> None:
    left, right = np.zeros(4), np.zeros(4)
    first, second = E.Every(name="n", doubles=left), E.Every(name="n", doubles=right)
    for each in (first.doubles, second.doubles):
        each.dtype = np.uint8
        each.resize(13, refcheck=False)
    assert first != second


@pytest.mark.skipif(sys.version_info < (3, 12), reason="before CPython 3.12, no Python class exports a buffer")
def test_a_buffer_that_says_something_else_each_time() -> None:
    class Liar:
        asked = 0

        def __buffer__(self, flags: int) -> memoryview:
            self.asked += 1
            return memoryview(np.zeros(6 if self.asked == 1 else 4096, np.int32))

    with pytest.raises(FieldError):
        full_message().wide.grid = Liar()


def test_elements_of_a_struct_that_change_places() -> None:
    wide = full_message().wide
    wide.pairs = [wide.pairs[1], wide.pairs[0]]
    assert [each.a for each in wide.pairs] == [3, 1]
    wide.grid = wide.grid[::-1]
    assert wide.grid.tolist() == [6, 5, 4, 3, 2, 1]


def test_what_is_set_while_a_field_is_read_stays_set() -> None:
    def array(buffer: object) -> object:
        message.x = b"new"
        return memoryview(bytes(buffer))  # type: ignore[call-overload]

    plan = _codec.Plan("T", False, 0, 4, None)
    made: Any = type("T", (Message,), {"__lunar_plan__": plan, "x": _codec.Field(plan, 0)})
    plan.fill(made, (("x", 5, 2, 0, 0, 0, 1, 1, 0, 0, 0, (), 0, (), None, (), None, None, array, "bytes"),))
    message = made(x=b"old")
    assert message.x == b"old"
    assert message.x == b"new"
    message = made()
    assert message.x == b""
    assert message.x == b"new"


def _cyclic_tree() -> Any:
    tree = E.Tree(value=1)
    tree.child = tree
    return tree


def test_a_message_within_itself() -> None:
    tree, other = _cyclic_tree(), _cyclic_tree()
    with pytest.raises(VerificationError, match="deeper than 64"):
        encode(tree)
    with pytest.raises(VerificationError, match="deeper than 64"):
        tree.copy()
    with pytest.raises(RecursionError):
        assert tree == other
    with pytest.raises(RecursionError):
        to_dict(tree)
    assert repr(tree) == "Tree(value=1, child=..., children=[], other=None, others=[])"


def test_a_list_within_itself() -> None:
    tree, other = E.Tree(), E.Tree()
    tree.children.append(tree)
    other.children.append(other)
    with pytest.raises(VerificationError, match="deeper than 64"):
        encode(tree)
    with pytest.raises(RecursionError):
        assert tree == other
    assert "..." in repr(tree)


def test_a_chain_longer_than_any_stack() -> None:
    tree = E.Tree()
    for _ in range(200_000):
        tree = E.Tree(child=tree)
    with pytest.raises(VerificationError):
        encode(tree)
    del tree  # must not recurse as deep


def test_messages_in_a_circle_are_collected() -> None:
    class Marker(bytearray):
        pass

    marker = Marker(b"x")
    watched = weakref.ref(marker)
    tree, message = _cyclic_tree(), E.Every(name="n", bytes=marker, tree=_cyclic_tree())
    message.tree.others = [message.tree]
    marker.holder = message  # type: ignore[attr-defined]
    del tree, message, marker
    gc.collect()
    assert watched() is None


@pytest.mark.parametrize("part", ["message", "elements", "array"])
def test_a_buffer_that_holds_a_message_of_itself_is_collected(part: str) -> None:
    class Buffer(bytearray):
        pass

    buffer = Buffer(encode(full_message()))
    message = decode(E.Every, buffer)
    kept = {"message": message, "elements": message.pairs, "array": message.wide}[part]
    buffer.kept = kept  # type: ignore[attr-defined]
    watched = weakref.ref(buffer)
    del buffer, message, kept
    gc.collect()
    assert watched() is None


def test_classes_that_mention_each_other_are_collected() -> None:
    def of(name: str, target: str) -> TableDefinition:
        return TableDefinition(name, (Field("one", Named(target), 0), Field("many", Vector(Named(target)), 1)))

    schema = Schema({"A": of("A", "B"), "B": of("B", "A")}, "A")
    compiler = Compiler(schema, __name__)
    cls: Any = compiler.class_of("A")
    message = cls(one=compiler.class_of("B")())
    message.many.append(message.one)
    plans = [weakref.ref(each) for each in (cls, compiler.class_of("B"))]
    before = _plans()
    del compiler, cls, message, schema
    gc.collect()
    assert [each() for each in plans] == [None, None]
    assert _plans() == before - 2


def _plans() -> int:
    return sum(isinstance(each, _codec.Plan) for each in gc.get_objects())


def test_a_plan_that_makes_no_sense() -> None:
    def field(**changes: Any) -> tuple[object, ...]:
        values: dict[str, Any] = {
            "name": "x", "kind": 0, "base": 7, "flags": 0, "id": 0, "offset": 0, "size": 8, "align": 8, "length": 0,
            "exactly": 0, "multiple": 0, "shape": (), "default": 0, "absent": 0, "sub": None, "members": (),
            "enum": None, "enum_members": None, "array": None, "expected": "int64",
        }  # fmt: skip
        return tuple({**values, **changes}.values())

    def fill(is_struct: bool, size_bytes: int, changes: dict[str, Any]) -> None:
        plan = _codec.Plan("T", is_struct, size_bytes, 8, None)
        try:
            plan.fill(type("T", (Message,), {"__lunar_plan__": plan}), (field(), field(**changes)))
        except ValueError:
            with pytest.raises(TypeError):
                _codec.view(plan, bytes(64), True)
            raise

    fill(False, 0, {"id": 32764})
    fill(True, 64, {"kind": 5, "length": 7, "exactly": 7, "offset": 8, "array": bytes})
    wrong: list[tuple[bool, int, dict[str, Any]]] = [
        (False, 0, {"id": 32765}),  # its vtable cannot say its own length
        (False, 0, {"size": 4}),
        (False, 0, {"kind": 4, "size": 4, "id": 0}),  # no place for a tag
        (False, 0, {"kind": 3, "size": 4}),  # a table without a plan
        (False, 0, {"kind": 5}),  # nothing makes its arrays
        (False, 0, {"align": 3}),
        (True, 64, {"kind": 5, "length": 8, "exactly": 8, "offset": 8, "array": bytes}),  # longer than its struct
        (True, 64, {"kind": 5, "length": 7, "exactly": 0, "offset": 8, "array": bytes}),
        (True, 64, {"kind": 1, "size": 4}),  # a struct holds no string
        (True, 64, {"offset": 60}),
    ]
    for is_struct, size_bytes, changes in wrong:
        with pytest.raises(ValueError, match="makes no sense"):
            fill(is_struct, size_bytes, changes)
    with pytest.raises(ValueError, match="less than 2 GiB"):
        _codec.Plan("T", True, 2**32 + 8, 8, None)
    for use in (lambda plan: _codec.decoder(plan, True), _codec.encoder):
        with pytest.raises(TypeError):
            use(_codec.Plan("T", False, 0, 4, None))


def test_a_buffer_of_2_gib_is_refused() -> None:
    import mmap

    with mmap.mmap(-1, 2**31) as memory, pytest.raises(VerificationError, match="2147483648 bytes"):
        decode(E.Every, memory)


def test_the_alternatives_none_and_unknown_are_written_again() -> None:
    message = E.Every(name="n", many=["a", None, E.Other()])
    read = decode(E.Every, encode(message))
    assert list(read.many) == ["a", None, E.Other()]
    assert read == message == read.copy()
    assert encode(read) == encode(message) == encode(read.copy())
    assert from_dict(E.Every, to_dict(read)) == message
    with pytest.raises(FieldError):
        E.Every(name="n", names=[None])


def test_a_copy_may_lack_what_its_original_lacks() -> None:
    message = E.Leaf(size=3)
    assert message.copy() == message
    with pytest.raises(FieldError, match="required"):
        encode(message)


def test_a_slice_reads_its_own_elements_alone() -> None:
    read = decode(E.Every, encode(full_message()))
    assert read.names[1:] == ["", "ünï"]
    assert read.names[::-2] == ["ünï", "a"]
    assert read.names[5:] == []
    with pytest.raises(TypeError, match="number or a slice"):
        read.names["x"]


def test_writing_where_it_does_not_fit_writes_nothing() -> None:
    buffer = bytearray(64)
    with pytest.raises(ValueError, match="do not fit"):
        encode_into(full_message(), buffer, 8)
    assert buffer == bytes(64)


def test_flags_that_never_repeat_are_not_remembered_for_ever() -> None:
    """Python's enum keeps every combination that it ever made, which a peer may choose."""
    blob = bytearray(encode(E.Every(name="n", mode=5)))
    at = blob.index(struct.pack("<I", 5))
    for value in range(1 << 16, (1 << 16) + 20_000):
        struct.pack_into("<I", blob, at, value)
        mode = decode(E.Every, blob, verify=False).mode
        assert mode == value
        assert (E.Mode.Fast in mode) == bool(value & 1)
    assert len(E.Mode._value2member_map_) < 5000
    assert E.Mode(5) is E.Mode.Fast | E.Mode.Safe
