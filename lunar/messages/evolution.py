"""Whether two versions of a type can be read by each other's readers, and if not, in which field they differ.

The rules are FlatBuffers' own: fields are added at the end, never removed, moved or given another type or default; a
name may change; enums and unions may grow. They are those of `flatc --conform BASE NEW`, which says whether NEW is an
evolution of BASE. It compares fields and enum values by name, and fields without a partner of their name by their
place. Of what it refuses, only a missing field depends on the direction: so two versions are compatible if at most one
of them has fields that the other lacks. A reader sees fields that the writer does not know as absent, and passes over
those that it does not know itself.

Where both have fields that the other lacks, they evolved apart. Each could read the other's messages today, but the
next field that either adds may meet another one in the same place. FlatBuffers' rules refuse that, and so do we.

Stricter than flatc, because it looks at less than a reader needs (the names of types without their namespace, neither
the size of structs nor the types behind a union's tags). We refuse also:

- a struct of another layout: fields added, another array length or alignment. Vectors of it would be read askew.
- a tag of a union that stands for another type.
- a table that became a struct, or any other change of kind under one name.
- a type that moved into another namespace: nobody would have compared what is inside.
- a renamed field whose default changed: an absent one would be read as something else.
- a field that only one side requires, new or old: its reader would refuse what the other side's writer leaves out.

More lenient in one thing: it compares the texts of defaults, so 0.1 is not 0.10 there; here the values count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lunar.messages.identity import type_text, wire_default
from lunar.messages.schema import (
    Array,
    Definition,
    EnumDefinition,
    Field,
    Named,
    Schema,
    SchemaType,
    StructDefinition,
    TableDefinition,
    UnionDefinition,
    Vector,
)

__all__ = ["Difference", "compatible", "differences"]

_NOTHING: Final = "nothing"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two versions of a type say differently.

    Attributes:
        path: Where, from the root type on: "robot.State.pose.x"; "[]" is any element of a sequence, and what follows a
            union's field is one of its alternatives.
        what: What is different, in words.
        ours: What our version says, in words.
        theirs: What the other version says.
        breaking: Messages of one version cannot be read as the other's because of it.
    """

    path: str
    what: str
    ours: str
    theirs: str
    breaking: bool

    def __str__(self) -> str:
        verdict = "incompatible" if self.breaking else "compatible"
        return f"{self.path}: {self.what}: ours {self.ours}, theirs {self.theirs} ({verdict})"


def compatible(ours: Schema, theirs: Schema, root: str) -> tuple[bool, list[Difference]]:
    """Whether readers of each version can read what writers of the other write.

    Args:
        ours: Holds our version of the type.
        theirs: Holds the other version.
        root: The type's full name in both.

    Returns:
        The verdict, the same whoever asks, and what is different, in the order of our fields.

    Raises:
        KeyError: A schema mentions something that it does not define.
    """
    found = differences(ours, theirs, root)
    return not any(difference.breaking for difference in found), found


def differences(old: Schema, new: Schema, root: str) -> list[Difference]:
    """All that is different between two versions of a type and changes how bytes are read, or the names of it.

    Args:
        old: One version, called ours in what is returned. Which is the older makes no difference.
        new: The other, called theirs.
        root: The type's full name in both. A version that does not define it is a difference too.

    Raises:
        KeyError: A schema mentions something that it does not define.
    """
    missing = [root not in schema.definitions for schema in (old, new)]
    if any(missing):
        ours, theirs = (_NOTHING if absent else root for absent in missing)
        return [] if all(missing) else [Difference(root, "type missing", ours, theirs, breaking=True)]
    return [*_Comparison(old, new, root).run()]


@dataclass(frozen=True, slots=True)
class _Slot:
    """A place in a vtable, or in a struct. A union has two: its tag, of its own name and `_type`, and its value."""

    name: str
    place: int  # the id; in a struct, the offset in bytes
    type: str
    field: Field
    is_tag: bool = False


