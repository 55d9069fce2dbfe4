"""Message types by the names that users give them: of the standard set, of a `.fbs` file, or of the graph.

geometry_msgs.Twist, geometry_msgs/msg/Twist, Twist     the standard set, or else a type that somebody on the bus has
robot.fbs:robot.State, robot.fbs:State, robot.fbs       a schema file; without a name its root_type, or its only type
/odom                                                   what is published, or else subscribed, on that topic
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lunar.cli.topic_types import is_raw, read_schema
from lunar.errors import LunarError, TypeMismatch
from lunar.messages.plan import Compiler
from lunar.messages.schema import (
    EnumDefinition,
    Schema,
    StructDefinition,
    TableDefinition,
    UnionDefinition,
    mentions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lunar.graph.descriptions import EndpointInfo, GraphSnapshot

__all__ = ["FoundType", "UnknownType", "file_types", "find_type", "graph_types", "in_file", "standard_types"]

_SUFFIX = ".fbs"
_KINDS = {
    TableDefinition: "table",
    StructDefinition: "struct",
    EnumDefinition: "enum",
    UnionDefinition: "union",
}


class UnknownType(LunarError):
    """There is no type of that name, or more than one."""


@dataclass(frozen=True)
class FoundType:
    """A type, and where it was found.

    Attributes:
        name: Its full name.
        schema: Where it is defined, with all that it needs.
        origin: `lunar.msgs`, the file, or the topics where it is used.
    """

    name: str
    schema: Schema
    origin: str

    @property
    def kind(self) -> str:
        """What it is in FlatBuffers' words: table, struct, enum or union."""
        return _KINDS[type(self.schema.definitions[self.name])]

    @property
    def is_message(self) -> bool:
        """Whether it can be published."""
        return self.kind in ("table", "struct")

    def described(self) -> tuple[Schema, str]:
        """The schema of its messages and the name of their root table.

        Raises:
            TypeMismatch: It is no message.
        """
        from lunar.messages.structured import boxed

        self._require_message()
        return boxed(self.schema, self.name)

    def type_hash(self) -> str:
        """Its identity among peers; empty if it is no message."""
        from lunar.messages.identity import type_hash

        return type_hash(*self.described()) if self.is_message else ""

    def message_class(self) -> type:
        """Its message class.

        Raises:
            TypeMismatch: It is no message.
        """
        self._require_message()
        return Compiler(self.schema, __name__).class_of(self.name)

    def _require_message(self) -> None:
        if not self.is_message:
            raise TypeMismatch("choosing a message type", f"{self.name}, of kind {self.kind}", "a table or struct")


def find_type(text: str) -> FoundType:
    """Finds a type by what the user wrote.

    Raises:
        UnknownType: There is none of that name, or more than one; or the file cannot be read.
        SchemaError: The file is in error: flatc's words, with file and line.
        LunarError: The type's schema is not known, or there is no flatc.
    """
    path, separator, name = text.rpartition(_SUFFIX + ":")
    if separator:
        return in_file(path + _SUFFIX, name)
    if text.endswith(_SUFFIX):
        (found, *others) = file_types(text)
        if others:
            names = ", ".join(each.name for each in (found, *others))
            raise UnknownType(f"{text} defines several types: say which, as in {text}:{found.name}; it has {names}")
        return found
    if text.startswith("/"):
        return _on_topic(text)
    wanted = text.replace("/msg/", ".").replace("/", ".")
    standard = standard_types()
    if wanted in standard:
        return standard[wanted]
    seen = graph_types(_look())
    return _by_name(wanted, standard, seen)


def _by_name(wanted: str, standard: Mapping[str, FoundType], seen: list[FoundType]) -> FoundType:
    exact = [each for each in seen if each.name == wanted]
    short = [each for each in standard.values() if each.name.rpartition(".")[2] == wanted]
    short = short or [each for each in seen if each.name.rpartition(".")[2] == wanted]
    found = exact or short
    if len(found) > 1:
        choices = "; ".join(f"{each.name} of {each.origin}" for each in found)
        raise UnknownType(f"{wanted} may be any of these: {choices}")
    if not found:
        known = [*standard, *(each.name for each in seen)]
        raise UnknownType(f"no type {wanted} in lunar.msgs or on the graph{_similar(wanted, known)}")
    return found[0]


