"""An annotated class becomes a schema: the same one that its `.fbs` would give.

What Python says more loosely than FlatBuffers is decided here:

- `int` is int64, `float` float64, `bytes` a vector of uint8, an IntEnum int32 and an IntFlag uint32, unless the enum
  has an attribute `__underlying__`.
- `X | None` means that absence is told apart: an optional scalar, or text or a sequence that reads as None when absent.
  Without it, absent text is "" and an absent sequence empty. A message or union that is absent is None in any case.
- A union has no name in Python; it is called after its class and field unless `field(union=...)` says otherwise.

What a decorator tells of a class stands in the class: `__lunar_struct__` marks a message class, True a struct;
`__lunar_name__` is its full name; `__lunar_schema__`, once known, the pair that `schema_of` returned, which a class
from a `.fbs` file has from the start. A class that is marked and has no schema yet is read along with the one that
needs it, so that classes may mention each other in a circle.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, get_args, get_origin

from lunar.errors import SchemaError
from lunar.messages.declarations import NO_NAMES, Declaration, declarations, first_paragraph
from lunar.messages.defaults import number_default, reference_default
from lunar.messages.fields import MISSING, ArrayOf, FieldOptions, Shape
from lunar.messages.hints import alternatives_of, array_of, refused, shown, size_of
from lunar.messages.schema import Array as FixedArray
from lunar.messages.schema import (
    Definition,
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

__all__ = ["full_name", "schema_of"]

_PLAIN: Final[Mapping[object, SchemaType]] = {
    bool: Scalar.BOOL,
    int: Scalar.INT64,
    float: Scalar.FLOAT64,
    str: String(),
    bytes: Vector(Scalar.UINT8),
}
_MOST_MEMBERS: Final = 255


def schema_of(cls: type, name: str | None = None, *, scope: Mapping[str, object] = NO_NAMES) -> tuple[Schema, str]:
    """Reads an annotated class.

    Args:
        cls: The class. If it has a schema already, that is returned.
        name: Its full name in the schema; by default its `__lunar_name__`, or else its `__name__`.
        scope: Names that were visible where the class was defined, besides its module's: a function's locals.

    Returns:
        The schema, closed, and the full name of the class's definition in it.

    Raises:
        UnresolvedName: An annotation names what is not defined, or not yet.
        SchemaError: The class says what FlatBuffers cannot express, or two different definitions have one name.
    """
    known: tuple[Schema, str] | None = vars(cls).get("__lunar_schema__")
    if known is not None and name in (None, known[1]):
        return known
    reader = _Reader(scope)
    root = reader.read_class(cls, name)
    definitions = Schema(reader.definitions).closure(root)
    is_table = isinstance(definitions[root], TableDefinition)
    return Schema(definitions, root=root if is_table else None), root


class _Reader:
    """Reads a class and those that it mentions into `definitions`."""

    def __init__(self, scope: Mapping[str, object]) -> None:
        self.definitions: dict[str, Definition] = {}
        self._scope = scope
        # Those that are still being read too, which is where a circle ends.
        self._sources: dict[str, type] = {}
        self._names: dict[type, str] = {}

    def read_class(self, cls: type, name: str | None = None) -> str:
        """Reads a message class that has no schema yet; returns its full name."""
        name = name or self._names.get(cls) or full_name(cls)
        source = self._sources.setdefault(name, cls)
        if source is not cls and (source.__module__, source.__qualname__) != (cls.__module__, cls.__qualname__):
            raise SchemaError(f"{name}: two classes have this name, {source!r} and {cls!r}")
        if cls not in self._names and source is cls:
            self._names[cls] = name
            is_struct = vars(cls).get("__lunar_struct__", False)
            self._put(name, self._struct(cls, name) if is_struct else self._table(cls, name))
        return name

    def _put(self, name: str, definition: Definition) -> None:
        known = self.definitions.setdefault(name, definition)
        if known is not definition and _bare(known) != _bare(definition):
            raise SchemaError(f"{name}: two different definitions have this name; give one of them another")

    # ---- definitions ----

    def _table(self, cls: type, name: str) -> TableDefinition:
        declared = [*declarations(cls, self._scope)]
        fields = [self._table_field(each, name) for each in declared]
        _check_keys(cls, fields)
        return TableDefinition(name, self._with_ids(declared, fields), first_paragraph(cls))

    def _struct(self, cls: type, name: str) -> StructDefinition:
        declared = [*declarations(cls, self._scope)]
        fields = [replace(self._struct_field(each, name), id=number) for number, each in enumerate(declared)]
        if not fields:
            raise SchemaError(f"{cls.__name__}: a struct has at least one field")
        _check_keys(cls, fields)
        return StructDefinition(name, tuple(fields), documentation=first_paragraph(cls))

    def _with_ids(self, declared: Sequence[Declaration], fields: Sequence[Field]) -> tuple[Field, ...]:
        pairs = [*zip(declared, fields, strict=True)]
        asked = {each.where: each.options.id for each in declared if each.options.id is not None}
        if asked:
            for each in declared:
                if each.where not in asked:
                    raise SchemaError(
                        f"{each.where}: has no id, but {next(iter(asked))} has; give all of them one or none"
                    )
            pairs.sort(key=lambda pair: asked[pair[0].where])
        placed: list[Field] = []
        following = 0
        for each, field in pairs:
            # A union's tag is a field of its own, before the value.
            id_ = following + self._is_union(field.type)
            if asked.get(each.where, id_) != id_:
                raise SchemaError(
                    f"{each.where}: the id {asked[each.where]} is not valid; allowed: {id_}, as ids go from 0 without "
                    "gaps and a union takes two, the greater of which is written"
                )
            placed.append(replace(field, id=id_))
            following = id_ + 1
        return tuple(placed)

    def _enum(self, cls: type[enum.IntEnum] | type[enum.IntFlag]) -> EnumDefinition:
        is_flags = issubclass(cls, enum.IntFlag)
        asked = getattr(cls, "__underlying__", Scalar.UINT32 if is_flags else Scalar.INT32)
        underlying = asked if isinstance(asked, Scalar) else size_of(asked)
        if underlying is None or underlying is Scalar.BOOL or underlying.is_float:
            raise SchemaError(f"{cls.__name__}: __underlying__ is {asked!r}; allowed: lunar.int8 to lunar.uint64")
        least, greatest = underlying.limits
        if is_flags and least < 0:
            raise SchemaError(
                f"{cls.__name__}: flags are unsigned; allowed for __underlying__: lunar.uint8 to lunar.uint64"
            )
        # Iteration leaves out aliases and combinations of flags: FlatBuffers has neither.
        values = sorted(((str(member.name), int(member)) for member in cls), key=lambda value: value[1])
        if not values:
            raise SchemaError(f"{cls.__name__}: an enum has at least one value")
        for name, value in values:
            if not least <= value <= greatest:
                raise SchemaError(
                    f"{cls.__name__}.{name}: {value} is no {underlying.fbs_name}; choose another `__underlying__`"
                )
        return EnumDefinition(full_name(cls), underlying, tuple(values), is_flags, first_paragraph(cls))

    # ---- types ----

    def _type(self, annotation: object, where: str, union: str) -> tuple[SchemaType, bool, Shape | None]:
        """What an annotation says: a type, whether it may be None, and of an Array its shape."""
        alternatives, is_nullable = alternatives_of(annotation)
        if len(alternatives) > 1:
            return self._union(alternatives, where, union), is_nullable, None
        for single in alternatives:
            array = array_of(single)
            if array is not None:
                return Vector(self._array_element(array, where)), is_nullable, array.shape
            origin, arguments = get_origin(single), get_args(single)
            if origin in (list, Sequence) and len(arguments) == 1:
                return Vector(self._element(arguments[0], where, union)), is_nullable, None
            found = self._single(single, where)
            if found is not None:
                return found, is_nullable, None
        raise refused(where, annotation)

    def _single(self, annotation: object, where: str) -> SchemaType | None:
        scalar = size_of(annotation)
        if scalar is not None:
            return scalar
        if isinstance(annotation, type):
            return _PLAIN[annotation] if annotation in _PLAIN else Named(self._named(annotation, where))
        return None

    def _element(self, annotation: object, where: str, union: str) -> Scalar | String | Named:
        alternatives, is_nullable = alternatives_of(annotation)
        if len(alternatives) > 1:
            return self._union(alternatives, where, union)
        found = self._single(alternatives[0], where) if alternatives and not is_nullable else None
        if isinstance(found, Scalar | String | Named):
            return found
        raise SchemaError(
            f"{where}: {shown(annotation)} cannot be the element of a sequence; allowed: a number, an enum, str or a "
            "message class, which may hold what else is needed"
        )

    def _array_element(self, array: ArrayOf, where: str) -> Scalar | Named:
        found = self._single(array.element, where)
        if isinstance(found, Scalar):
            return found
        if isinstance(found, Named):
            definition = self.definitions.get(found.name)
            if isinstance(definition, EnumDefinition | StructDefinition):
                return found
        raise SchemaError(
            f"{where}: {shown(array.element)} cannot be the element of an Array; allowed: numbers and enums, and in a "
            "struct structs; use list[...]"
        )

    def _named(self, cls: type, where: str) -> str:
        known: tuple[Schema, str] | None = vars(cls).get("__lunar_schema__")
        if known is not None:
            for name, definition in known[0].closure(known[1]).items():
                self._put(name, definition)
            return known[1]
        if issubclass(cls, enum.IntEnum | enum.IntFlag):
            self._put(full_name(cls), self._enum(cls))
            return full_name(cls)
        if cls in self._names or "__lunar_struct__" in vars(cls):
            return self.read_class(cls)
        raise refused(where, cls)

    def _union(self, alternatives: Sequence[object], where: str, union: str) -> Named:
        members: dict[str, UnionMember] = {}
        for tag, alternative in enumerate(alternatives, 1):
            type_ = self._single(alternative, where) if isinstance(alternative, type) else None
            if isinstance(type_, Named) and isinstance(self.definitions.get(type_.name), EnumDefinition):
                type_ = None
            if not isinstance(type_, Named | String):
                raise SchemaError(
                    f"{where}: {shown(alternative)} cannot be in a union; allowed: message classes, str and None"
                )
            name = type_.name.rpartition(".")[2] if isinstance(type_, Named) else "String"
            if name in members:
                raise SchemaError(f"{where}: two alternatives of the union are called {name}")
            members[name] = UnionMember(name, tag, type_)
        if len(members) > _MOST_MEMBERS:
            raise SchemaError(f"{where}: a union has at most {_MOST_MEMBERS} alternatives, not {len(members)}")
        self._put(union, UnionDefinition(union, tuple(members.values())))
        return Named(union)

    def _is_fixed(self, type_: SchemaType) -> bool:
        element = type_.element if isinstance(type_, FixedArray) else type_
        if isinstance(element, Named):
            # A struct that is still being read would contain itself: it is not there.
            return isinstance(self.definitions.get(element.name), EnumDefinition | StructDefinition)
        return isinstance(element, Scalar)

    def _is_struct_sequence(self, type_: SchemaType) -> bool:
        element = type_.element if isinstance(type_, Vector) else type_
        return isinstance(element, Named) and isinstance(self.definitions.get(element.name), StructDefinition)

    def _is_union(self, type_: SchemaType) -> bool:
        element = type_.element if isinstance(type_, Vector) else type_
        return isinstance(element, Named) and isinstance(self.definitions.get(element.name), UnionDefinition)

    # ---- fields ----

    def _table_field(self, declared: Declaration, owner: str) -> Field:
        options, where = declared.options, declared.where
        type_, is_nullable, own_shape = self._type(declared.annotation, where, _union_name(declared, owner))
        shape = _shape(own_shape, options, where)
        numbers = self._numbers(type_)
        self._check_table_options(type_, options, is_nullable, where)
        if own_shape is not None and self._is_struct_sequence(type_):
            raise SchemaError(f"{where}: an Array of structs can only be in a struct; use list[...]")
        _check_shape(type_, shape, where)
        # FlatBuffers makes text that is a key required, said or not.
        is_required = options.required or (options.key and isinstance(type_, String))
        default: int | float | str | None = None
        if numbers is not None:
            default = number_default(numbers, options.default, is_nullable, where)
        elif not is_required:
            default = reference_default(type_, options.default, is_nullable, shape, where)
        elif options.default is not MISSING:
            raise SchemaError(f"{where}: what is required has no default")
        return Field(
            declared.name,
            type_,
            id=0,
            default=default,
            optional=numbers is not None and is_nullable,
            required=is_required,
            key=options.key,
            deprecated=options.deprecated,
            shape=shape,
            documentation=tuple(options.doc.splitlines()),
        )

    def _check_table_options(self, type_: SchemaType, options: FieldOptions, is_nullable: bool, where: str) -> None:
        is_number = self._numbers(type_) is not None
        if options.required and (is_number or is_nullable):
            raise SchemaError(f"{where}: only text, sequences and messages can be required, and then without `| None`")
        if options.key and (is_nullable or not (is_number or isinstance(type_, String))):
            raise SchemaError(f"{where}: only a number or text can be the key, without `| None`")
        if options.union is not None and not self._is_union(type_):
            raise SchemaError(f"{where}: is no union, so it cannot be given a union's name")

    def _struct_field(self, declared: Declaration, owner: str) -> Field:
        options, where = declared.options, declared.where
        type_, is_nullable, own_shape = self._type(declared.annotation, where, _union_name(declared, owner))
        shape = _shape(own_shape, options, where)
        if isinstance(type_, Vector) and not isinstance(type_.element, String):
            lengths = [length for length in shape if length is not None]
            if lengths and len(lengths) == len(shape):
                type_ = FixedArray(type_.element, math.prod(lengths))
                # A single axis goes without saying: its length is the type's.
                shape = shape if len(shape) > 1 else ()
        _check_shape(type_, shape, where)
        if is_nullable or not self._is_fixed(type_):
            raise SchemaError(
                f"{where}: {shown(declared.annotation)} cannot be in a struct; allowed: numbers, enums, other structs "
                "and Arrays of these with every length given, none of them with `| None`"
            )
        if options.required or options.deprecated or options.id is not None:
            raise SchemaError(f"{where}: a field of a struct is always there: no required, no deprecated, no id")
        numbers = self._numbers(type_)
        # A class may say that a number is 0, for type checkers; the schema says no default, as nothing is ever absent.
        default = None if numbers is None else number_default(numbers, options.default, False, where)
        if default or (numbers is None and options.default is not MISSING):
            raise SchemaError(f"{where}: a field of a struct has no default but 0")
        if options.key and numbers is None:
            raise SchemaError(f"{where}: only a number can be the key of a struct")
        words = tuple(options.doc.splitlines())
        return Field(declared.name, type_, 0, key=options.key, shape=shape, documentation=words)

    def _numbers(self, type_: SchemaType) -> Scalar | EnumDefinition | None:
        """What the values of a type are, if they are single numbers."""
        if isinstance(type_, Scalar):
            return type_
        definition = self.definitions.get(type_.name) if isinstance(type_, Named) else None
        return definition if isinstance(definition, EnumDefinition) else None


def full_name(cls: type) -> str:
    """The name of a class's or enum's definition: its `__lunar_name__`, or else its own name."""
    name: str = vars(cls).get("__lunar_name__", cls.__name__)
    return name


def _union_name(declared: Declaration, owner: str) -> str:
    namespace, dot, name = owner.rpartition(".")
    words = "".join(word[:1].upper() + word[1:] for word in declared.name.split("_"))
    return namespace + dot + (declared.options.union or name + words)


def _shape(own: Shape | None, options: FieldOptions, where: str) -> Shape:
    if not options.shape:
        return own or ()
    if own != ():
        raise SchemaError(f"{where}: field(shape=...) is for an Array that has no lengths of its own")
    return options.shape


def _check_shape(type_: SchemaType, shape: Shape, where: str) -> None:
    if shape and not (isinstance(type_, Vector | FixedArray) and isinstance(type_.element, Scalar)):
        raise SchemaError(
            f"{where}: only an Array of numbers can have lengths, or in a struct one of anything one length"
        )


def _check_keys(cls: type, fields: Sequence[Field]) -> None:
    keys = [field.name for field in fields if field.key]
    if len(keys) > 1:
        raise SchemaError(f"{cls.__name__}: one field can be the key, not {' and '.join(keys)}")


def _bare(definition: Definition) -> Definition:
    """A definition without comments, which do not tell two apart."""
    if isinstance(definition, TableDefinition | StructDefinition):
        fields = tuple(replace(field, documentation=()) for field in definition.fields)
        return replace(definition, fields=fields, documentation=())
    return replace(definition, documentation=())