class _Comparison:
    """Walks both closures at once, each definition once."""

    def __init__(self, ours: Schema, theirs: Schema, root: str) -> None:
        self._ours = ours
        self._theirs = theirs
        self._root = root
        self._only_ours: list[str] = []
        self._only_theirs: list[str] = []

    def run(self) -> Iterator[Difference]:
        """All differences."""
        other = self._theirs.closure(self._root)
        shared = {name: name for name in self._ours.closure(self._root) if name in other}
        waiting = [(self._root, self._root)]
        while shared:
            # What no field of both leads to is compared too, as flatc does: a name means one thing.
            path, name = waiting.pop() if waiting else (next(iter(shared)),) * 2
            if name in shared:
                del shared[name]
                ours, theirs = self._ours.definitions[name], self._theirs.definitions[name]
                yield from self._definition(path, ours, theirs)
                waiting.extend(reversed([*_inner_paths(path, ours, theirs)]))
        if self._only_ours and self._only_theirs:
            yield Difference(
                self._root,
                "each version has fields that the other lacks, so neither is an evolution of the other",
                ", ".join(self._only_ours),
                ", ".join(self._only_theirs),
                breaking=True,
            )

    def _definition(self, path: str, ours: Definition, theirs: Definition) -> Iterator[Difference]:
        match ours, theirs:
            case (TableDefinition(), TableDefinition()):
                yield from self._fields(path, _table_slots(self._ours, ours), _table_slots(self._theirs, theirs))
            case (StructDefinition(), StructDefinition()):
                yield from self._struct(path, ours, theirs)
            case (EnumDefinition(), EnumDefinition()):
                yield from _enum_differences(path, ours, theirs)
            case (UnionDefinition(), UnionDefinition()):
                yield from _union_differences(path, ours, theirs)
            case _:
                yield Difference(path, "kind of type changed", _kind(ours), _kind(theirs), breaking=True)

    def _struct(self, path: str, ours: StructDefinition, theirs: StructDefinition) -> Iterator[Difference]:
        found = [*self._fields(path, _struct_slots(self._ours, ours), _struct_slots(self._theirs, theirs), rigid=True)]
        yield from found
        our_size, our_alignment, _ = self._ours.struct_layout(ours.name)
        their_size, their_alignment, _ = self._theirs.struct_layout(theirs.name)
        if (our_size, our_alignment) != (their_size, their_alignment) and not any(each.breaking for each in found):
            yield Difference(
                path,
                "layout of struct changed",
                f"{our_size} bytes aligned to {our_alignment}",
                f"{their_size} bytes aligned to {their_alignment}",
                breaking=True,
            )

    def _fields(
        self, path: str, ours: list[_Slot], theirs: list[_Slot], *, rigid: bool = False
    ) -> Iterator[Difference]:
        """Differences between the fields of two tables or, `rigid`, structs."""
        our_names, their_names = ({slot.name: slot for slot in side} for side in (ours, theirs))
        # Places count only for fields whose name the other side does not have: one that moved is nobody else's partner.
        our_places = {slot.place: slot for slot in ours if slot.name not in their_names}
        their_places = {slot.place: slot for slot in theirs if slot.name not in our_names}
        for slot in ours:
            partner = their_names.get(slot.name) or their_places.get(slot.place)
            if partner:
                yield from self._slot(path, slot, partner, rigid=rigid)
            elif not slot.is_tag:
                self._only_ours.append(f"{path}.{slot.name}")
                yield _alone(path, slot, ours=True, rigid=rigid)
        for slot in theirs:
            if slot.name not in our_names and slot.place not in our_places and not slot.is_tag:
                self._only_theirs.append(f"{path}.{slot.name}")
                yield _alone(path, slot, ours=False, rigid=rigid)

    def _slot(self, path: str, ours: _Slot, theirs: _Slot, *, rigid: bool) -> Iterator[Difference]:
        if ours.is_tag and theirs.is_tag:
            return  # whatever is different is so in the values' slots
        path = f"{path}.{ours.name}"
        if ours.name != theirs.name:
            yield Difference(path, "name changed", ours.name, theirs.name, breaking=False)
        if ours.place != theirs.place:
            yield Difference(path, "place changed", f"{ours.place}", f"{theirs.place}", breaking=True)
        if ours.type != theirs.type:
            yield Difference(path, "type changed", _shown(ours.type), _shown(theirs.type), breaking=True)
        elif not rigid:
            yield from self._presence(path, ours.field, theirs.field)

    def _presence(self, path: str, ours: Field, theirs: Field) -> Iterator[Difference]:
        """What is different when the field is absent."""
        if (wire_default(self._ours, ours), ours.optional) != (wire_default(self._theirs, theirs), theirs.optional):
            yield Difference(path, "default changed", _default(ours), _default(theirs), breaking=True)
        if ours.deprecated != theirs.deprecated:
            words = ("in use", "deprecated")
            yield Difference(path, "deprecated", words[ours.deprecated], words[theirs.deprecated], breaking=False)
        if _required(ours) != _required(theirs):
            words = ("may be absent", "is required")
            yield Difference(path, "required", words[_required(ours)], words[_required(theirs)], breaking=True)


# ---- slots -----------------------------------------------------------------------------------------------------------


