"""The standard messages, named and shaped after ROS 2's common interfaces.

Generated: do not edit.
"""

from collections.abc import Sequence
from enum import IntEnum, IntFlag

import numpy as np
from lunar.messages import Message
from lunar.messages.fields import Array

class Duration(Message):
    """A span of time. A negative one has a negative `sec`; `nanosec` is always added: -0.5 s is sec -1, nanosec 500 000 000."""
    sec: int
    """Whole seconds, s."""
    nanosec: int
    """Nanoseconds to add to them, 0 to 999 999 999."""
    def __init__(
        self,
        sec: int = ...,
        nanosec: int = ...,
    ) -> None: ...

class Time(Message):
    """A point in time: seconds and nanoseconds since the clock's epoch, 1970-01-01 00:00 UTC for the system clock."""
    sec: int
    """Whole seconds, s."""
    nanosec: int
    """Nanoseconds to add to them, 0 to 999 999 999."""
    def __init__(
        self,
        sec: int = ...,
        nanosec: int = ...,
    ) -> None: ...

class DiagnosticArray(Message):
    """How the parts of a machine are doing."""
    header: Header | None
    status: Sequence[DiagnosticStatus]
    def __init__(
        self,
        header: Header | None = ...,
        status: Sequence[DiagnosticStatus] = ...,
    ) -> None: ...

class DiagnosticLevel(IntEnum):
    """How bad it is."""
    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3

class DiagnosticStatus(Message):
    """How one part of a machine is doing."""
    level: DiagnosticLevel
    name: str | None
    """The part."""
    message: str | None
    """In words, for people."""
    hardware_id: str | None
    """Tells equal parts apart, such as a serial number."""
    values: Sequence[KeyValue]
    def __init__(
        self,
        level: DiagnosticLevel = ...,
        name: str | None = ...,
        message: str | None = ...,
        hardware_id: str | None = ...,
        values: Sequence[KeyValue] = ...,
    ) -> None: ...

class KeyValue(Message):
    """One detail."""
    key: str | None
    """What the value is."""
    value: str | None
    def __init__(
        self,
        key: str | None = ...,
        value: str | None = ...,
    ) -> None: ...

class Accel(Message):
    """An acceleration."""
    linear: Vector3
    """m/s^2."""
    angular: Vector3
    """rad/s^2."""
    def __init__(
        self,
        linear: Vector3 = ...,
        angular: Vector3 = ...,
    ) -> None: ...

class AccelStamped(Message):
    """An `Accel` with its time and frame."""
    header: Header | None
    accel: Accel | None
    def __init__(
        self,
        header: Header | None = ...,
        accel: Accel | None = ...,
    ) -> None: ...

class AccelWithCovariance(Message):
    """An acceleration and how sure it is."""
    accel: Accel
    covariance: Array[float]
    """Of the linear (m/s^2) and angular (rad/s^2) accelerations along and about X, Y, Z."""
    def __init__(
        self,
        accel: Accel = ...,
        covariance: Sequence[float] | Sequence[Sequence[float]] | np.ndarray = ...,
    ) -> None: ...

class AccelWithCovarianceStamped(Message):
    """An `AccelWithCovariance` with its time and frame."""
    header: Header | None
    accel: AccelWithCovariance | None
    def __init__(
        self,
        header: Header | None = ...,
        accel: AccelWithCovariance | None = ...,
    ) -> None: ...

class Inertia(Message):
    """How mass is spread in a body."""
    m: float
    """Mass, kg."""
    com: Vector3
    """Centre of mass, m."""
    ixx: float
    """The inertia tensor about it, kg m^2; symmetric, so six numbers are enough."""
    ixy: float
    ixz: float
    iyy: float
    iyz: float
    izz: float
    def __init__(
        self,
        m: float = ...,
        com: Vector3 = ...,
        ixx: float = ...,
        ixy: float = ...,
        ixz: float = ...,
        iyy: float = ...,
        iyz: float = ...,
        izz: float = ...,
    ) -> None: ...

class InertiaStamped(Message):
    """An `Inertia` with its time and frame."""
    header: Header | None
    inertia: Inertia | None
    def __init__(
        self,
        header: Header | None = ...,
        inertia: Inertia | None = ...,
    ) -> None: ...

