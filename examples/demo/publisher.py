"""The demo's publisher process: a camera at a steady rate, and the host's telemetry, until stdin closes."""

import argparse
import asyncio
import time

from child import Child
from image import Camera
from telemetry import read_host

import lunar

NAMESPACE = "/demo"
IMAGE_TOPIC, TELEMETRY_TOPIC = "image", "telemetry"

# A viewer that does not keep up should see the newest images: the oldest of eight is overwritten, and counted.
IMAGE_QOS = lunar.QoS(reliability="reliable", depth=8)
# Who comes late gets the last figures at once.
TELEMETRY_QOS = lunar.QoS(reliability="reliable", durability="transient_local", depth=20)

TELEMETRY_PERIOD_S = 0.05
_SUBSCRIBERS_TIMEOUT_S = 30


async def stream_images(pub: lunar.Publisher[object], camera: Camera, period_s: float) -> None:
    start_s, number = time.monotonic(), 0
    while True:
        async with pub.loan(camera.message_bytes) as buffer:
            # Filled in a thread, because copying and checking six megabytes would keep the loop from the telemetry.
            await asyncio.to_thread(camera.shoot, number, buffer)
        number += 1
        # Against the start, not the last frame: small delays must not add up.
        await asyncio.sleep(start_s + number * period_s - time.monotonic())


async def stream_telemetry(pub: lunar.Publisher[object]) -> None:
    while True:
        await pub.publish(await asyncio.to_thread(read_host))
        await asyncio.sleep(TELEMETRY_PERIOD_S)


async def publish(child: Child, camera: Camera, period_s: float, subscribers: int) -> None:
    async with lunar.Node("camera", namespace=NAMESPACE) as node:
        images = node.create_publisher(bytes, IMAGE_TOPIC, qos=IMAGE_QOS)
        telemetry = node.create_publisher(bytes, TELEMETRY_TOPIC, qos=TELEMETRY_QOS)
        child.watch_events(node)
        for pub in (images, telemetry):
            await pub.wait_for_subscribers(subscribers, timeout_s=_SUBSCRIBERS_TIMEOUT_S)

        def report() -> None:
            child.report("publisher", topics=[pub.statistics().to_dict() for pub in (images, telemetry)])

        streams = [stream_images(images, camera, period_s), stream_telemetry(telemetry)]
        await child.run_until_stopped(streams, report)
        report()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscribers", type=int, required=True, help="wait for so many before starting")
    parser.add_argument("--width", type=int, required=True, help="of an image, in pixels")
    parser.add_argument("--height", type=int, required=True, help="of an image, in pixels")
    parser.add_argument("--rate", type=float, required=True, help="images a second")
    arguments = parser.parse_args()
    child = Child()
    camera = Camera(arguments.width, arguments.height)
    child.run(publish(child, camera, 1 / arguments.rate, arguments.subscribers))


if __name__ == "__main__":
    main()
