"""Cap'n Proto by pycapnp: the schema below is loaded at run time, messages are written by its builder.

The format has no fixed arrays: covariances are lists. Reading is lazy, as with FlatBuffers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import capnp

from lunar_perf.codec_peer import Codec
from lunar_perf.codec_values import Flat, ImuValues

_SCHEMA = """\
@0xd2a1f3b4c5e6f708;
struct Time { sec @0 :Int32; nanosec @1 :UInt32; }
struct Header { stamp @0 :Time; frameId @1 :Text; }
struct Quaternion { x @0 :Float64; y @1 :Float64; z @2 :Float64; w @3 :Float64; }
struct Vector3 { x @0 :Float64; y @1 :Float64; z @2 :Float64; }
struct Imu {
  header @0 :Header;
  orientation @1 :Quaternion;
  orientationCovariance @2 :List(Float64);
  angularVelocity @3 :Vector3;
  angularVelocityCovariance @4 :List(Float64);
  linearAcceleration @5 :Vector3;
  linearAccelerationCovariance @6 :List(Float64);
}
"""


def _imu_class() -> Any:
    with tempfile.TemporaryDirectory(prefix="lunar-perf-") as folder:
        path = Path(folder, "imu.capnp")
        path.write_text(_SCHEMA)
        return capnp.load(str(path)).Imu


def open_codec() -> Codec[Any]:
    """See :class:`lunar_perf.codec_peer.Codec`."""
    imu_class = _imu_class()

    def make(values: ImuValues) -> Any:
        imu = imu_class.new_message()
        header = imu.init("header")
        stamp = header.init("stamp")
        stamp.sec, stamp.nanosec, header.frameId = values.sec, values.nanosec, values.frame_id
        turn = imu.init("orientation")
        turn.x, turn.y, turn.z, turn.w = values.orientation
        turning = imu.init("angularVelocity")
        turning.x, turning.y, turning.z = values.angular_velocity
        acceleration = imu.init("linearAcceleration")
        acceleration.x, acceleration.y, acceleration.z = values.linear_acceleration
        imu.orientationCovariance = values.orientation_covariance
        imu.angularVelocityCovariance = values.angular_velocity_covariance
        imu.linearAccelerationCovariance = values.linear_acceleration_covariance
        return imu

    def encode(imu: Any) -> bytes:
        data: bytes = imu.to_bytes()
        imu.clear_write_flag()  # without this, writing the same message again warns
        return data

    def read_one(data: bytes) -> float:
        with imu_class.from_bytes(data) as imu:
            number: float = imu.linearAcceleration.z
            return number

    def read_all(data: bytes) -> Flat:
        with imu_class.from_bytes(data) as imu:
            header, turn, turning, acceleration = (
                *(imu.header, imu.orientation),
                *(imu.angularVelocity, imu.linearAcceleration),
            )
            return (
                *(header.stamp.sec, header.stamp.nanosec, header.frameId),
                *(turn.x, turn.y, turn.z, turn.w),
                *(turning.x, turning.y, turning.z),
                *(acceleration.x, acceleration.y, acceleration.z),
                *imu.orientationCovariance,
                *imu.angularVelocityCovariance,
                *imu.linearAccelerationCovariance,
            )

    return Codec(make, encode, read_one, read_all)