def _table_slots(schema: Schema, table: TableDefinition) -> list[_Slot]:
    slots = []
    for field in table.fields:
        element = field.type.element if isinstance(field.type, Vector) else field.type
        if isinstance(element, Named) and isinstance(schema.definitions[element.name], UnionDefinition):
            tag_type = f"tag of {type_text(field.type)}"
            slots.append(_Slot(f"{field.name}_type", field.id - 1, tag_type, field, is_tag=True))
        slots.append(_Slot(field.name, field.id, type_text(field.type), field))
    return slots


def _struct_slots(schema: Schema, struct: StructDefinition) -> list[_Slot]:
    offsets = schema.struct_layout(struct.name)[2]
    return [
        _Slot(field.name, offset, type_text(field.type), field)
        for field, offset in zip(struct.fields, offsets, strict=True)
    ]


def _alone(path: str, slot: _Slot, *, ours: bool, rigid: bool) -> Difference:
    """Of a field that one version does not have. Every message of that version is without it."""
    required = _required(slot.field)
    shown = f"{'required ' if required else ''}{_shown(slot.type)}"
    sides = (shown, _NOTHING) if ours else (_NOTHING, shown)
    return Difference(f"{path}.{slot.name}", "field only in one version", *sides, breaking=required or rigid)


def _required(field: Field) -> bool:
    return field.required and not field.deprecated


def _default(field: Field) -> str:
    if field.optional:
        return "no default (optional)"
    if isinstance(field.default, str):
        return field.default or '""'
    if field.default is None:
        return "no default"
    return str(field.default)


# ---- enums and unions ------------------------------------------------------------------------------------------------


def _enum_differences(path: str, ours: EnumDefinition, theirs: EnumDefinition) -> Iterator[Difference]:
    if ours.underlying is not theirs.underlying:
        names = ours.underlying.fbs_name, theirs.underlying.fbs_name
        yield Difference(path, "type beneath the enum changed", *names, breaking=True)
    if ours.bit_flags != theirs.bit_flags:
        words = ("plain values", "bit flags")
        yield Difference(path, "bit_flags", words[ours.bit_flags], words[theirs.bit_flags], breaking=False)
    yield from _value_differences(path, dict(ours.values), dict(theirs.values))


def _union_differences(path: str, ours: UnionDefinition, theirs: UnionDefinition) -> Iterator[Difference]:
    our_tags = {member.name: member.tag for member in ours.members}
    yield from _value_differences(path, our_tags, {member.name: member.tag for member in theirs.members})
    by_tag = {member.tag: member for member in theirs.members}
    for member in ours.members:
        other = by_tag.get(member.tag)
        if other and other.type != member.type:
            types = _shown(type_text(member.type)), _shown(type_text(other.type))
            yield Difference(f"{path}.{member.name}", f"type behind tag {member.tag} changed", *types, breaking=True)


def _value_differences(path: str, ours: dict[str, int], theirs: dict[str, int]) -> Iterator[Difference]:
    """Of an enum's values or a union's tags, by name. New ones break nothing: readers must bear unknown numbers."""
    our_names, their_names = ({number: name for name, number in side.items()} for side in (ours, theirs))
    for name, number in ours.items():
        if name in theirs and theirs[name] != number:
            yield Difference(f"{path}.{name}", "number changed", f"{number}", f"{theirs[name]}", breaking=True)
        elif name not in theirs:
            other = their_names.get(number)
            what = f"name of {number} changed" if other else f"{number} only in one version"
            yield Difference(f"{path}.{name}", what, name, other or _NOTHING, breaking=False)
    for name, number in theirs.items():
        if name not in ours and number not in our_names:
            yield Difference(f"{path}.{name}", f"{number} only in one version", _NOTHING, name, breaking=False)


# ---- words -----------------------------------------------------------------------------------------------------------


def _inner_paths(path: str, ours: Definition, theirs: Definition) -> Iterator[tuple[str, str]]:
    """Where two versions of a definition lead to the same one, and its name."""
    their_types = {type_ for _, type_ in _parts(theirs)}
    for name, type_ in _parts(ours):
        element = type_.element if isinstance(type_, Vector | Array) else type_
        if isinstance(element, Named) and type_ in their_types:
            yield f"{path}.{name}{'' if element is type_ else '[]'}", element.name


def _parts(definition: Definition) -> list[tuple[str, SchemaType]]:
    match definition:
        case TableDefinition() | StructDefinition():
            return [(field.name, field.type) for field in definition.fields]
        case UnionDefinition():
            return [(member.name, member.type) for member in definition.members]
        case EnumDefinition():
            return []


def _kind(definition: Definition) -> str:
    return type(definition).__name__.removesuffix("Definition").lower()


def _shown(type_: str) -> str:
    """A type as users write it: without the dots that mark the names of definitions."""
    return type_.replace("[.", "[").removeprefix(".").replace("tag of .", "tag of ")
