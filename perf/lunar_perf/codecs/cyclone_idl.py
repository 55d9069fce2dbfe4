"""CDR by cyclonedds-python's IDL classes, which were the package pycdr2 before: no participant, no topic."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Any

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import array, float64, int32, uint32

from lunar_perf.codec_peer import Codec
from lunar_perf.codec_values import Flat, ImuValues


def _struct(name: str, fields: dict[str, Any]) -> Any:
    return make_dataclass(name, list(fields.items()), bases=(IdlStruct,))


def open_codec() -> Codec[Any]:
    """See :class:`lunar_perf.codec_peer.Codec`."""
    time = _struct("Time", {"sec": int32, "nanosec": uint32})
    header = _struct("Header", {"stamp": time, "frame_id": str})
    quaternion = _struct("Quaternion", dict.fromkeys("xyzw", float64))
    vector3 = _struct("Vector3", dict.fromkeys("xyz", float64))
    imu_class = _struct(
        "Imu",
        {
            "header": header,
            "orientation": quaternion,
            "orientation_covariance": array[float64, 9],
            "angular_velocity": vector3,
            "angular_velocity_covariance": array[float64, 9],
            "linear_acceleration": vector3,
            "linear_acceleration_covariance": array[float64, 9],
        },
    )

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

    def encode(imu: Any) -> bytes:
        data: bytes = imu.serialize()
        return data

    def read_one(data: bytes) -> float:
        number: float = imu_class.deserialize(data).linear_acceleration.z
        return number

    def read_all(data: bytes) -> Flat:
        imu = imu_class.deserialize(data)
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

    return Codec(make, encode, read_one, read_all)