class Point(Message):
    """A position, m."""
    x: float
    y: float
    z: float
    def __init__(
        self,
        x: float = ...,
        y: float = ...,
        z: float = ...,
    ) -> None: ...

class Point32(Message):
    """A position in single precision, m: for many points."""
    x: float
    y: float
    z: float
    def __init__(
        self,
        x: float = ...,
        y: float = ...,
        z: float = ...,
    ) -> None: ...

class PointStamped(Message):
    """A `Point` with its time and frame."""
    header: Header | None
    point: Point | None
    def __init__(
        self,
        header: Header | None = ...,
        point: Point | None = ...,
    ) -> None: ...

class Polygon(Message):
    """An area: its corners in order, the last joined to the first."""
    points: Sequence[Point32]
    def __init__(
        self,
        points: Sequence[Point32] = ...,
    ) -> None: ...

class PolygonStamped(Message):
    """A `Polygon` with its time and frame."""
    header: Header | None
    polygon: Polygon | None
    def __init__(
        self,
        header: Header | None = ...,
        polygon: Polygon | None = ...,
    ) -> None: ...

class Pose(Message):
    """Where something is and how it is turned."""
    position: Point
    orientation: Quaternion
    def __init__(
        self,
        position: Point = ...,
        orientation: Quaternion = ...,
    ) -> None: ...

class PoseArray(Message):
    """Poses in one frame."""
    header: Header | None
    poses: Sequence[Pose]
    def __init__(
        self,
        header: Header | None = ...,
        poses: Sequence[Pose] = ...,
    ) -> None: ...

class PoseStamped(Message):
    """A `Pose` with its time and frame."""
    header: Header | None
    pose: Pose | None
    def __init__(
        self,
        header: Header | None = ...,
        pose: Pose | None = ...,
    ) -> None: ...

class PoseWithCovariance(Message):
    """A pose and how sure it is."""
    pose: Pose
    covariance: Array[float]
    """Of x, y, z (m) and the rotations about the fixed axes X, Y, Z (rad)."""
    def __init__(
        self,
        pose: Pose = ...,
        covariance: Sequence[float] | Sequence[Sequence[float]] | np.ndarray = ...,
    ) -> None: ...

class PoseWithCovarianceStamped(Message):
    """A `PoseWithCovariance` with its time and frame."""
    header: Header | None
    pose: PoseWithCovariance | None
    def __init__(
        self,
        header: Header | None = ...,
        pose: PoseWithCovariance | None = ...,
    ) -> None: ...

class Quaternion(Message):
    """An orientation as a unit quaternion. No rotation is w = 1; all zeros is no orientation."""
    x: float
    y: float
    z: float
    w: float
    def __init__(
        self,
        x: float = ...,
        y: float = ...,
        z: float = ...,
        w: float = ...,
    ) -> None: ...

class QuaternionStamped(Message):
    """A `Quaternion` with its time and frame."""
    header: Header | None
    quaternion: Quaternion | None
    def __init__(
        self,
        header: Header | None = ...,
        quaternion: Quaternion | None = ...,
    ) -> None: ...

class Transform(Message):
    """From a frame to its child: turn, then move."""
    translation: Vector3
    """m."""
    rotation: Quaternion
    def __init__(
        self,
        translation: Vector3 = ...,
        rotation: Quaternion = ...,
    ) -> None: ...

class TransformStamped(Message):
    """A `Transform` with its time; the header names the parent frame."""
    header: Header | None
    child_frame_id: str | None
    """The frame that the transform leads to."""
    transform: Transform | None
    def __init__(
        self,
        header: Header | None = ...,
        child_frame_id: str | None = ...,
        transform: Transform | None = ...,
    ) -> None: ...

class Twist(Message):
    """A velocity."""
    linear: Vector3
    """m/s."""
    angular: Vector3
    """rad/s."""
    def __init__(
        self,
        linear: Vector3 = ...,
        angular: Vector3 = ...,
    ) -> None: ...

class TwistStamped(Message):
    """A `Twist` with its time and frame."""
    header: Header | None
    twist: Twist | None
    def __init__(
        self,
        header: Header | None = ...,
        twist: Twist | None = ...,
    ) -> None: ...

