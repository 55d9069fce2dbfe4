"""The messages of a class that `--message` names, with recognisable values in every field. No process, no bus."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from lunar.errors import LunarError
from lunar.messages import Message, encode, from_dict, load
from lunar.messages.plain import Plain
from lunar.messages.schema import (
    Array,
    EnumDefinition,
    Field,
    Named,
    Scalar,
    Schema,
    SchemaType,
    String,
    UnionDefinition,
    Vector,
)

ELEMENTS: Final = 16
"""Of a sequence that may have any length."""

# What a message of the real thing has; all other sequences have ELEMENTS elements, or one of anything but numbers.
_SIZES: Final[Mapping[str, Mapping[str, Plain]]] = {
    "sensor_msgs.Image": {"height": 1080, "width": 1920, "encoding": "rgb8", "step": 5760, "is_bigendian": False},
    "sensor_msgs.PointCloud2": {"height": 1, "width": 65_536, "point_step": 16, "row_step": 16 * 65_536},
}
_LENGTHS: Final = {
    "sensor_msgs.Image.data": 1080 * 1920 * 3,
    "sensor_msgs.CompressedImage.data": 200_000,
    "sensor_msgs.PointCloud2.data": 16 * 65_536,
    "sensor_msgs.LaserScan.ranges": 1080,
    "sensor_msgs.LaserScan.intensities": 1080,
}
_DEEPEST: Final = 4
"""Tables within tables that are filled; a table may contain itself."""


class UnknownMessage(ValueError):
    """No message class is called so; says what there is."""


def message_class(name: str) -> type[Message]:
    """Find the class that the command line names.

    Args:
        name: a class of `lunar.msgs`, "Imu"; or a file and a class of it, "robot.fbs:State".

    Raises:
        UnknownMessage: there is none, or the schema is in error.
    """
    path, colon, last = name.rpartition(":")
    try:
        if colon:
            interfaces = load(Path(path))
            found = interfaces[last] if last in list(interfaces) else getattr(interfaces, last)
        else:
            from lunar import msgs

            found = getattr(msgs, last)
    except (AttributeError, LunarError, OSError) as error:
        raise UnknownMessage(str(error)) from error
    if not issubclass(found, Message):
        raise UnknownMessage(f"{last} is no message but an enum")
    return found


def sample_of(cls: type[Message]) -> Message:
    """A message with a value in every field that is not the field's default, where the type leaves a choice."""
    schema, name = cast("tuple[Schema, str]", cls.__lunar_schema__)  # type: ignore[attr-defined]
    return from_dict(cls, _Values(schema).fields(name, 0))


class _Values:
    """Makes values by type, as `from_dict` takes them."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def fields(self, name: str, depth: int) -> dict[str, Plain]:
        definition = self._schema.definitions[name]
        values: dict[str, Plain] = {}
        if isinstance(definition, EnumDefinition | UnionDefinition):
            return values
        for number, each in enumerate(definition.fields, 1):
            if not each.deprecated and (depth < _DEEPEST or each.required or not self._leads_on(each.type)):
                values |= self._field(name, each, number, depth)
        return {**values, **_SIZES.get(name, {})}

    def _leads_on(self, type_: SchemaType) -> bool:
        """Whether a value may contain further tables."""
        element = type_.element if isinstance(type_, Vector | Array) else type_
        return isinstance(element, Named) and not isinstance(self._schema.definitions[element.name], EnumDefinition)

    def _field(self, owner: str, each: Field, number: int, depth: int) -> dict[str, Plain]:
        element = each.type.element if isinstance(each.type, Vector | Array) else each.type
        definition = self._schema.definitions[element.name] if isinstance(element, Named) else None
        if isinstance(definition, UnionDefinition):
            return self._union(each, definition, depth)
        if not isinstance(each.type, Vector | Array):
            return {each.name: self._value(element, number, depth)}
        return {each.name: self._sequence(f"{owner}.{each.name}", each, number, depth)}

    def _union(self, each: Field, union: UnionDefinition, depth: int) -> dict[str, Plain]:
        if not union.members:
            return {}
        member = union.members[0]
        tag: Plain = member.name
        value = self._value(member.type, 1, depth)
        in_list = isinstance(each.type, Vector)
        return {f"{each.name}_type": [tag] if in_list else tag, each.name: [value] if in_list else value}

    def _sequence(self, path: str, each: Field, number: int, depth: int) -> Plain:
        if not isinstance(each.type, Vector | Array):
            raise TypeError(path)
        element = each.type.element
        if isinstance(each.type, Array):
            count = each.type.length
        elif isinstance(element, Scalar):
            count = _LENGTHS.get(path) or _count(each.shape)
        else:
            count = 1
        if element is Scalar.UINT8:
            return cast("Plain", (bytes(range(256)) * (count // 256 + 1))[:count])
        return [self._value(element, number + index, depth) for index in range(count)]

    def _value(self, type_: Scalar | String | Named, number: int, depth: int) -> Plain:
        if isinstance(type_, String):
            return f"text {number}"
        if isinstance(type_, Scalar):
            return _scalar(type_, number)
        definition = self._schema.definitions[type_.name]
        if isinstance(definition, EnumDefinition):
            return definition.values[-1][1] if definition.values else 0
        return self.fields(type_.name, depth + 1)


def _scalar(scalar: Scalar, number: int) -> Plain:
    if scalar is Scalar.BOOL:
        return True
    return number + 0.25 if scalar.is_float else number % 100 + 1


def _count(shape: tuple[int | None, ...]) -> int:
    if not shape:
        return ELEMENTS
    count = 1
    for axis in shape:
        count *= axis or ELEMENTS
    return count


def encoded_bytes(name: str) -> int:
    """Size of the message that is sent for a name, in bytes.

    Raises:
        UnknownMessage: no class is called so.
    """
    return len(encode(sample_of(message_class(name))))


def loan_fields(message: Message) -> dict[str, object]:
    """What a publisher's ``loan`` takes for such a message: of a vector of numbers its length, so nothing is copied."""
    values = {name: getattr(message, name) for name in type(message).__match_args__}
    return {
        name: memoryview(value).nbytes // memoryview(value).itemsize if _is_array(value) else value
        for name, value in values.items()
        if value is not None
    }


def _is_array(value: object) -> bool:
    try:
        memoryview(value)  # type: ignore[arg-type]  # whether it has a buffer is the question
    except TypeError:
        return False
    return True
