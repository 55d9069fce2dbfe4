"""What users annotate a message class with, where Python's own types say too little; `annotations` reads it.

Type checkers see a marker as what the user assigns and gets: `int32` as `int`, `Array` as a NumPy array that is also
set from a sequence. NumPy itself is for the type checker alone: nothing here imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, TypeVar, get_args, get_origin

from lunar.errors import SchemaError
from lunar.messages.schema import Scalar

if TYPE_CHECKING:
    from typing import Generic, TypeVarTuple

    import numpy as np

__all__ = [
    # Scalars
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    # Sequences of scalars
    "Array",
    "ArrayOf",
    "Shape",
    # What annotations cannot say
    "MISSING",
    "FieldOptions",
    "Missing",
    "field",
]

int8 = Annotated[int, Scalar.INT8]
uint8 = Annotated[int, Scalar.UINT8]
int16 = Annotated[int, Scalar.INT16]
uint16 = Annotated[int, Scalar.UINT16]
int32 = Annotated[int, Scalar.INT32]
uint32 = Annotated[int, Scalar.UINT32]
int64 = Annotated[int, Scalar.INT64]
uint64 = Annotated[int, Scalar.UINT64]
float32 = Annotated[float, Scalar.FLOAT32]
float64 = Annotated[float, Scalar.FLOAT64]

Shape: TypeAlias = tuple[int | None, ...]
"""How a sequence of numbers is looked at: the length of each axis, the first None for any; empty: one free axis."""


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return self.name


MISSING: Final = Missing.MISSING
"""Says that a field was given no default; None is a default of its own."""


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """What `Array[...]` says about a field.

    Attributes:
        element: The annotation of one element.
        shape: The length of each axis, as in `Field.shape`.
    """

    element: object
    shape: Shape = ()


if TYPE_CHECKING:
    _Element = TypeVar("_Element")
    _Axes = TypeVarTuple("_Axes")

    class Array(Generic[_Element, *_Axes]):
        """As type checkers see it: read as a NumPy array, set from an array or a sequence, nested for more axes."""

        # An array without parameters holds any dtype and is of any shape. That is all that can be said: the markers
        # are `int` and `float` here, which are no dtypes.
        def __get__(self, message: object, owner: type | None = None, /) -> np.ndarray:
            """Returns the values."""

        def __set__(
            self, message: object, values: Sequence[_Element] | Sequence[Sequence[_Element]] | np.ndarray, /
        ) -> None:
            """Replaces the values."""

else:

    class Array:
        """Annotates a sequence of numbers that is read as a NumPy array.

        `Array[int32]` has any length, `Array[float64, 3]` three elements, `Array[float64, 3, 3]` three rows of three
        and `Array[float32, None, 3]` any number of rows of three. Type checkers take no number for a type: for them
        write `Literal[3]` instead of 3, or `Array[float64]` with `field(shape=(3, 3))`; all mean the same.

        Raises:
            SchemaError: A length is not a positive integer, or None stands elsewhere than on the first axis.
        """

        def __class_getitem__(cls, parameters: object) -> object:
            element, *axes = parameters if isinstance(parameters, tuple) else (parameters,)
            return Annotated[cls, ArrayOf(element, checked_shape(tuple(axes)))]


def checked_shape(axes: tuple[object, ...]) -> Shape:
    """Returns the shape that was written, in its one form: a single free axis is the empty shape.

    Raises:
        SchemaError: It is no shape.
    """
    lengths = tuple(get_args(axis)[0] if get_origin(axis) is Literal else axis for axis in axes)
    shape: list[int | None] = []
    for number, length in enumerate(lengths):
        # bool is an int, but True is no length.
        if type(length) is int and length > 0:
            shape.append(length)
        elif length is None and number == 0:
            shape.append(None)
        else:
            raise SchemaError(
                f"the shape {lengths} of an Array is not valid: axis {number} is {length!r}; "
                "allowed: an integer from 1, and on the first axis None for any length"
            )
    return () if shape == [None] else tuple(shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOptions:
    """What `field` was told. Stands as the class attribute until the class becomes a message class."""

    default: object = MISSING
    shape: Shape = ()
    id: int | None = None
    required: bool = False
    key: bool = False
    deprecated: bool = False
    union: str | None = None
    doc: str = ""


def field(  # type: ignore[explicit-any]  # it stands where a value of the annotated type belongs
    *,
    default: object = MISSING,
    shape: tuple[int | None, ...] = (),
    id: int | None = None,  # noqa: A002 - the FlatBuffers attribute's name
    required: bool = False,
    key: bool = False,
    deprecated: bool = False,
    union: str | None = None,
    doc: str = "",
) -> Any:
    """Says what an annotation cannot.

    It stands where the default would: `cells: Array[float32] = lunar.field(shape=(None, 3), required=True)`.

    Args:
        default: What it is when absent; without it a scalar is 0, text "", a sequence empty and a message None.
        shape: Of an `Array`, the length of each axis, None on the first for any; as in `Array[float32, None, 3]`.
        id: Its place in the vtable, from 0. Either every field of the class has one or none. A union's is at least
            1: its tag has the one before.
        required: A message without it is none; of text, sequences and messages only.
        key: Sorted vectors of the message are sorted by it; one scalar or text, which it makes required.
        deprecated: Neither written nor read any more; keeps its id.
        union: Of a union, the name of its definition; by default the class's name with the field's in camel case.
        doc: What it means, for the schema.

    Raises:
        SchemaError: `shape` is no shape.
    """
    return FieldOptions(
        default=default,
        shape=checked_shape(shape),
        id=id,
        required=required,
        key=key,
        deprecated=deprecated,
        union=union,
        doc=doc,
    )