class TwistWithCovariance(Message):
    """A velocity and how sure it is."""
    twist: Twist
    covariance: Array[float]
    """Of the linear (m/s) and angular (rad/s) velocities along and about X, Y, Z."""
    def __init__(
        self,
        twist: Twist = ...,
        covariance: Sequence[float] | Sequence[Sequence[float]] | np.ndarray = ...,
    ) -> None: ...

class TwistWithCovarianceStamped(Message):
    """A `TwistWithCovariance` with its time and frame."""
    header: Header | None
    twist: TwistWithCovariance | None
    def __init__(
        self,
        header: Header | None = ...,
        twist: TwistWithCovariance | None = ...,
    ) -> None: ...

class Vector3(Message):
    """A direction with a length, in the unit of what it measures. Turns with its frame, but is not moved by it."""
    x: float
    y: float
    z: float
    def __init__(
        self,
        x: float = ...,
        y: float = ...,
        z: float = ...,
    ) -> None: ...

class Vector3Stamped(Message):
    """A `Vector3` with its time and frame."""
    header: Header | None
    vector: Vector3 | None
    def __init__(
        self,
        header: Header | None = ...,
        vector: Vector3 | None = ...,
    ) -> None: ...

class Wrench(Message):
    """A force and a torque."""
    force: Vector3
    """N."""
    torque: Vector3
    """N m."""
    def __init__(
        self,
        force: Vector3 = ...,
        torque: Vector3 = ...,
    ) -> None: ...

class WrenchStamped(Message):
    """A `Wrench` with its time and frame."""
    header: Header | None
    wrench: Wrench | None
    def __init__(
        self,
        header: Header | None = ...,
        wrench: Wrench | None = ...,
    ) -> None: ...

class MapMetaData(Message):
    """Size and place of a grid."""
    map_load_time: Time
    resolution: float
    """The side of a cell, m."""
    width: int
    """Columns."""
    height: int
    """Rows."""
    origin: Pose
    """Of the outer corner of the cell in row 0 and column 0, in the map's frame."""
    def __init__(
        self,
        map_load_time: Time = ...,
        resolution: float = ...,
        width: int = ...,
        height: int = ...,
        origin: Pose = ...,
    ) -> None: ...

class OccupancyGrid(Message):
    """A map that says of each cell how likely it is occupied."""
    header: Header | None
    info: MapMetaData | None
    data: Array[int]
    """Row by row from `origin`: 0 (free) to 100 (occupied), -1 not known."""
    def __init__(
        self,
        header: Header | None = ...,
        info: MapMetaData | None = ...,
        data: Sequence[int] | np.ndarray = ...,
    ) -> None: ...

class Odometry(Message):
    """Where a robot thinks that it is, and how it moves."""
    header: Header | None
    """The time, and the frame of the pose."""
    child_frame_id: str | None
    """The frame of the velocity, which moves with the robot."""
    pose: PoseWithCovariance | None
    twist: TwistWithCovariance | None
    def __init__(
        self,
        header: Header | None = ...,
        child_frame_id: str | None = ...,
        pose: PoseWithCovariance | None = ...,
        twist: TwistWithCovariance | None = ...,
    ) -> None: ...

class Path(Message):
    """A way to go, pose by pose."""
    header: Header | None
    poses: Sequence[PoseStamped]
    def __init__(
        self,
        header: Header | None = ...,
        poses: Sequence[PoseStamped] = ...,
    ) -> None: ...

class BatteryState(Message):
    """The state of a battery. A number that is not measured is absent."""
    header: Header | None
    voltage: float | None
    """V."""
    temperature: float | None
    """Degrees Celsius."""
    current: float | None
    """Negative while it is discharged, A."""
    charge: float | None
    """What is left in it, A h."""
    capacity: float | None
    """What it held when it was last full, A h."""
    design_capacity: float | None
    """What it was built to hold, A h."""
    percentage: float | None
    """Of its capacity, from 0 to 1."""
    power_supply_status: PowerSupplyStatus
    power_supply_health: PowerSupplyHealth
    power_supply_technology: PowerSupplyTechnology
    present: bool
    """Whether there is a battery."""
    cell_voltage: Array[float]
    """Of each cell, V; NaN if not measured."""
    cell_temperature: Array[float]
    """Of each cell, degrees Celsius; NaN if not measured."""
    location: str | None
    """Where it is in the machine."""
    serial_number: str | None
    def __init__(
        self,
        header: Header | None = ...,
        voltage: float | None = ...,
        temperature: float | None = ...,
        current: float | None = ...,
        charge: float | None = ...,
        capacity: float | None = ...,
        design_capacity: float | None = ...,
        percentage: float | None = ...,
        power_supply_status: PowerSupplyStatus = ...,
        power_supply_health: PowerSupplyHealth = ...,
        power_supply_technology: PowerSupplyTechnology = ...,
        present: bool = ...,
        cell_voltage: Sequence[float] | np.ndarray = ...,
        cell_temperature: Sequence[float] | np.ndarray = ...,
        location: str | None = ...,
        serial_number: str | None = ...,
    ) -> None: ...

