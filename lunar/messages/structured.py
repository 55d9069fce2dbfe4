"""Messages of a class that was made from a schema."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from lunar._native import _codec
from lunar.messages.identity import type_hash
from lunar.messages.schema import Field, Named, Schema, StructDefinition, TableDefinition

__all__ = ["StructuredType", "boxed", "root_schema", "structured_type"]


class StructuredType:
    """Messages of a class that was made from a schema.

    Args:
        cls: The message class.
    """

    def __init__(self, cls: type[_codec.Message]) -> None:
        self.plan: Final[_codec.Plan] = cls.__lunar_plan__  # type: ignore[attr-defined]
        schema, root = root_schema(cls)
        self.cls: Final = cls
        self.name: Final = self.plan.name
        self.hash: Final = type_hash(schema, root)
        self.described: Final = (schema, root)

    def encoder(self) -> object:
        """A capsule: the writer has the message written into its own memory."""
        return _codec.encoder(self.plan)

    def decoder(self, *, verify: bool) -> Callable[[memoryview], _codec.Message]:
        """A view on the sample."""
        return _codec.decoder(self.plan, verify)


def root_schema(cls: type) -> tuple[Schema, str]:
    """The schema of a class's messages and the name of their root table.

    A FlatBuffer's root must be a table, so a struct `X` alone travels in a table `XMessage` whose one field it is.
    """
    return boxed(*cls.__lunar_schema__)  # type: ignore[attr-defined]


def boxed(schema: Schema, name: str) -> tuple[Schema, str]:
    """As `root_schema`, of a definition."""
    if not isinstance(schema.definitions[name], StructDefinition):
        return schema, name
    box = f"{name}Message"
    field = Field("value", Named(name), 0, required=True)
    return Schema({**schema.closure(name), box: TableDefinition(box, (field,))}), box


@cache
def structured_type(cls: type[_codec.Message]) -> StructuredType:
    """The message type of a class, always the same one."""
    return StructuredType(cls)
