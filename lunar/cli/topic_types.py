"""The type of a topic's messages, made into a class from the schema that its endpoints have told.

A type that this process has never seen is printed and published like any other. What a peer tells is not trusted: a
schema is read with bounds and must have the hash under which it was told.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lunar.errors import LunarError
from lunar.messages.types import RAW_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lunar.cli.graph_view import TopicView
    from lunar.graph.descriptions import EndpointInfo
    from lunar.messages.schema import Schema

__all__ = ["TopicType", "is_raw", "published_type", "read_schema", "subscribed_types", "type_of"]


@dataclass(frozen=True)
class TopicType:
    """A type of a topic's messages.

    Attributes:
        name: Its full name.
        type_hash: Its identity.
        message: `bytes`, or a message class.
    """

    name: str
    type_hash: str
    message: type

    @property
    def is_raw(self) -> bool:
        """Whether messages are bytes that nothing more is known of."""
        return self.message is bytes


RAW = TopicType(RAW_BYTES.name, RAW_BYTES.hash, bytes)


def is_raw(endpoint: EndpointInfo) -> bool:
    """Whether an endpoint's messages are bytes that nothing more is known of."""
    return endpoint.type_hash == RAW_BYTES.hash


def published_type(topic: TopicView) -> TopicType:
    """The type that is published on a topic; where there are several, that of most publishers.

    Args:
        topic: A topic with a publisher.

    Raises:
        LunarError: Its schema is not known, or cannot be read.
    """
    counts = Counter(publisher.type_hash for publisher in topic.publishers)
    (chosen, _), *_ = counts.most_common(1)
    return type_of(next(each for each in topic.publishers if each.type_hash == chosen), topic.schemas)


def subscribed_types(topic: TopicView) -> list[TopicType]:
    """The types that a new publisher on a topic may have: those of its subscriptions, or else of its publishers.

    Returns:
        One of each name, that of most endpoints; none if nobody is there.

    Raises:
        LunarError: A schema is not known, or cannot be read.
    """
    return [type_of(each, topic.schemas) for each in _one_of_each_name(topic.subscriptions or topic.publishers)]


def _one_of_each_name(endpoints: Sequence[EndpointInfo]) -> list[EndpointInfo]:
    counts = Counter(endpoint.type_hash for endpoint in endpoints)
    commonest = sorted(endpoints, key=lambda endpoint: -counts[endpoint.type_hash])
    by_name: dict[str, EndpointInfo] = {}
    for endpoint in commonest:
        by_name.setdefault(endpoint.type_name, endpoint)
    return list(by_name.values())


def type_of(endpoint: EndpointInfo, schemas: Mapping[str, str]) -> TopicType:
    """Makes an endpoint's type.

    Args:
        endpoint: The endpoint.
        schemas: Schemas as the peers have told them, by hash.

    Raises:
        LunarError: Its schema is not known, or cannot be read.
    """
    if is_raw(endpoint):
        return RAW
    from lunar.messages.plan import Compiler

    schema, name = read_schema(endpoint, schemas)
    return TopicType(name, endpoint.type_hash, Compiler(schema, __name__).class_of(name))


def read_schema(endpoint: EndpointInfo, schemas: Mapping[str, str]) -> tuple[Schema, str]:
    """Reads the schema of an endpoint's type.

    Returns:
        The schema, and the full name of the message in it: of a struct, the struct and not the table around it.

    Raises:
        LunarError: It is not known, or cannot be read.
    """
    text = schemas.get(endpoint.type_hash)
    if not text:
        raise LunarError(f"the {endpoint} has not told the schema of its type {endpoint.type_name}")
    from lunar.graph.schemas import parse
    from lunar.messages.schema import StructDefinition

    try:
        schema, root = parse(text, endpoint.type_hash)
    except LunarError as error:
        raise LunarError(f"the {endpoint} has told no schema of {endpoint.type_name}: {error}") from error
    # A struct alone travels in a table of its own, see `lunar.messages.structured.root_schema`.
    inner = schema.definitions.get(endpoint.type_name)
    boxed = isinstance(inner, StructDefinition) and root == f"{endpoint.type_name}Message"
    return schema, endpoint.type_name if boxed else root
