"""Publishes messages of three kinds: annotated class, class of a .fbs file, standard class. Start viewer.py first."""

from pathlib import Path

import numpy as np
from wheel import Wheel

import lunar
from lunar.msgs import Header, Imu, Time, Vector3

robot = lunar.messages.load(Path(__file__).with_name("robot.fbs"))
LOSSLESS = lunar.QoS(history="keep_all")


async def main() -> None:
    """Publish a few of each and end."""
    async with lunar.Node("machine") as node:
        wheels = node.create_publisher(Wheel, "wheel", qos=LOSSLESS)
        states = node.create_publisher(robot.State, "state", qos=LOSSLESS)
        imus = node.create_publisher(Imu, "imu", qos=LOSSLESS)
        for publisher in (wheels, states, imus):
            await publisher.wait_for_subscribers(1, timeout_s=20)

        await wheels.publish(Wheel(stamp_ns=1, speed=2.0, ticks=np.arange(4, dtype=np.int32)))
        # In place: the loan has room for 4096 ticks in memory that the viewer maps; filling it is the only copy.
        with wheels.loan(stamp_ns=2, speed=2.5, ticks=4096) as wheel:
            wheel.ticks[:] = np.arange(4096)
        await states.publish(robot.State(pose=robot.Pose(x=1.0, y=2.0), name="r1", cells=[0.1, 0.2]))
        await imus.publish(
            Imu(
                header=Header(stamp=Time(sec=3, nanosec=500), frame_id="imu_link"),
                linear_acceleration=Vector3(0.0, 0.0, 9.81),
            )
        )


lunar.run(main())