class CameraInfo(Message):
    """A camera's calibration."""
    header: Header | None
    """When the picture that it belongs to was exposed, and the camera's optical frame."""
    height: int
    """Rows at calibration, px."""
    width: int
    """Columns at calibration, px."""
    distortion_model: str | None
    """How the lens distorts, such as "plumb_bob", "rational_polynomial", "equidistant"."""
    d: Array[float]
    """The distortion's parameters, as many as the model has."""
    k: Array[float]
    """Intrinsics of the distorted picture, px: focal lengths and principal point."""
    r: Array[float]
    """The turn that makes a stereo pair's rows parallel; else no turn."""
    p: Array[float]
    """Projection onto the rectified picture, px."""
    binning_x: int
    """Columns that were summed to one; 0 is as 1."""
    binning_y: int
    """Rows that were summed to one; 0 is as 1."""
    roi: RegionOfInterest | None
    """The part of the sensor that was read, in pixels before binning."""
    def __init__(
        self,
        header: Header | None = ...,
        height: int = ...,
        width: int = ...,
        distortion_model: str | None = ...,
        d: Sequence[float] | np.ndarray = ...,
        k: Sequence[float] | Sequence[Sequence[float]] | np.ndarray = ...,
        r: Sequence[float] | Sequence[Sequence[float]] | np.ndarray = ...,
        p: Sequence[float] | Sequence[Sequence[float]] | np.ndarray = ...,
        binning_x: int = ...,
        binning_y: int = ...,
        roi: RegionOfInterest | None = ...,
    ) -> None: ...

class CompressedImage(Message):
    """One picture as a file."""
    header: Header | None
    """When it was exposed, and the camera's optical frame."""
    format: str | None
    """How it is compressed, such as "jpeg", "png"."""
    data: Array[int]
    """The whole file."""
    def __init__(
        self,
        header: Header | None = ...,
        format: str | None = ...,
        data: Sequence[int] | np.ndarray = ...,
    ) -> None: ...

class Covariance3(Message):
    """How sure a measurement along three axes is; lies in place, so that reading and writing it follows no offset."""
    matrix: Array[float]
    def __init__(
        self,
        matrix: Sequence[float] | Sequence[Sequence[float]] | np.ndarray = ...,
    ) -> None: ...

class CovarianceType(IntEnum):
    """How a covariance came about."""
    UNKNOWN = 0
    APPROXIMATED = 1
    DIAGONAL_KNOWN = 2
    KNOWN = 3

class FluidPressure(Message):
    """The absolute pressure of air or water."""
    header: Header | None
    fluid_pressure: float
    """Pa."""
    variance: float
    """Pa^2; 0: not known."""
    def __init__(
        self,
        header: Header | None = ...,
        fluid_pressure: float = ...,
        variance: float = ...,
    ) -> None: ...

class Image(Message):
    """One picture, not compressed, row by row from the top left."""
    header: Header | None
    """When it was exposed, and the camera's optical frame: x to the right, y down, z forward."""
    height: int
    """Rows."""
    width: int
    """Columns."""
    encoding: str | None
    """Channels of a pixel, their order and size, such as "rgb8", "bgr8", "mono8", "16UC1", "32FC1"."""
    is_bigendian: bool
    """Whether channels of more than a byte begin with the high one."""
    step: int
    """Bytes from the start of a row to the start of the next."""
    data: Array[int]
    """`step` times `height` bytes."""
    def __init__(
        self,
        header: Header | None = ...,
        height: int = ...,
        width: int = ...,
        encoding: str | None = ...,
        is_bigendian: bool = ...,
        step: int = ...,
        data: Sequence[int] | np.ndarray = ...,
    ) -> None: ...

