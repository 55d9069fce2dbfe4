"""Message classes from annotated classes: the decorator `message`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum, IntFlag
from typing import TypeVar, cast, dataclass_transform, get_args, overload

from lunar.errors import SchemaError
from lunar.messages.annotations import full_name, schema_of
from lunar.messages.declarations import declarations
from lunar.messages.fields import ArrayOf, field
from lunar.messages.message import Message
from lunar.messages.plan import Compiler
from lunar.messages.schema import Schema

__all__ = ["message"]

C = TypeVar("C", bound=type)

_NOT_TAKEN_OVER = frozenset({"__dict__", "__weakref__", "__slots__", "__lunar_struct__", "__annotations__"})
# In a classmethod or staticmethod, a property, a cached property.
_WHERE_FUNCTIONS_ARE = ("__func__", "fget", "fset", "fdel", "func")


@overload
def message(cls: C, /) -> C: ...
@overload
def message(*, struct: bool = False, name: str | None = None) -> Callable[[C], C]: ...
@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def message(cls: C | None = None, /, *, struct: bool = False, name: str | None = None) -> C | Callable[[C], C]:
    """Makes a message class of an annotated class, as if it came from a `.fbs` file.

    The class that is returned is another one: it has the same methods and a field for each annotation, its constructor
    takes them by name or in order, and instances compare by value. Field for field it means what the annotations
    module says. It may derive from another annotated message class and then has the fields of that one first; still it
    is a type of its own, and no field that holds the one may be set to the other.

    Args:
        cls: The annotated class.
        struct: Make it a FlatBuffers struct: of fixed size, without text, sequences of free length or tables, and never
            to be changed; it lies in place wherever it is a field.
        name: Its full name, "robot.Wheel"; by default the class's own name.

    Raises:
        SchemaError: The class says what FlatBuffers cannot express.
    """
    scope = sys._getframe(1).f_locals
    if cls is not None:
        return _made(cls, struct, name, scope)
    return lambda decorated: _made(decorated, struct, name, scope)


def _made(cls: C, struct: bool, name: str | None, scope: Mapping[str, object]) -> C:
    if "__lunar_plan__" in vars(cls):
        raise SchemaError(f"{cls.__qualname__} is a message class already")
    _check_bases(cls)
    cls.__lunar_struct__ = struct  # type: ignore[attr-defined]
    schema, root = schema_of(cls, name, scope=scope)
    bases = tuple(base for base in cls.__bases__ if base not in (object, Message))
    attributes = {key: value for key, value in vars(cls).items() if key not in _NOT_TAKEN_OVER}
    attributes["__qualname__"] = cls.__qualname__
    attributes["__lunar_declared__"] = {each.name: each for each in declarations(cls, scope)}
    compiler = Compiler(
        schema,
        cls.__module__,
        given=_mentioned(cls, scope),
        bases={root: (bases, attributes)},
        annotated=True,
    )
    made = compiler.class_of(root)
    made.__name__ = cls.__name__
    made.__annotations__ = dict(vars(cls).get("__annotations__", {}))
    _rebind_super(cls, made)
    return cast("C", made)


def _check_bases(cls: type) -> None:
    for base in cls.__mro__[1:]:
        if "__lunar_plan__" in vars(base) and "__lunar_declared__" not in vars(base):
            raise SchemaError(
                f"{cls.__qualname__}: {base.__qualname__} is from a .fbs file; derive from annotated classes only, and "
                "have a message of another class as a field"
            )


def _rebind_super(cls: type, made: type) -> None:
    """Lets `super()` and `__class__` in the methods mean the class that was made: all share one cell."""
    for value in vars(cls).values():
        for method in (value, *(getattr(value, name, None) for name in _WHERE_FUNCTIONS_ARE)):
            function = inspect.unwrap(method) if callable(method) else method
            names = getattr(getattr(function, "__code__", None), "co_freevars", ())
            if "__class__" in names:
                cell = function.__closure__[names.index("__class__")]
                if cell.cell_contents is cls:
                    cell.cell_contents = made
                    return


def _mentioned(cls: type, scope: Mapping[str, object]) -> dict[str, type]:
    """The classes that a class's annotations mention, and those that these need, by full name."""
    found: dict[str, type] = {}
    for declared in declarations(cls, scope):
        for mentioned in _classes_in(declared.annotation):
            if issubclass(mentioned, IntEnum | IntFlag):
                found[full_name(mentioned)] = mentioned
            elif "__lunar_plan__" in vars(mentioned):
                schema, name = cast("tuple[Schema, str]", vars(mentioned)["__lunar_schema__"])
                classes = cast("dict[str, type]", vars(mentioned)["__lunar_classes__"])
                found.update({each: classes[each] for each in schema.closure(name) if each in classes})
    return found


def _classes_in(annotation: object) -> Iterator[type]:
    if isinstance(annotation, ArrayOf):
        yield from _classes_in(annotation.element)
    elif isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from _classes_in(argument)