def _similar(wanted: str, known: Iterable[str]) -> str:
    by_last = {each.rpartition(".")[2].lower(): each for each in known}
    by_last.update({each.lower(): each for each in by_last.values()})
    near = difflib.get_close_matches(wanted.lower(), by_last, n=3)
    names = dict.fromkeys(by_last[each] for each in near)
    return f"; did you mean {' or '.join(names)}?" if names else ""


# ---- the standard set ------------------------------------------------------------------------------------------------


def standard_types() -> dict[str, FoundType]:
    """The definitions of `lunar.msgs`, by full name."""
    from lunar.msgs import Time

    schema: Schema = Time.__lunar_schema__[0]  # type: ignore[attr-defined]
    return {name: FoundType(name, schema, "lunar.msgs") for name in schema.definitions}


# ---- files -----------------------------------------------------------------------------------------------------------


def file_types(path: str) -> list[FoundType]:
    """The types that a file is about: its root_type, else those that are no part of another.

    Raises:
        SchemaError: The file is in error, or defines nothing.
        LunarError: There is no flatc.
    """
    schema = _load(path)
    if schema.root is not None:
        return [FoundType(schema.root, schema, path)]
    parts = {part for each in schema.definitions.values() for part in mentions(each) if part != each.name}
    heads = [name for name in schema.definitions if name not in parts] or list(schema.definitions)
    if not heads:
        raise UnknownType(f"{path} defines no types")
    return [FoundType(name, schema, path) for name in heads]


def in_file(path: str, name: str) -> FoundType:
    """A type that a file defines, by its full or last name.

    Raises:
        UnknownType: It does not, or more than one.
        SchemaError: The file is in error.
        LunarError: There is no flatc.
    """
    schema = _load(path)
    if name in schema.definitions:
        return FoundType(name, schema, path)
    found = [each for each in schema.definitions if each.rpartition(".")[2] == name]
    if len(found) != 1:
        choices = " or ".join(found)
        some = f"{name} may be {choices}" if found else f"it has {', '.join(schema.definitions) or 'nothing'}"
        raise UnknownType(f"{path} defines no type {name}: {some}")
    return FoundType(found[0], schema, path)


def _load(path: str) -> Schema:
    from lunar.messages.loading import load

    try:
        return load(Path(path)).schema
    except OSError as error:
        raise UnknownType(f"{path} cannot be read: {error.strerror}") from error


# ---- the graph -------------------------------------------------------------------------------------------------------


def graph_types(snapshot: GraphSnapshot) -> list[FoundType]:
    """The types of the endpoints whose schema is known and can be read, by name; versions of one stand beside it."""
    topics: dict[tuple[str, str], dict[str, None]] = {}
    samples: dict[tuple[str, str], EndpointInfo] = {}
    for endpoint in snapshot.endpoints:
        key = (endpoint.type_name, endpoint.type_hash)
        topics.setdefault(key, {})[endpoint.topic] = None
        samples[key] = endpoint
    found = []
    for key in sorted(topics):
        if is_raw(samples[key]):
            continue
        try:
            schema, name = read_schema(samples[key], snapshot.schemas)
        except LunarError:  # who uses the topic is told
            continue
        found.append(FoundType(name, schema, ", ".join(sorted(topics[key]))))
    return found


def _on_topic(name: str) -> FoundType:
    from lunar.cli.graph_view import absolute_name
    from lunar.cli.snapshots import look_at_topic

    topic = look_at_topic(absolute_name(name))
    endpoints = topic.publishers or topic.subscriptions
    hashes = {endpoint.type_hash: endpoint for endpoint in endpoints}
    if len(hashes) != 1:
        names = ", ".join(f"{each.type_name} ({each.type_hash[:8]})" for each in hashes.values())
        reason = f"there are several: {names}" if names else "nobody publishes or subscribes it"
        raise UnknownType(f"no one type on {topic.name}: {reason}")
    (endpoint,) = hashes.values()
    if is_raw(endpoint):
        raise UnknownType(f"messages on {topic.name} are bytes, which have no schema")
    schema, type_name = read_schema(endpoint, topic.schemas)
    return FoundType(type_name, schema, topic.name)


def _look() -> GraphSnapshot:
    from lunar.cli.snapshots import look_at_graph

    return look_at_graph(None)
