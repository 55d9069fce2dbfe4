"""What the author of a class wrote in it: names, evaluated annotations, defaults, words. FlatBuffers is not known here.

Annotations may be strings, because the author wrote them so or under `from __future__ import annotations`. Their names
are looked up where Python would have: the class, then the scope that it was defined in, then its module.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType, MemberDescriptorType
from typing import ClassVar, get_origin, get_type_hints

from lunar.errors import SchemaError
from lunar.messages.fields import MISSING, FieldOptions

__all__ = ["Declaration", "UnresolvedName", "declarations", "first_paragraph"]

NO_NAMES: Mapping[str, object] = MappingProxyType({})


class UnresolvedName(SchemaError):
    """An annotation names what is not defined, or not yet: worth another try once the module is complete."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A field as it was written.

    Attributes:
        name: The field's name.
        where: Class and field, for messages to people.
        annotation: Its annotation, evaluated.
        options: Its default, and what `field` was told.
    """

    name: str
    where: str
    annotation: object
    options: FieldOptions


def declarations(cls: type, scope: Mapping[str, object] = NO_NAMES) -> Iterator[Declaration]:
    """Reads the fields of a class and its bases, in order, those of the bases first.

    Args:
        cls: The class.
        scope: Names that were visible where it was defined, besides its module's.

    Raises:
        UnresolvedName: An annotation names what is not defined.
        SchemaError: An annotation cannot be evaluated, or a field's name begins with an underscore.
    """
    owners: dict[str, type] = {}
    for base in reversed(cls.__mro__):
        for name in _annotations(base):
            owners[name] = base  # keeps the place of the first
    for name, owner in owners.items():
        where = f"{cls.__name__}.{name}"
        if name.startswith("__"):
            continue
        declared = _declared(owner).get(name)
        if declared is not None:  # by a message class, whose annotations were evaluated where it was defined
            yield replace(declared, where=where, options=_options(cls, name))
            continue
        annotation = _evaluated(_annotations(owner)[name], owner, scope, where)
        if annotation is ClassVar or get_origin(annotation) is ClassVar:
            continue
        if name.startswith("_"):
            raise SchemaError(f"{where}: the name of a field does not begin with an underscore")
        yield Declaration(name, where, annotation, _options(cls, name))


def first_paragraph(documented: type) -> tuple[str, ...]:
    """The lines of the first paragraph of a class's own docstring."""
    text = vars(documented).get("__doc__")
    return tuple(inspect.cleandoc(text).split("\n\n")[0].splitlines()) if isinstance(text, str) else ()


def _declared(cls: type) -> Mapping[str, Declaration]:
    """What a class that is a message class already was when it was read."""
    declared: Mapping[str, Declaration] = vars(cls).get("__lunar_declared__", {})
    return declared


def _annotations(cls: type) -> Mapping[str, object]:
    try:
        return inspect.get_annotations(cls)
    except NameError as error:  # from Python 3.14 on they are evaluated only now
        raise UnresolvedName(f"{cls.__name__}: {error}") from error


def _evaluated(annotation: object, owner: type, scope: Mapping[str, object], where: str) -> object:
    # A default may bear the name of a type ("label: str" beside "str: str"), so only classes count as the body's names.
    nested = {name: value for name, value in vars(owner).items() if isinstance(value, type)}
    # The class itself comes before the scope, which may still hold what bore its name before.
    names = {**scope, owner.__name__: owner, **nested}
    # One at a time, in a class of its own, so that an error can be put down to its field.
    holder = type(owner.__name__, (), {"__annotations__": {"field": annotation}, "__module__": owner.__module__})
    module = sys.modules.get(owner.__module__)
    try:
        hints: dict[str, object] = get_type_hints(holder, vars(module) if module else {}, names, include_extras=True)
    except NameError as error:
        raise UnresolvedName(f"{where}: {error} (in the annotation {annotation!r})") from error
    except SchemaError as error:
        raise SchemaError(f"{where}: {error}") from error
    except Exception as error:  # an annotation in quotes is any expression
        raise SchemaError(f"{where}: the annotation {annotation!r} cannot be evaluated: {error!r}") from error
    return hints["field"]


def _options(cls: type, name: str) -> FieldOptions:
    owner = next((base for base in cls.__mro__ if name in vars(base)), None)
    default = MISSING if owner is None else vars(owner)[name]
    if owner is not None and name in _declared(owner):
        return _declared(owner)[name].options
    if isinstance(default, FieldOptions):
        return default
    # A slot is where the value will lie, not what it is.
    return FieldOptions(default=MISSING if isinstance(default, MemberDescriptorType) else default)
