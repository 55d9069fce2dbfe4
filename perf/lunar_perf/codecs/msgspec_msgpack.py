"""MessagePack by msgspec, as its documentation recommends for speed: array-like structs, a typed decoder, no gc."""

from __future__ import annotations

from typing import Any

import msgspec

from lunar_perf.codec_peer import Codec
from lunar_perf.codec_values import Flat, ImuValues


def _struct(name: str, fields: dict[str, Any]) -> Any:
    return msgspec.defstruct(name, list(fields.items()), array_like=True, gc=False)


def open_codec() -> Codec[Any]:
    """See :class:`lunar_perf.codec_peer.Codec`."""
    time = _struct("Time", {"sec": int, "nanosec": int})
    header = _struct("Header", {"stamp": time, "frame_id": str})
    quaternion = _struct("Quaternion", dict.fromkeys("xyzw", float))
    vector3 = _struct("Vector3", dict.fromkeys("xyz", float))
    imu_class = _struct(
        "Imu",
        {
            "header": header,
            "orientation": quaternion,
            "orientation_covariance": tuple[float, ...],
            "angular_velocity": vector3,
            "angular_velocity_covariance": tuple[float, ...],
            "linear_acceleration": vector3,
            "linear_acceleration_covariance": tuple[float, ...],
        },
    )
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(imu_class).decode

    def make(values: ImuValues) -> Any:
        return imu_class(
            header(time(values.sec, values.nanosec), values.frame_id),
            quaternion(*values.orientation),
            values.orientation_covariance,
            vector3(*values.angular_velocity),
            values.angular_velocity_covariance,
            vector3(*values.linear_acceleration),
            values.linear_acceleration_covariance,
        )

    def read_all(data: bytes) -> Flat:
        imu = decode(data)
        stamp, turn, turning, acceleration = (
            *(imu.header.stamp, imu.orientation),
            *(imu.angular_velocity, imu.linear_acceleration),
        )
        return (
            *(stamp.sec, stamp.nanosec, imu.header.frame_id),
            *(turn.x, turn.y, turn.z, turn.w),
            *(turning.x, turning.y, turning.z),
            *(acceleration.x, acceleration.y, acceleration.z),
            *imu.orientation_covariance,
            *imu.angular_velocity_covariance,
            *imu.linear_acceleration_covariance,
        )

    return Codec(make, encode, lambda data: decode(data).linear_acceleration.z, read_all)
