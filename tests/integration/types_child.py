"""A process with one end of a topic, whose type has the fields that its test says."""

import asyncio
import sys

import lunar
from lunar import events, testing

LASTING = lunar.QoS(durability="transient_local", depth=1, transport="dds")


def version(fields: str) -> type:
    """Declares a version of shop.Pose: its fields' annotations, with `;` between them."""
    scope: dict[str, object] = {"lunar": lunar}
    body = "".join(f"    {field}\n" for field in fields.split(";"))
    exec(f"@lunar.message(name='shop.Pose')\nclass Pose:\n{body}", scope)
    made = scope["Pose"]
    assert isinstance(made, type)
    return made


async def main(name: str, fields: str) -> None:
    kind = version(fields)
    async with lunar.Node(name) as node, testing.collect(node, events.TypeMismatch) as refused:
        ends: list[object] = []

        async def publish(x: float) -> None:
            publisher = node.create_publisher(kind, "pose", qos=LASTING)
            ends.append(publisher)
            await publisher.publish(kind(x=x))

        async def receive() -> str:
            subscription = node.create_subscription(kind, "pose", qos=LASTING)
            ends.append(subscription)
            async with asyncio.timeout(20):
                return str(await subscription.receive())

        def subscribe() -> None:
            ends.append(node.create_subscription(kind, "pose", qos=LASTING))

        async def differences() -> list[str]:
            [event, *_] = await refused.wait_for(timeout_s=20)
            return list(event.differences)

        await testing.serve(
            {"publish": publish, "receive": receive, "subscribe": subscribe, "differences": differences}
        )


lunar.run(main(*sys.argv[1:]))
