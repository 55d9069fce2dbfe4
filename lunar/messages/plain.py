"""Messages as plain dicts and JSON, in the form that `flatc --json --defaults-json` prints.

Absent fields are left out. An enum is its name (flags: names with blanks between), or a number where it has none. Of a
union, the field with `_type` behind its name says which alternative it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import IntFlag
from typing import Final, TypeAlias, TypeVar, cast

from lunar._native import _codec
from lunar.errors import FieldError, TypeMismatch
from lunar.messages.schema import (
    Array,
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

__all__ = ["Plain", "from_dict", "from_json", "to_dict", "to_json"]

Plain: TypeAlias = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
M = TypeVar("M", bound=_codec.Message)

_TAG: Final = "_type"
_ABSENT: Final = "NONE"  # an alternative of a newer schema, as an element of a sequence


def to_dict(message: _codec.Message) -> dict[str, Plain]:
    """Returns a message's fields as plain Python values, ready for JSON.

    Raises:
        VerificationError: It lies in a buffer that is wrong.
        TypeMismatch: It is no message.
    """
    message = _codec.detached(message)  # a buffer's tables may share what they hold: its copy has a bounded size
    plain: dict[str, Plain] = {}
    for each in _fields(type(message)):
        value = getattr(message, each.name)
        if value is None:
            continue
        union = _union(_schema(type(message)), each.type)
        if union is not None:
            plain[each.name + _TAG] = _tags(union, each, value)
        plain[each.name] = _to_plain(value)
    return plain


def to_json(message: _codec.Message, *, indent: int | None = None) -> str:
    """Returns a message as JSON; what is not a number appears as NaN or Infinity, which flatc reads as well.

    Raises:
        VerificationError: It lies in a buffer that is wrong.
        TypeMismatch: It is no message.
    """
    return json.dumps(to_dict(message), indent=indent, ensure_ascii=False)


def from_dict(cls: type[M], plain: Mapping[str, Plain]) -> M:
    """Makes a message from what `to_dict` returns; enums may also be numbers.

    Raises:
        FieldError: A field is not known, or cannot hold what it is given.
        TypeMismatch: `cls` is no message class.
    """
    schema, classes = _schema(cls), cast("Mapping[str, type]", cls.__lunar_classes__)  # type: ignore[attr-defined]
    known = {each.name: each for each in _fields(cls)}
    values: dict[str, object] = {}
    for name, value in plain.items():
        each = known.get(name)
        if each is None:
            owner = known.get(name.removesuffix(_TAG))
            if owner is not None and _union(schema, owner.type) is not None:
                continue  # looked at with the value
            values[name] = value  # the constructor says what is wrong with it
        elif value is not None:
            tag = None if _union(schema, each.type) is None else plain.get(name + _TAG)
            values[name] = _Reading(schema, classes, cls.__lunar_plan__.name, each).value(each.type, value, tag)  # type: ignore[attr-defined]
    return cls(**values)


def from_json(cls: type[M], text: str | bytes) -> M:
    """Makes a message from JSON.

    Raises:
        json.JSONDecodeError: It is not JSON.
        FieldError: A field is not known, or cannot hold what it is given.
        TypeMismatch: `cls` is no message class.
    """
    document = json.loads(text)
    if not isinstance(document, dict):
        raise FieldError(cls.__lunar_plan__.name, "(message)", "a JSON object", document)  # type: ignore[attr-defined]
    return from_dict(cls, document)


def _schema(cls: type) -> Schema:
    known: tuple[Schema, str] | None = getattr(cls, "__lunar_schema__", None)
    if known is None:
        raise TypeMismatch("reading or writing plain values", repr(cls), "a message class")
    return known[0]


def _fields(cls: type) -> Sequence[Field]:
    definition = _schema(cls).definitions[cls.__lunar_schema__[1]]  # type: ignore[attr-defined]
    if not isinstance(definition, TableDefinition | StructDefinition):
        return ()
    return [each for each in definition.fields if not each.deprecated]


def _union(schema: Schema, type_: SchemaType) -> UnionDefinition | None:
    element = type_.element if isinstance(type_, Vector | Array) else type_
    definition = schema.definitions[element.name] if isinstance(element, Named) else None
    return definition if isinstance(definition, UnionDefinition) else None


def _to_plain(value: object) -> Plain:
    if isinstance(value, IntFlag):
        names = [flag.name or "" for flag in type(value) if flag in value]
        return " ".join(names) if value and sum(flag for flag in type(value) if flag in value) == value else int(value)
    name = getattr(value, "name", None)
    if isinstance(value, int) and isinstance(name, str):
        return name
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, _codec.Message):
        return to_dict(value)
    if isinstance(value, memoryview):
        return cast("Plain", _flat(value.tolist()))
    if hasattr(value, "tolist"):  # a NumPy array
        return cast("Plain", value.reshape(-1).tolist() if hasattr(value, "reshape") else value.tolist())
    return [_to_plain(each) for each in cast("Sequence[object]", value)]


def _flat(nested: Sequence[object]) -> list[object]:
    """Elements in a row, whatever the axes."""
    if nested and isinstance(nested[0], list):
        return [element for row in cast("Sequence[list[object]]", nested) for element in _flat(row)]
    return list(nested)


def _tags(union: UnionDefinition, each: Field, value: object) -> Plain:
    if isinstance(each.type, Vector):
        return [_tag(union, element) for element in cast("Sequence[object]", value)]
    return _tag(union, value)


def _tag(union: UnionDefinition, value: object) -> str:
    for member in union.members:
        if isinstance(member.type, String):
            if isinstance(value, str):
                return member.name
        elif isinstance(value, _codec.Message) and type(value).__lunar_plan__.name == member.type.name:  # type: ignore[attr-defined]
            return member.name
    return _ABSENT


class _Reading:
    """Reads one field's plain value."""

    def __init__(self, schema: Schema, classes: Mapping[str, type], message: str, each: Field) -> None:
        self._schema = schema
        self._classes = classes
        self._message = message
        self._field = each

    def _refuse(self, expected: str, got: object) -> FieldError:
        return FieldError(self._message, self._field.name, expected, got)

    def value(self, type_: SchemaType, plain: Plain, tag: Plain) -> object:
        if isinstance(type_, Vector | Array):
            if isinstance(type_.element, Scalar):
                return plain
            if not isinstance(plain, list):
                raise self._refuse("a list", plain)
            tags = tag if isinstance(tag, list) else [None] * len(plain)
            if len(tags) != len(plain):
                raise self._refuse(f"as many alternatives in {self._field.name}{_TAG} as values", tag)
            return [self.value(type_.element, element, each) for element, each in zip(plain, tags, strict=True)]
        if not isinstance(type_, Named):
            return plain
        definition = self._schema.definitions[type_.name]
        if isinstance(definition, EnumDefinition):
            return self._enum(definition, plain)
        if isinstance(definition, UnionDefinition):
            if plain is None and tag == "NONE":  # an element of a vector
                return None
            return self._alternative(definition, plain, tag)
        if not isinstance(plain, dict):
            raise self._refuse(f"an object with the fields of {type_.name}", plain)
        return from_dict(self._classes[type_.name], plain)

    def _enum(self, definition: EnumDefinition, plain: Plain) -> object:
        if not isinstance(plain, str):
            return plain
        numbers = dict(definition.values)
        names = plain.split() if definition.bit_flags else [plain]
        unknown = [name for name in names if name not in numbers]
        if unknown or not names:
            raise self._refuse(f"one of {', '.join(numbers)}", plain)
        return sum(numbers[name] for name in set(names))

    def _alternative(self, union: UnionDefinition, plain: Plain, tag: Plain) -> object:
        if plain is None and tag == _ABSENT:
            return None
        members: dict[object, UnionMember] = {member.name: member for member in union.members}
        members.update({member.tag: member for member in union.members})
        member = members.get(tag) if isinstance(tag, str | int) else None
        if member is None:
            names = ", ".join(each.name for each in union.members)
            raise self._refuse(f"its alternative in {self._field.name}{_TAG}: one of {names}", tag)
        return self.value(member.type, plain, None)
