"""Classes to annotate with, and the schema of one field."""

import enum
from collections.abc import Mapping
from typing import TypeVar

from lunar.messages import fields
from lunar.messages.annotations import schema_of
from lunar.messages.fields import float32, float64, uint8
from lunar.messages.schema import (
    Field,
    Scalar,
    Schema,
    StructDefinition,
    TableDefinition,
)

_Class = TypeVar("_Class", bound=type)


def message(cls: _Class) -> _Class:
    """As the decorator does it: mark the class, then say its schema."""
    cls.__lunar_struct__ = False  # type: ignore[attr-defined]
    cls.__lunar_schema__ = schema_of(cls)  # type: ignore[attr-defined]
    return cls


def struct(cls: _Class) -> _Class:
    cls.__lunar_struct__ = True  # type: ignore[attr-defined]
    cls.__lunar_schema__ = schema_of(cls)  # type: ignore[attr-defined]
    return cls


def marked(cls: _Class) -> _Class:
    """A message class whose schema is not known yet."""
    cls.__lunar_struct__ = False  # type: ignore[attr-defined]
    return cls


def make(name: str, annotations: Mapping[str, object], is_struct: bool = False, **attributes: object) -> type:
    contents = {"__annotations__": annotations, "__module__": __name__, "__lunar_struct__": is_struct, **attributes}
    return type(name, (), contents)


def one_field(annotation: object, default: object = fields.MISSING, is_struct: bool = False) -> Field:
    """The only field of a class "M" with this annotation."""
    attributes = {} if default is fields.MISSING else {"f": default}
    schema, name = schema_of(make("M", {"f": annotation}, is_struct, **attributes))
    definition = schema.definitions[name]
    assert isinstance(definition, TableDefinition | StructDefinition)
    (found,) = definition.fields
    return found


def table(schema: Schema, name: str) -> TableDefinition:
    definition = schema.definitions[name]
    assert isinstance(definition, TableDefinition)
    return definition


class Mode(enum.IntEnum):
    """How it drives.

    More about it.
    """

    PARKED = 0
    MANUAL = 1
    AUTO = 2


class Gear(enum.IntEnum):
    __underlying__ = uint8
    FIRST = 1
    SECOND = 2


class Access(enum.IntFlag):
    __underlying__ = Scalar.UINT8
    READ = 1
    WRITE = 2
    BOTH = 3


@struct
class Point:
    x: float64
    y: float64


@message
class Stop:
    pass


@message
class Go:
    """Drive there.

    As fast as it may.
    """

    to: Point
    speed: float32 = 1.5
