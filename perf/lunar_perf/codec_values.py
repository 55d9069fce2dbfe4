"""The values that every measured codec is given: plain Python numbers and text, in the shape of a `sensor_msgs.Imu`."""

from __future__ import annotations

from dataclasses import dataclass

Flat = tuple[int | float | str, ...]
"""All values of a message in a row: what `Codec.read_all` returns."""


@dataclass(frozen=True, slots=True)
class ImuValues:
    """A measurement of an inertial unit.

    Attributes:
        sec: of its time, whole seconds.
        nanosec: of its time, the rest.
        frame_id: coordinate frame.
        orientation: x, y, z, w.
        angular_velocity: x, y, z.
        linear_acceleration: x, y, z.
        orientation_covariance: row by row.
        angular_velocity_covariance: row by row.
        linear_acceleration_covariance: row by row.
    """

    sec: int
    nanosec: int
    frame_id: str
    orientation: tuple[float, float, float, float]
    angular_velocity: tuple[float, float, float]
    linear_acceleration: tuple[float, float, float]
    orientation_covariance: tuple[float, ...]
    angular_velocity_covariance: tuple[float, ...]
    linear_acceleration_covariance: tuple[float, ...]

    def flat(self) -> Flat:
        """All values in a row, in the order of the attributes."""
        return (
            self.sec,
            self.nanosec,
            self.frame_id,
            *self.orientation,
            *self.angular_velocity,
            *self.linear_acceleration,
            *self.orientation_covariance,
            *self.angular_velocity_covariance,
            *self.linear_acceleration_covariance,
        )


# No value is its type's default, which some of the formats would leave out, and none is a number that packs shorter.
IMU = ImuValues(
    sec=1_763_888_400,
    nanosec=123_456_789,
    frame_id="imu_link",
    orientation=(0.1, -0.2, 0.3, 0.9273618495495704),
    angular_velocity=(0.01, -0.02, 0.03),
    linear_acceleration=(0.15, -0.25, 9.80665),
    orientation_covariance=tuple(0.0015 + 0.0001 * index for index in range(9)),
    angular_velocity_covariance=tuple(0.0025 + 0.0001 * index for index in range(9)),
    linear_acceleration_covariance=tuple(0.0035 + 0.0001 * index for index in range(9)),
)

FLOATS = tuple(0.5 + index for index in range(10))
LABEL = "front_left_wheel"
BLOCK = bytes(range(100))
