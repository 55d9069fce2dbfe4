"""Protocol Buffers: proto3, classes made from a descriptor at run time, so that no compiler is needed.

They are those that protoc's generated Python makes: it too hands a descriptor to the runtime (upb, in C).
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lunar_perf.codec_peer import Codec
from lunar_perf.codec_values import Flat, ImuValues

_PACKAGE = "lunar_perf_imu"
_TYPES = descriptor_pb2.FieldDescriptorProto

# Of each message its fields in order: a scalar type's name, "double*" for a packed sequence, or another message.
_MESSAGES: dict[str, dict[str, str]] = {
    "Time": {"sec": "int32", "nanosec": "uint32"},
    "Header": {"stamp": "Time", "frame_id": "string"},
    "Quaternion": dict.fromkeys("xyzw", "double"),
    "Vector3": dict.fromkeys("xyz", "double"),
    "Imu": {
        "header": "Header",
        "orientation": "Quaternion",
        "orientation_covariance": "double*",
        "angular_velocity": "Vector3",
        "angular_velocity_covariance": "double*",
        "linear_acceleration": "Vector3",
        "linear_acceleration_covariance": "double*",
    },
}


def _file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, type_) in enumerate(fields.items(), 1):
            label = _TYPES.LABEL_REPEATED if type_.endswith("*") else _TYPES.LABEL_OPTIONAL
            made = message.field.add(name=field, number=number, label=label)
            if type_ in _MESSAGES:
                made.type, made.type_name = _TYPES.TYPE_MESSAGE, f".{_PACKAGE}.{type_}"
            else:
                made.type = getattr(_TYPES, f"TYPE_{type_.rstrip('*').upper()}")
    return file


def open_codec() -> Codec[Any]:
    """See :class:`lunar_perf.codec_peer.Codec`."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    classes = [message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _MESSAGES]
    time, header, quaternion, vector3, imu_class = classes

    def make(values: ImuValues) -> Any:
        x, y, z, w = values.orientation
        wx, wy, wz = values.angular_velocity
        ax, ay, az = values.linear_acceleration
        return imu_class(
            header=header(stamp=time(sec=values.sec, nanosec=values.nanosec), frame_id=values.frame_id),
            orientation=quaternion(x=x, y=y, z=z, w=w),
            orientation_covariance=values.orientation_covariance,
            angular_velocity=vector3(x=wx, y=wy, z=wz),
            angular_velocity_covariance=values.angular_velocity_covariance,
            linear_acceleration=vector3(x=ax, y=ay, z=az),
            linear_acceleration_covariance=values.linear_acceleration_covariance,
        )

    def read_all(data: bytes) -> Flat:
        imu = imu_class.FromString(data)
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

    return Codec(
        make, imu_class.SerializeToString, lambda data: imu_class.FromString(data).linear_acceleration.z, read_all
    )
