"""Any message of any schema: what we write the official runtime reads, what it writes we read, and nothing is lost."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lunar.messages import Message, decode, encode, encode_into
from lunar.messages.plain import from_dict, to_dict
from lunar.messages.plan import Compiler
from lunar.messages.schema import Schema
from tests.unit.messages.message_strategies import messages, needs_itself
from tests.unit.messages.official import official_bytes, official_tree, tree_of
from tests.unit.messages.schema_strategies import ROOT, schemas

pytestmark = pytest.mark.hostile


@st.composite
def any_message(draw: st.DrawFn, *, finite: bool = False) -> tuple[Schema, Message]:
    schema = draw(schemas())
    assume(not any(needs_itself(schema, name) for name in schema.definitions))
    compiler = Compiler(schema, __name__)
    return schema, draw(messages(compiler, ROOT, finite=finite))


@pytest.fixture
def thorough(rounds: Callable[[int, int], int]) -> settings:
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    return settings(max_examples=rounds(150, 3000), deadline=None, suppress_health_check=slow, print_blob=True)


def test_the_official_runtime_reads_what_we_write(thorough: settings) -> None:
    @thorough
    @given(any_message())
    def check(drawn: tuple[Schema, Message]) -> None:
        schema, message = drawn
        blob = encode(message)
        assert repr(official_tree(schema, ROOT, blob)) == repr(tree_of(schema, ROOT, message))

    check()


def test_we_read_what_the_official_builder_writes(thorough: settings) -> None:
    @thorough
    @given(any_message())
    def check(drawn: tuple[Schema, Message]) -> None:
        schema, message = drawn
        tree = tree_of(schema, ROOT, message)
        blob = official_bytes(schema, ROOT, tree)
        read = repr(tree_of(schema, ROOT, decode(type(message), blob)))
        assert read == repr(official_tree(schema, ROOT, blob))
        # That builder leaves out what equals its default, and 0.0 equals -0.0.
        assert read.replace("-0.0", "0.0") == repr(tree).replace("-0.0", "0.0")

    check()


def test_what_the_official_builder_writes_we_write_anew(thorough: settings) -> None:
    @thorough
    @given(any_message(finite=True))
    def check(drawn: tuple[Schema, Message]) -> None:
        schema, message = drawn
        received = decode(type(message), official_bytes(schema, ROOT, tree_of(schema, ROOT, message)))
        blob = encode(received)
        again = decode(type(message), blob, verify=True)
        assert repr(again) == repr(received)  # a NaN by default is no equal of itself
        assert encode(again) == blob
        assert repr(received.copy()) == repr(received)

    check()


def _alike(one: Message, other: Message) -> bool:
    """Equal; a NaN, which may come from a default, is no equal of itself."""
    return repr(one) == repr(other) and (one == other or "nan" in repr(one))


def test_what_we_write_we_read(thorough: settings) -> None:
    @thorough
    @given(any_message(finite=True))
    def check(drawn: tuple[Schema, Message]) -> None:
        _, message = drawn
        blob = encode(message)
        read = decode(type(message), blob)
        assert _alike(read, message)
        assert encode(read) == blob
        copy = read.copy()
        assert _alike(copy, message)
        assert encode(copy) == blob
        assert _alike(from_dict(type(message), to_dict(read)), message)

    check()


def test_it_is_written_where_it_should_be(thorough: settings) -> None:
    @settings(thorough, max_examples=40)
    @given(any_message(finite=True), st.integers(0, 3).map(lambda number: 16 * number))
    def check(drawn: tuple[Schema, Message], offset: int) -> None:
        _, message = drawn
        blob = encode(message)
        buffer = bytearray(b"\xa5" * (offset + len(blob) + 5))
        assert encode_into(message, buffer, offset) == len(blob)
        assert bytes(buffer[offset : offset + len(blob)]) == blob
        assert bytes(buffer[:offset]) == b"\xa5" * offset
        assert bytes(buffer[offset + len(blob) :]) == b"\xa5" * 5
        with pytest.raises(ValueError, match="do not fit"):
            encode_into(message, bytearray(len(blob) - 1))

    check()
