"""keep_last keeps exactly as many samples as `depth` says, whatever the ring's size is."""

import pytest

import lunar


@pytest.mark.parametrize("depth", [1, 3, 10, 16, 100])
async def test_keep_last_keeps_depth_samples_and_counts_the_others(depth: int) -> None:
    published = 250
    qos = lunar.QoS(depth=depth)
    async with lunar.Node("depth") as node:
        publisher = node.create_publisher(bytes, "t", qos=qos)
        subscription = node.create_subscription(bytes, "t", qos=qos)
        await publisher.wait_for_subscribers(1, 10)
        await subscription.wait_for_publishers(1, 10)
        publisher.publish_many([b"%d" % number for number in range(published)])
        taken = [bytes(sample.message) for sample in await subscription.receive_many(published)]
        assert taken == [b"%d" % number for number in range(published - depth, published)]
        assert publisher.statistics().lost == subscription.statistics().lost_overwritten == published - depth
