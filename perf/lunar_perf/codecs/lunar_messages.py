"""Lunar's codec, through the functions that users call."""

from __future__ import annotations

from lunar.messages import decode, encode
from lunar.msgs import Covariance3, Header, Imu, Quaternion, Time, Vector3
from lunar_perf.codec_peer import Codec
from lunar_perf.codec_values import Flat, ImuValues


def make(values: ImuValues) -> Imu:
    """A message of the values."""
    return Imu(
        header=Header(stamp=Time(values.sec, values.nanosec), frame_id=values.frame_id),
        orientation=Quaternion(*values.orientation),
        orientation_covariance=Covariance3(values.orientation_covariance),
        angular_velocity=Vector3(*values.angular_velocity),
        angular_velocity_covariance=Covariance3(values.angular_velocity_covariance),
        linear_acceleration=Vector3(*values.linear_acceleration),
        linear_acceleration_covariance=Covariance3(values.linear_acceleration_covariance),
    )


def read_one(data: bytes) -> float:
    """One value."""
    acceleration = decode(Imu, data).linear_acceleration
    return acceleration.z if acceleration is not None else 0.0


def read_all(data: bytes) -> Flat:
    """Every value."""
    imu = decode(Imu, data)
    header, orientation = imu.header, imu.orientation
    turning, acceleration = imu.angular_velocity, imu.linear_acceleration
    covariances = imu.orientation_covariance, imu.angular_velocity_covariance, imu.linear_acceleration_covariance
    if header is None or header.stamp is None or orientation is None or turning is None or acceleration is None:
        raise ValueError("an absent field")
    stamp = header.stamp
    first, second, third = (covariance.matrix.tolist() for covariance in covariances if covariance is not None)
    return (
        *(stamp.sec, stamp.nanosec, header.frame_id or ""),
        *(orientation.x, orientation.y, orientation.z, orientation.w),
        *(turning.x, turning.y, turning.z),
        *(acceleration.x, acceleration.y, acceleration.z),
        *(*first[0], *first[1], *first[2]),
        *(*second[0], *second[1], *second[2]),
        *(*third[0], *third[1], *third[2]),
    )


def open_codec() -> Codec[Imu]:
    """See :class:`lunar_perf.codec_peer.Codec`."""
    return Codec(make, encode, read_one, read_all)
