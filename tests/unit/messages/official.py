"""Messages through the official Python runtime, by schema: what it reads and writes, independent of our codec.

A message is compared as a tree: numbers, text, lists, dicts by field, a union as a pair of its alternative and a tree.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
from flatbuffers import encode, packer
from flatbuffers import number_types as n
from flatbuffers.table import Table

from lunar.messages import Message
from lunar.messages.schema import (
    Array,
    EnumDefinition,
    Named,
    Scalar,
    Schema,
    String,
    StructDefinition,
    TableDefinition,
    UnionDefinition,
    UnionMember,
    Vector,
)

Tree = Any


def _definitions(schema: Schema) -> Any:
    return schema.definitions


FLAGS = {
    Scalar.BOOL: n.BoolFlags,
    Scalar.INT8: n.Int8Flags,
    Scalar.UINT8: n.Uint8Flags,
    Scalar.INT16: n.Int16Flags,
    Scalar.UINT16: n.Uint16Flags,
    Scalar.INT32: n.Int32Flags,
    Scalar.UINT32: n.Uint32Flags,
    Scalar.INT64: n.Int64Flags,
    Scalar.UINT64: n.Uint64Flags,
    Scalar.FLOAT32: n.Float32Flags,
    Scalar.FLOAT64: n.Float64Flags,
}


def scalar_of(schema: Schema, type_: Any) -> Scalar | None:
    if isinstance(type_, Named):
        definition = _definitions(schema)[type_.name]
        return definition.underlying if isinstance(definition, EnumDefinition) else None
    return type_ if isinstance(type_, Scalar) else None


def union_of(schema: Schema, type_: Any) -> UnionDefinition | None:
    element = type_.element if isinstance(type_, Vector) else type_
    definition = _definitions(schema)[element.name] if isinstance(element, Named) else None
    return definition if isinstance(definition, UnionDefinition) else None


def is_struct(schema: Schema, type_: Any) -> bool:
    return isinstance(type_, Named) and isinstance(_definitions(schema)[type_.name], StructDefinition)


def shown(definition: Any) -> list[Any]:
    return [each for each in definition.fields if not each.deprecated]


# ---- ours as a tree -------------------------------------------------------------------------------------------------


def tree_of(schema: Schema, name: str, message: Message) -> Tree:
    """What our classes say of a message."""
    definition = _definitions(schema)[name]
    assert isinstance(definition, TableDefinition | StructDefinition)
    tree = {}
    for each in shown(definition):
        value = getattr(message, each.name)
        if value is not None:
            tree[each.name] = _value_tree(schema, each.type, value)
    return tree


def _value_tree(schema: Schema, type_: Any, value: Any) -> Tree:
    if isinstance(type_, Vector | Array):
        if scalar_of(schema, type_.element) is not None:
            return value.reshape(-1).tolist()
        return [_value_tree(schema, type_.element, element) for element in value]
    union = union_of(schema, type_)
    if union is not None:
        if value is None:  # an element that is NONE, or unknown
            return None
        member = next(each for each in union.members if _is_of(each, value))
        return (member.name, _value_tree(schema, member.type, value))
    if scalar_of(schema, type_) is not None:
        return int(value) if isinstance(value, int) and not isinstance(value, bool) else value  # also of an enum
    if isinstance(type_, Named):
        return tree_of(schema, type_.name, value)
    return value


def _is_of(member: UnionMember, value: Any) -> bool:
    if isinstance(member.type, String):
        return isinstance(value, str)
    return not isinstance(value, str) and type(value).__lunar_plan__.name == member.type.name


# ---- the official runtime reads -------------------------------------------------------------------------------------


def official_tree(schema: Schema, name: str, blob: bytes) -> Tree:
    """What the official runtime reads."""
    buffer = bytearray(blob)
    return _read_table(schema, name, Table(buffer, encode.Get(packer.uoffset, buffer, 0)))


def _read_table(schema: Schema, name: str, table: Table) -> Tree:
    tree = {}
    for each in shown(_definitions(schema)[name]):
        at = table.Offset(4 + 2 * each.id)
        value = _read_value(schema, each, table, at) if at else _absent(schema, each)
        if value is not None:
            tree[each.name] = value
    return tree


def _absent(schema: Schema, each: Any) -> Tree:
    scalar = scalar_of(schema, each.type)
    if scalar is not None:
        return None if each.optional else _default(scalar, each.default)
    if isinstance(each.type, Vector):
        return None if _is_full(each) else []
    return each.default


def _is_full(each: Any) -> bool:
    """Of a shape that no empty vector has."""
    return bool(each.shape) and each.shape[0] is not None


def _default(scalar: Scalar, default: Any) -> Tree:
    number = 0 if default is None else default
    if scalar is Scalar.BOOL:
        return bool(number)
    if scalar is Scalar.FLOAT32:
        return struct.unpack("<f", struct.pack("<f", number))[0]
    return float(number) if scalar.is_float else int(number)


def _read_value(schema: Schema, each: Any, table: Table, at: int) -> Tree:
    scalar = scalar_of(schema, each.type)
    if scalar is not None:
        return table.Get(FLAGS[scalar], table.Pos + at)
    if isinstance(each.type, Vector):
        return _read_vector(schema, each, table, at)
    union = union_of(schema, each.type)
    if union is not None:
        tag_at = table.Offset(4 + 2 * (each.id - 1))
        tag = table.Get(n.Uint8Flags, table.Pos + tag_at) if tag_at else 0
        return _read_member(schema, union, tag, table, table.Pos + at)
    if isinstance(each.type, String):
        return table.String(table.Pos + at).decode()
    if is_struct(schema, each.type):
        return _read_struct(schema, each.type.name, table, table.Pos + at)
    return _read_table(schema, each.type.name, Table(table.Bytes, table.Indirect(table.Pos + at)))


def _read_member(schema: Schema, union: UnionDefinition, tag: int, table: Table, at: int) -> Tree:
    member = next((each for each in union.members if each.tag == tag), None)
    if member is None:
        return None
    if isinstance(member.type, String):
        return (member.name, table.String(at).decode())
    if is_struct(schema, member.type):
        return (member.name, _read_struct(schema, member.type.name, table, table.Indirect(at)))
    return (member.name, _read_table(schema, member.type.name, Table(table.Bytes, table.Indirect(at))))


def _read_vector(schema: Schema, each: Any, table: Table, at: int) -> list[Tree]:
    start, count, element = table.Vector(at), table.VectorLen(at), each.type.element
    scalar = scalar_of(schema, element)
    if scalar is not None:
        return [table.Get(FLAGS[scalar], start + i * scalar.size_bytes) for i in range(count)]
    if isinstance(element, String):
        return [table.String(start + 4 * i).decode() for i in range(count)]
    union = union_of(schema, element)
    if union is not None:
        tags_at = table.Offset(4 + 2 * (each.id - 1))
        tags = table.Vector(tags_at)
        assert table.VectorLen(tags_at) == count
        return [_read_member(schema, union, table.Bytes[tags + i], table, start + 4 * i) for i in range(count)]
    if is_struct(schema, element):
        size = schema.struct_layout(element.name)[0]
        return [_read_struct(schema, element.name, table, start + i * size) for i in range(count)]
    return [_read_table(schema, element.name, Table(table.Bytes, table.Indirect(start + 4 * i))) for i in range(count)]


def _read_struct(schema: Schema, name: str, table: Table, at: int) -> Tree:
    definition = _definitions(schema)[name]
    tree = {}
    for each, offset in zip(definition.fields, schema.struct_layout(name)[2], strict=True):
        element = each.type.element if isinstance(each.type, Array) else each.type
        size = schema.inline_size(element)[0]
        count = each.type.length if isinstance(each.type, Array) else 1
        values = [_read_inline(schema, element, table, at + offset + i * size) for i in range(count)]
        tree[each.name] = values if isinstance(each.type, Array) else values[0]
    return tree


def _read_inline(schema: Schema, type_: Any, table: Table, at: int) -> Tree:
    scalar = scalar_of(schema, type_)
    return table.Get(FLAGS[scalar], at) if scalar is not None else _read_struct(schema, type_.name, table, at)


# ---- the official builder writes ------------------------------------------------------------------------------------


def official_bytes(schema: Schema, name: str, tree: Tree) -> bytes:
    """What the official builder writes for a tree."""
    builder = flatbuffers.Builder(64)
    root = _write_table(schema, name, builder, tree)
    identifier = schema.file_identifier if name == schema.root else None
    builder.Finish(root, identifier.encode() if identifier else None)
    return bytes(builder.Output())


def _write_table(schema: Schema, name: str, builder: flatbuffers.Builder, tree: Mapping[str, Tree]) -> Any:
    definition = _definitions(schema)[name]
    children = {}
    for each in shown(definition):
        value = tree.get(each.name)
        if value is not None and scalar_of(schema, each.type) is None and not is_struct(schema, each.type):
            children[each.name] = _write_child(schema, each, builder, value)
    builder.StartObject(max((each.id + 1 for each in definition.fields), default=0))
    for each in shown(definition):
        value = tree.get(each.name)
        if value is None:
            continue
        scalar = scalar_of(schema, each.type)
        if scalar is not None:
            builder.PrependSlot(
                FLAGS[scalar], each.id, value, None if each.optional else _default(scalar, each.default)
            )
        elif is_struct(schema, each.type):
            builder.PrependStructSlot(each.id, _write_struct(schema, each.type.name, builder, value), 0)
        else:
            _write_slot(schema, each, builder, children[each.name], value)
    return builder.EndObject()


def _write_slot(schema: Schema, each: Any, builder: flatbuffers.Builder, child: Any, value: Tree) -> None:
    union = union_of(schema, each.type)
    if union is not None and isinstance(each.type, Vector):
        builder.PrependUOffsetTRelativeSlot(each.id - 1, child[0], 0)
        builder.PrependUOffsetTRelativeSlot(each.id, child[1], 0)
        return
    if union is not None:
        builder.PrependUint8Slot(each.id - 1, _tag(union, value), 0)
    builder.PrependUOffsetTRelativeSlot(each.id, child, 0)


def _tag(union: UnionDefinition, value: Tree) -> Any:
    return next(each.tag for each in union.members if each.name == value[0])


def _write_child(schema: Schema, each: Any, builder: flatbuffers.Builder, value: Tree) -> Any:
    if not isinstance(each.type, Vector):
        return _write_target(schema, each.type, builder, value)
    element: Any = each.type.element
    scalar = scalar_of(schema, element)
    union = union_of(schema, element)
    if scalar is not None:
        return _write_inline(builder, scalar.size_bytes, scalar.size_bytes, [_pack(scalar, v) for v in value])
    if is_struct(schema, element):
        size, alignment, _ = schema.struct_layout(element.name)
        return _write_inline(builder, size, alignment, [_struct_bytes(schema, element.name, v) for v in value])
    offsets = [_write_target(schema, element, builder, v) for v in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    vector = builder.EndVector()
    if union is None:
        return vector
    return _write_inline(builder, 1, 1, [bytes([_tag(union, v)]) for v in value]), vector


def _write_target(schema: Schema, type_: Any, builder: flatbuffers.Builder, value: Tree) -> Any:
    union = union_of(schema, type_)
    if union is not None:
        member = next(each for each in union.members if each.name == value[0])
        type_, value = member.type, value[1]
    if isinstance(type_, String):
        return builder.CreateString(value)
    if is_struct(schema, type_):
        return _write_struct(schema, type_.name, builder, value)
    return _write_table(schema, type_.name, builder, value)


def _write_inline(builder: flatbuffers.Builder, size: int, alignment: int, elements: Sequence[bytes]) -> Any:
    builder.StartVector(size, len(elements), alignment)
    for element in reversed(elements):
        _place(builder, element)
    return builder.EndVector()


def _place(builder: flatbuffers.Builder, data: bytes) -> None:
    head = builder.head = builder.head - len(data)
    builder.Bytes[head : head + len(data)] = data


def _write_struct(schema: Schema, name: str, builder: flatbuffers.Builder, tree: Tree) -> Any:
    size, alignment, _ = schema.struct_layout(name)
    builder.Prep(alignment, size)
    _place(builder, _struct_bytes(schema, name, tree))
    return builder.Offset()


def _struct_bytes(schema: Schema, name: str, tree: Tree) -> bytes:
    size, _, offsets = schema.struct_layout(name)
    data = bytearray(size)
    for each, offset in zip(_definitions(schema)[name].fields, offsets, strict=True):
        values = tree[each.name] if isinstance(each.type, Array) else [tree[each.name]]
        element = each.type.element if isinstance(each.type, Array) else each.type
        scalar = scalar_of(schema, element)
        packed = b"".join(
            _pack(scalar, value) if scalar is not None else _struct_bytes(schema, element.name, value)
            for value in values
        )
        data[offset : offset + len(packed)] = packed
    return bytes(data)


def _pack(scalar: Scalar, value: Tree) -> bytes:
    return struct.pack("<" + scalar.format_code, value)
