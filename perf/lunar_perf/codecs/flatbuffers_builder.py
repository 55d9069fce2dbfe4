"""The official FlatBuffers runtime, called as the Python that flatc generates calls it, without its layer of functions.

The layout is that of `sensor_msgs.Imu` in idl/: what this writes Lunar reads, and the reverse. The runtime has no
message objects besides those of the slower object API, so making one is nothing here; and it has no verifier.
"""

from __future__ import annotations

from mmap import mmap

import flatbuffers
from flatbuffers import number_types as n
from flatbuffers.table import Table

from lunar_perf.codec_peer import Codec
from lunar_perf.codec_values import Flat, ImuValues

_FLOAT64, _INT32, _UINT32 = n.Float64Flags, n.Int32Flags, n.Uint32Flags


def make(values: ImuValues) -> ImuValues:
    """The values themselves."""
    return values


def _put_struct(builder: flatbuffers.Builder, numbers: tuple[float, ...]) -> int:
    # A struct is written in place, right before its slot, from its last field to its first.
    builder.Prep(8, 8 * len(numbers))
    for number in reversed(numbers):
        builder.PrependFloat64(number)
    offset: int = builder.Offset()
    return offset


def encode(values: ImuValues) -> bytes:
    """A FlatBuffer."""
    builder = flatbuffers.Builder(512)
    frame_id = builder.CreateString(values.frame_id)
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(1, frame_id, 0)
    builder.Prep(4, 8)
    builder.PrependUint32(values.nanosec)
    builder.PrependInt32(values.sec)
    builder.PrependStructSlot(0, builder.Offset(), 0)
    header = builder.EndObject()
    builder.StartObject(7)
    builder.PrependUOffsetTRelativeSlot(0, header, 0)
    builder.PrependStructSlot(1, _put_struct(builder, values.orientation), 0)
    builder.PrependStructSlot(2, _put_struct(builder, values.orientation_covariance), 0)
    builder.PrependStructSlot(3, _put_struct(builder, values.angular_velocity), 0)
    builder.PrependStructSlot(4, _put_struct(builder, values.angular_velocity_covariance), 0)
    builder.PrependStructSlot(5, _put_struct(builder, values.linear_acceleration), 0)
    builder.PrependStructSlot(6, _put_struct(builder, values.linear_acceleration_covariance), 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def encode_mixed(floats: tuple[float, ...], label: str, block: bytes, into: mmap) -> int:
    """Write ten numbers, a text and a block of bytes; the builder has memory of its own, so the result is copied.

    Returns:
        How many bytes there are in ``into``.
    """
    builder = flatbuffers.Builder(512)
    block_at = builder.CreateByteVector(block)
    label_at = builder.CreateString(label)
    builder.StartObject(12)
    for slot, number in enumerate(floats):
        builder.PrependFloat64Slot(slot, number, 0.0)
    builder.PrependUOffsetTRelativeSlot(10, label_at, 0)
    builder.PrependUOffsetTRelativeSlot(11, block_at, 0)
    builder.Finish(builder.EndObject())
    output = builder.Output()
    size = len(output)
    into[:size] = output
    return size


def _root(data: bytes) -> Table:
    return Table(data, flatbuffers.encode.Get(flatbuffers.packer.uoffset, data, 0))


def _floats(table: Table, slot: int, count: int) -> tuple[float, ...]:
    at = table.Offset(4 + 2 * slot) + table.Pos
    return tuple(table.Get(_FLOAT64, at + 8 * index) for index in range(count))


def _array(table: Table, slot: int) -> list[float]:
    numbers: list[float] = table.GetArrayAsNumpy(_FLOAT64, table.Offset(4 + 2 * slot) + table.Pos, 9).tolist()
    return numbers


def read_one(data: bytes) -> float:
    """One value."""
    table = _root(data)
    number: float = table.Get(_FLOAT64, table.Offset(4 + 2 * 5) + table.Pos + 16)
    return number


def read_all(data: bytes) -> Flat:
    """Every value."""
    table = _root(data)
    header = Table(data, table.Indirect(table.Offset(4) + table.Pos))
    stamp = header.Offset(4) + header.Pos
    frame_id: str = header.String(header.Offset(6) + header.Pos).decode()
    return (
        *(header.Get(_INT32, stamp), header.Get(_UINT32, stamp + 4), frame_id),
        *(*_floats(table, 1, 4), *_floats(table, 3, 3), *_floats(table, 5, 3)),
        *(*_array(table, 2), *_array(table, 4), *_array(table, 6)),
    )


def open_codec() -> Codec[ImuValues]:
    """See :class:`lunar_perf.codec_peer.Codec`."""
    return Codec(make, encode, read_one, read_all)