class Imu(Message):
    """What an inertial measurement unit says. A measurement that it does not make is absent."""
    header: Header | None
    """When it was measured, and the unit's frame."""
    orientation: Quaternion | None
    """Of the unit in the world."""
    orientation_covariance: Covariance3 | None
    """About x, y, z, rad^2; absent or all zeros: not known."""
    angular_velocity: Vector3 | None
    """rad/s."""
    angular_velocity_covariance: Covariance3 | None
    """About x, y, z, rad^2/s^2; absent or all zeros: not known."""
    linear_acceleration: Vector3 | None
    """With gravity's reaction, m/s^2."""
    linear_acceleration_covariance: Covariance3 | None
    """Along x, y, z, m^2/s^4; absent or all zeros: not known."""
    def __init__(
        self,
        header: Header | None = ...,
        orientation: Quaternion | None = ...,
        orientation_covariance: Covariance3 | None = ...,
        angular_velocity: Vector3 | None = ...,
        angular_velocity_covariance: Covariance3 | None = ...,
        linear_acceleration: Vector3 | None = ...,
        linear_acceleration_covariance: Covariance3 | None = ...,
    ) -> None: ...

class JointState(Message):
    """The joints of a mechanism. Each sequence has one element for each name, or none."""
    header: Header | None
    name: Sequence[str]
    position: Array[float]
    """rad, or m of a joint that slides."""
    velocity: Array[float]
    """rad/s or m/s."""
    effort: Array[float]
    """N m or N."""
    def __init__(
        self,
        header: Header | None = ...,
        name: Sequence[str] = ...,
        position: Sequence[float] | np.ndarray = ...,
        velocity: Sequence[float] | np.ndarray = ...,
        effort: Sequence[float] | np.ndarray = ...,
    ) -> None: ...

class Joy(Message):
    """A joystick or game pad."""
    header: Header | None
    """When it was moved."""
    axes: Array[float]
    """From -1 to 1 each."""
    buttons: Array[int]
    """0: not pressed, 1: pressed."""
    def __init__(
        self,
        header: Header | None = ...,
        axes: Sequence[float] | np.ndarray = ...,
        buttons: Sequence[int] | np.ndarray = ...,
    ) -> None: ...

class LaserScan(Message):
    """One turn of a planar range finder."""
    header: Header | None
    """When the first ray was measured; angles are about z of the frame, 0 along x."""
    angle_min: float
    """The first ray's angle, rad."""
    angle_max: float
    """The last ray's angle, rad."""
    angle_increment: float
    """From a ray to the next, rad."""
    time_increment: float
    """From a ray to the next, s."""
    scan_time: float
    """From a turn to the next, s."""
    range_min: float
    """The shortest distance that counts, m."""
    range_max: float
    """The longest distance that counts, m."""
    ranges: Array[float]
    """Distances, m; those outside of the limits are to be dropped."""
    intensities: Array[float]
    """In a unit of the device, one for each distance; empty if it has none."""
    def __init__(
        self,
        header: Header | None = ...,
        angle_min: float = ...,
        angle_max: float = ...,
        angle_increment: float = ...,
        time_increment: float = ...,
        scan_time: float = ...,
        range_min: float = ...,
        range_max: float = ...,
        ranges: Sequence[float] | np.ndarray = ...,
        intensities: Sequence[float] | np.ndarray = ...,
    ) -> None: ...

class MagneticField(Message):
    """A magnetic field at one place."""
    header: Header | None
    """When it was measured, and the sensor's frame."""
    magnetic_field: Vector3 | None
    """Along x, y, z, T; NaN on an axis that is not measured."""
    magnetic_field_covariance: Covariance3 | None
    """Along x, y, z, T^2; absent or all zeros: not known."""
    def __init__(
        self,
        header: Header | None = ...,
        magnetic_field: Vector3 | None = ...,
        magnetic_field_covariance: Covariance3 | None = ...,
    ) -> None: ...

