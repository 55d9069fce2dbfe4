"""Classes of schemas, one mentioned by the other."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lunar.messages import decode, encode
from lunar.messages.plan import Compiler
from lunar.messages.schema import Field, Named, Scalar, Schema, TableDefinition, Vector


def _chain(length: int) -> Schema:
    """Each table holds the next one, and the last one the first."""
    names = [f"T{i}" for i in range(length)]
    after = [*names[1:], names[0]]
    return Schema(
        {
            name: TableDefinition(name, (Field("next", Named(following), 0), Field("number", Scalar.INT32, 1)))
            for name, following in zip(names, after, strict=True)
        },
        "T0",
    )


def test_as_many_tables_as_a_schema_may_have_in_a_row() -> None:
    compiler = Compiler(_chain(1024), __name__)
    first: Any = compiler.class_of("T0")
    second: Any = compiler.class_of("T1")
    message = first(next=second(number=3))
    assert decode(first, encode(message)) == message
    last: Any = compiler.class_of("T1023")
    assert encode(last(next=message))


def test_what_could_not_be_made_is_not_there() -> None:
    table = TableDefinition("A", (Field("b", Vector(Named("B")), 0),))
    wrong = TableDefinition("B", (Field("c", Named("Missing"), 0),))
    compiler = Compiler(Schema({"A": table, "B": wrong}, "A"), __name__)
    for _ in range(2):
        for name in ("A", "B"):
            with pytest.raises(KeyError, match="Missing"):
                compiler.class_of(name)
    assert compiler.given == {}


def test_threads_see_whole_classes_alone() -> None:
    def use(compiler: Compiler, start: threading.Barrier, first: int) -> None:
        start.wait()
        for i in range(first, 200, 4):
            cls: Any = compiler.class_of(f"T{i}")
            assert cls(number=i).number == i

    with ThreadPoolExecutor(4) as threads:
        for _ in range(10):
            compiler, start = Compiler(_chain(200), __name__), threading.Barrier(4)
            for done in [threads.submit(use, compiler, start, first) for first in range(4)]:
                done.result()
