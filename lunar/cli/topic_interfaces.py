"""The message types of a topic as `lunar topic info` shows them: identity, and fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lunar.cli.topic_types import is_raw, read_schema
from lunar.errors import LunarError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lunar.cli.graph_view import TopicView
    from lunar.graph.descriptions import EndpointInfo
    from lunar.messages.schema import Field, Schema, SchemaType

__all__ = ["describe_interfaces", "field_lines", "interface_lines"]

_MAX_DEPTH = 8
_MAX_LINES = 1000
"""A schema comes from anybody: few definitions can hold each other in more ways than can be shown."""


def describe_interfaces(topic: TopicView) -> list[dict[str, object]]:
    """Describes the types in use, JSON-ready; bytes are none.

    Returns:
        Of each its name and hash, and its fields' names and types; null where its schema is not known.
    """
    return [
        {"name": endpoint.type_name, "hash": endpoint.type_hash, "fields": _described_fields(topic, endpoint)}
        for endpoint in _one_of_each_type(topic)
    ]


def interface_lines(topic: TopicView, *, with_fields: bool) -> Iterator[str]:
    """Describes the types in use for people: a line each, and below it its fields if wanted."""
    for endpoint in _one_of_each_type(topic):
        yield f"type {endpoint.type_name}, hash {endpoint.type_hash}"
        if with_fields:
            try:
                schema, name = read_schema(endpoint, topic.schemas)
            except LunarError as error:
                yield f"  ({error})"
                continue
            yield from field_lines(schema, name)


def field_lines(schema: Schema, name: str) -> list[str]:
    """Lists the fields of a table or struct with their types, those of what they hold indented below them."""
    lines: list[str] = []
    _add_fields(lines, schema, name, (name,))
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES:] = ["  ..."]
    return lines


def _add_fields(lines: list[str], schema: Schema, name: str, inside: tuple[str, ...]) -> None:
    from lunar.cli.message_fields import shown_fields
    from lunar.messages.schema import Array, Named, Vector

    for each in shown_fields(schema, name):
        if len(lines) > _MAX_LINES:
            return
        lines.append(f"{'  ' * len(inside)}{each.name}: {_field_text(schema, each)}")
        element = each.type.element if isinstance(each.type, Vector | Array) else each.type
        if isinstance(element, Named) and element.name not in inside and len(inside) < _MAX_DEPTH:
            _add_fields(lines, schema, element.name, (*inside, element.name))


def _field_text(schema: Schema, each: Field) -> str:
    from lunar.messages.schema import EnumDefinition, Named, UnionDefinition

    text = _type_text(each.type)
    if each.shape:
        text += f" of shape {' x '.join('any' if length is None else str(length) for length in each.shape)}"
    definition = schema.definitions[each.type.name] if isinstance(each.type, Named) else None
    if isinstance(definition, EnumDefinition):
        text += f" ({', '.join(name for name, _ in definition.values)})"
    elif isinstance(definition, UnionDefinition):
        text += f" ({', '.join(member.name for member in definition.members)})"
    words = [word for word in ("optional", "required", "key") if getattr(each, word)]
    return ", ".join([text, *words])


def _type_text(type_: SchemaType) -> str:
    from lunar.messages.identity import type_text

    return type_text(type_).replace("[.", "[").removeprefix(".")


def _described_fields(topic: TopicView, endpoint: EndpointInfo) -> list[dict[str, str]] | None:
    from lunar.cli.message_fields import shown_fields

    try:
        schema, name = read_schema(endpoint, topic.schemas)
    except LunarError:
        return None
    return [{"name": each.name, "type": _type_text(each.type)} for each in shown_fields(schema, name)]


def _one_of_each_type(topic: TopicView) -> list[EndpointInfo]:
    return [*{endpoint.type_hash: endpoint for endpoint in topic.endpoints if not is_raw(endpoint)}.values()]