class NavSatFix(Message):
    """A place on Earth, in WGS 84."""
    header: Header | None
    """When it was measured, and the antenna's frame."""
    status: NavSatStatus | None
    latitude: float
    """Degrees, north positive."""
    longitude: float
    """Degrees, east positive."""
    altitude: float
    """Above the ellipsoid, m; NaN if there is none."""
    position_covariance: Covariance3 | None
    """To the east, to the north and up, m^2."""
    position_covariance_type: CovarianceType
    def __init__(
        self,
        header: Header | None = ...,
        status: NavSatStatus | None = ...,
        latitude: float = ...,
        longitude: float = ...,
        altitude: float = ...,
        position_covariance: Covariance3 | None = ...,
        position_covariance_type: CovarianceType = ...,
    ) -> None: ...

class NavSatFixStatus(IntEnum):
    """Whether and how a satellite receiver has found its place."""
    UNKNOWN = -2
    NO_FIX = -1
    FIX = 0
    SBAS_FIX = 1
    GBAS_FIX = 2

class NavSatService(IntFlag):
    """Systems of navigation satellites."""
    GPS = 1
    GLONASS = 2
    COMPASS = 4
    GALILEO = 8

class NavSatStatus(Message):
    """What a satellite receiver says of its fix."""
    status: NavSatFixStatus
    service: NavSatService
    """The systems that were used; none: not said."""
    def __init__(
        self,
        status: NavSatFixStatus = ...,
        service: NavSatService = ...,
    ) -> None: ...

class PointCloud2(Message):
    """Points whose fields the message itself describes, in rows if they come from a picture."""
    header: Header | None
    height: int
    """Rows; 1 if the points have no order."""
    width: int
    """Points in a row."""
    fields: Sequence[PointField]
    is_bigendian: bool
    """Whether fields of more than a byte begin with the high one."""
    point_step: int
    """Bytes from a point to the next."""
    row_step: int
    """Bytes from a row to the next."""
    data: Array[int]
    """`row_step` times `height` bytes."""
    is_dense: bool
    """Whether every point is valid, none has a NaN."""
    def __init__(
        self,
        header: Header | None = ...,
        height: int = ...,
        width: int = ...,
        fields: Sequence[PointField] = ...,
        is_bigendian: bool = ...,
        point_step: int = ...,
        row_step: int = ...,
        data: Sequence[int] | np.ndarray = ...,
        is_dense: bool = ...,
    ) -> None: ...

class PointField(Message):
    """One field of a cloud's points."""
    name: str | None
    """Such as "x", "y", "z", "intensity", "rgb"."""
    offset: int
    """Bytes from the start of a point."""
    datatype: PointFieldType
    count: int
    """Elements that it has."""
    def __init__(
        self,
        name: str | None = ...,
        offset: int = ...,
        datatype: PointFieldType = ...,
        count: int = ...,
    ) -> None: ...

class PointFieldType(IntEnum):
    """How a point's field is stored."""
    INT8 = 1
    UINT8 = 2
    INT16 = 3
    UINT16 = 4
    INT32 = 5
    UINT32 = 6
    FLOAT32 = 7
    FLOAT64 = 8

class PowerSupplyHealth(IntEnum):
    """What is wrong with a battery."""
    UNKNOWN = 0
    GOOD = 1
    OVERHEAT = 2
    DEAD = 3
    OVERVOLTAGE = 4
    UNSPEC_FAILURE = 5
    COLD = 6
    WATCHDOG_TIMER_EXPIRE = 7
    SAFETY_TIMER_EXPIRE = 8

class PowerSupplyStatus(IntEnum):
    """What a battery is doing."""
    UNKNOWN = 0
    CHARGING = 1
    DISCHARGING = 2
    NOT_CHARGING = 3
    FULL = 4

class PowerSupplyTechnology(IntEnum):
    """What a battery is made of."""
    UNKNOWN = 0
    NIMH = 1
    LION = 2
    LIPO = 3
    LIFE = 4
    NICD = 5
    LIMN = 6
    TERNARY = 7
    VRLA = 8

class RadiationType(IntEnum):
    """What a range finder sends out."""
    ULTRASOUND = 0
    INFRARED = 1

