"""A message type, straight from annotations."""

import lunar


@lunar.message
class Wheel:
    """What a wheel's encoder measures."""

    stamp_ns: lunar.int64
    speed: lunar.float32
    torque: lunar.float32 = 0.0
    label: str | None = None
    ticks: lunar.Array[lunar.int32]