class Range(Message):
    """One distance, valid for the whole of a cone."""
    header: Header | None
    """When it was measured, and a frame whose x points along the cone."""
    radiation_type: RadiationType
    field_of_view: float
    """The cone's whole angle, rad."""
    min_range: float
    """The shortest distance that can be measured, m."""
    max_range: float
    """The longest distance that can be measured, m."""
    range: float
    """The distance, m; -inf: something is too near to tell, +inf: nothing is there."""
    variance: float
    """Of the distance, m^2; 0: not known."""
    def __init__(
        self,
        header: Header | None = ...,
        radiation_type: RadiationType = ...,
        field_of_view: float = ...,
        min_range: float = ...,
        max_range: float = ...,
        range: float = ...,
        variance: float = ...,
    ) -> None: ...

class RegionOfInterest(Message):
    """A part of a picture."""
    x_offset: int
    """Its leftmost column, px."""
    y_offset: int
    """Its topmost row, px."""
    height: int
    """Rows, px; 0 with `width` 0: the whole picture."""
    width: int
    """Columns, px."""
    do_rectify: bool
    """Whether a rectified part is to be computed from it."""
    def __init__(
        self,
        x_offset: int = ...,
        y_offset: int = ...,
        height: int = ...,
        width: int = ...,
        do_rectify: bool = ...,
    ) -> None: ...

class Temperature(Message):
    """A temperature."""
    header: Header | None
    temperature: float
    """Degrees Celsius."""
    variance: float
    """K^2; 0: not known."""
    def __init__(
        self,
        header: Header | None = ...,
        temperature: float = ...,
        variance: float = ...,
    ) -> None: ...

class Bool(Message):
    """One truth value."""
    data: bool
    def __init__(
        self,
        data: bool = ...,
    ) -> None: ...

class ColorRGBA(Message):
    """A colour with opacity, each part from 0 to 1."""
    r: float
    g: float
    b: float
    a: float
    """0 is transparent, 1 opaque."""
    def __init__(
        self,
        r: float = ...,
        g: float = ...,
        b: float = ...,
        a: float = ...,
    ) -> None: ...

class Empty(Message):
    """No data: its arrival is the message."""
    def __init__(
        self,
    ) -> None: ...

class Float32(Message):
    """One floating-point number of 32 bits."""
    data: float
    def __init__(
        self,
        data: float = ...,
    ) -> None: ...

class Float64(Message):
    """One floating-point number of 64 bits."""
    data: float
    def __init__(
        self,
        data: float = ...,
    ) -> None: ...

class Header(Message):
    """When and where data were taken; opens every stamped message."""
    stamp: Time | None
    """When they were taken, not when they were sent."""
    frame_id: str | None
    """The coordinate frame that they are given in."""
    def __init__(
        self,
        stamp: Time | None = ...,
        frame_id: str | None = ...,
    ) -> None: ...

class Int16(Message):
    """One integer of 16 bits."""
    data: int
    def __init__(
        self,
        data: int = ...,
    ) -> None: ...

class Int32(Message):
    """One integer of 32 bits."""
    data: int
    def __init__(
        self,
        data: int = ...,
    ) -> None: ...

class Int64(Message):
    """One integer of 64 bits."""
    data: int
    def __init__(
        self,
        data: int = ...,
    ) -> None: ...

class Int8(Message):
    """One integer of 8 bits."""
    data: int
    def __init__(
        self,
        data: int = ...,
    ) -> None: ...

class String(Message):
    """One text, UTF-8."""
    data: str | None
    def __init__(
        self,
        data: str | None = ...,
    ) -> None: ...

class UInt16(Message):
    """One unsigned integer of 16 bits."""
    data: int
    def __init__(
        self,
        data: int = ...,
    ) -> None: ...

class UInt32(Message):
    """One unsigned integer of 32 bits."""
    data: int
    def __init__(
        self,
        data: int = ...,
    ) -> None: ...

class UInt64(Message):
    """One unsigned integer of 64 bits."""
    data: int
    def __init__(
        self,
        data: int = ...,
    ) -> None: ...

class UInt8(Message):
    """One unsigned integer of 8 bits."""
    data: int
    def __init__(
        self,
        data: int = ...,
    ) -> None: ...

class TFMessage(Message):
    """Transforms between frames, each with its own time."""
    transforms: Sequence[TransformStamped]
    def __init__(
        self,
        transforms: Sequence[TransformStamped] = ...,
    ) -> None: ...
