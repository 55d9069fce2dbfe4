"""Messages of a class over the bus: published, lent, received as views of the sender's memory."""

# Classes made at run time, and wrong values on purpose: what type checkers see is tested with snippets.
# mypy: ignore-errors
import asyncio
import gc
from collections.abc import Callable

import numpy as np
import pytest

import lunar
from lunar.messages import encode, load
from lunar.messages.types import message_type
from lunar.msgs import Imu, Twist, Vector3

LOSSLESS = lunar.QoS(history="keep_all", depth=4)
MIB = 1 << 20


@lunar.message(struct=True)
class Point:
    x: lunar.float64
    y: lunar.float64


@lunar.message(struct=True)
class Block:
    cells: lunar.Array[lunar.float32, 2, 3]
    corner: Point
    number: lunar.int32


@lunar.message
class Wheel:
    stamp_ns: lunar.int64
    speed: lunar.float32
    torque: lunar.float32 = 0.5
    label: str | None = None
    ticks: lunar.Array[lunar.int32]
    at: Point
    points: list[Point]
    spare: lunar.int16 | None


@lunar.message
class Image:
    data: lunar.Array[lunar.uint8]


class Typed:
    """A publisher and a subscription of one class, matched."""

    def __init__(self, publisher, subscription) -> None:
        self.publisher = publisher
        self.subscription = subscription

    @property
    def match(self):
        return self.publisher.statistics().matches[0]

    async def sent(self, message):
        await self.publisher.publish(message)
        return await self.subscription.receive()


@pytest.fixture
def connect(node: lunar.Node) -> Callable:
    async def connect(cls: type, qos: lunar.QoS | None = None, **options: object) -> Typed:
        publisher = node.create_publisher(cls, "typed", qos=qos)
        subscription = node.create_subscription(cls, "typed", qos=qos, **options)
        await publisher.wait_for_subscribers(1, timeout_s=5)
        return Typed(publisher, subscription)

    return connect


def wheel(number: int = 1) -> Wheel:
    return Wheel(
        stamp_ns=number,
        speed=0.1,
        label=f"wheel {number}",
        ticks=np.arange(4, dtype=np.int32),
        at=Point(1, 2),
        points=[Point(3, 4), Point(5, 6)],
        spare=0,
    )


# ---- publishing and receiving ----


@pytest.mark.every_loop
async def test_the_program_of_the_issue(connect: Callable) -> None:
    pair = await connect(Wheel)
    sent = Wheel(stamp_ns=1, speed=2.0, ticks=np.arange(4, dtype=np.int32))
    await pair.publisher.publish(sent)
    with pair.publisher.loan(speed=2.0, ticks=4096) as lent:
        lent.ticks[:] = np.arange(4096)
    seen = []
    async for received in pair.subscription:
        assert received.speed == 2.0
        assert not received.ticks.flags.writeable
        seen.append(received.copy())
        if len(seen) == 2:
            break
    assert seen[0] == sent
    assert (seen[1].ticks == np.arange(4096)).all()


@pytest.mark.parametrize("verify", [False, True])
async def test_what_is_sent_is_received_by_every_way(connect: Callable, verify: bool) -> None:
    pair = await connect(Wheel, verify=verify)
    publisher, subscription = pair.publisher, pair.subscription
    await publisher.publish(wheel(1))
    publisher.publish_nowait(wheel(2))
    publisher.publish_many([wheel(3), wheel(4).copy()])
    await publisher.publish_all([wheel(5)])
    await asyncio.to_thread(publisher.publish_blocking, wheel(6))
    received = [await subscription.receive() for _ in range(4)]
    received += [message for message, _ in await subscription.receive_many(2)]
    assert received == [wheel(number) for number in range(1, 7)]
    assert {type(each) for each in received} == {Wheel}
    await publisher.publish(received[3])  # a view can be published again
    assert await subscription.receive() == wheel(4)


async def test_a_callback_is_given_messages(node: lunar.Node) -> None:
    seen, done = [], asyncio.Event()

    async def take(message: Wheel) -> None:
        seen.append((type(message), message.stamp_ns, message.ticks.tolist()))
        if len(seen) == 2:
            done.set()

    node.create_subscription(Wheel, "typed", take)
    publisher = node.create_publisher(Wheel, "typed")
    await publisher.wait_for_subscribers(1, timeout_s=5)
    publisher.publish_many([wheel(1), wheel(2)])
    await asyncio.wait_for(done.wait(), 5)
    assert seen == [(Wheel, 1, [0, 1, 2, 3]), (Wheel, 2, [0, 1, 2, 3])]


async def test_a_struct_is_a_message_by_itself(connect: Callable) -> None:
    pair = await connect(Twist)
    twist = Twist(linear=Vector3(x=1.0), angular=Vector3(z=-0.5))
    received = await pair.sent(twist)
    assert received == twist
    assert received.angular.z == -0.5
    with pair.publisher.loan(linear=Vector3(y=2)) as lent:
        lent.angular = Vector3(z=3)
        lent.linear.x = 4
    assert await pair.subscription.receive() == Twist(Vector3(4, 2, 0), Vector3(0, 0, 3))


async def test_a_class_of_the_standard_set(connect: Callable) -> None:
    pair = await connect(Imu)
    imu = Imu(angular_velocity=Vector3(0.1, 0.2, 0.3))
    assert await pair.sent(imu) == imu


async def test_classes_of_a_file_and_of_annotations_meet(node: lunar.Node, tmp_path) -> None:
    (tmp_path / "wheel.fbs").write_text(
        "struct Point { x: double; y: double; } table Wheel { stamp_ns: long; speed: float; torque: float = 0.5; "
        "label: string; ticks: [int]; at: Point; points: [Point]; spare: short = null; }"
    )
    loaded = load(tmp_path / "wheel.fbs")
    publisher = node.create_publisher(loaded.Wheel, "typed")
    subscription = node.create_subscription(Wheel, "typed")
    await publisher.wait_for_subscribers(1, timeout_s=5)
    await publisher.publish(loaded.Wheel(stamp_ns=5, at=loaded.Point(1, 2), ticks=[1]))
    assert await subscription.receive() == Wheel(stamp_ns=5, at=Point(1, 2), ticks=[1])


# ---- what is refused ----


@pytest.mark.parametrize(
    "wrong",
    [Image(data=b"a"), Point(1, 2), {"stamp_ns": 1}, b"bytes", None, 5, Wheel],
    ids=lambda each: repr(each)[:12],
)
async def test_only_messages_of_the_class_are_published(connect: Callable, wrong: object) -> None:
    pair = await connect(Wheel)
    publisher = pair.publisher
    for publish in (
        publisher.publish_nowait,
        publisher.publish_blocking,
        lambda each: publisher.publish_many([wheel(), each]),
    ):
        with pytest.raises(lunar.FieldError, match=r"Wheel.\(message\): expected Wheel, got "):
            publish(wrong)
    with pytest.raises(lunar.FieldError, match=r"Wheel.\(message\): expected Wheel, got "):
        await publisher.publish(wrong)
    assert publisher.statistics().published == 1  # what was before the wrong one in publish_many
    assert await pair.subscription.receive() == wheel()
    await publisher.publish(wheel(9))
    assert (await pair.subscription.receive()).stamp_ns == 9


async def test_a_message_that_cannot_be_written_is_not_published(connect: Callable) -> None:
    pair = await connect(Wheel)
    broken = wheel()
    broken.points.append("no point")
    for _ in range(50):  # more than there are chunks to lose
        with pytest.raises(lunar.FieldError, match=r"Wheel.points: expected a sequence of Point"):
            pair.publisher.publish_nowait(broken)
    assert pair.publisher.statistics().published == 0
    assert await pair.sent(wheel(7)) == wheel(7)


@pytest.mark.parametrize("wrong", [str, int, list[Wheel], Wheel(), None, lunar.Message], ids=repr)
async def test_other_types_have_no_topics(node: lunar.Node, wrong: object) -> None:
    for create in (node.create_publisher, node.create_subscription):
        with pytest.raises(lunar.TypeMismatch, match="expected bytes, a class from"):
            create(wrong, "typed")


class Impostor:
    """Says that it is a Wheel, and sends any bytes."""

    def __init__(self) -> None:
        kind = message_type(Wheel)
        self.name, self.hash, self.described, self.plan = kind.name, kind.hash, kind.described, None

    def encoder(self) -> None:
        return None


@pytest.mark.parametrize("verify", [False, True])
async def test_a_wrong_sample_is_refused_as_a_whole_or_when_it_is_read(
    node: lunar.Node, verify: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = node.create_subscription(Wheel, "typed", verify=verify)
    with monkeypatch.context() as patched:
        patched.setattr("lunar.node.message_type", lambda cls: Impostor())
        publisher = node.create_publisher(bytes, "typed")
    await publisher.wait_for_subscribers(1, timeout_s=5)
    right = encode(wheel(3))
    wrong = bytearray(right)
    wrong[right.index(b"wheel 3")] = 0xFF
    for data in (bytes(wrong), b"", right):
        await publisher.publish(data)
    if verify:
        with pytest.raises(lunar.VerificationError, match="not a Wheel: field label is not UTF-8"):
            await subscription.receive()
    else:
        received = await subscription.receive()
        assert received.stamp_ns == 3
        with pytest.raises(lunar.VerificationError, match="not UTF-8"):
            _ = received.label
        del received
    with pytest.raises(lunar.VerificationError, match="too short"):
        await subscription.receive()
    assert await subscription.receive() == wheel(3)
    gc.collect()
    assert publisher.statistics().matches[0].held == 0


# ---- loans ----


async def test_what_has_its_place_is_set_in_a_loan(connect: Callable) -> None:
    pair = await connect(Wheel)
    with pair.publisher.loan(label="lent", ticks=3, points=[Point(0, 0)]) as lent:
        assert (lent.label, lent.torque, lent.stamp_ns) == ("lent", 0.5, 0)
        lent.stamp_ns = 5
        lent.speed = np.float32(0.25)
        lent.torque = 0.5
        lent.at = Point(1, 2)
        lent.at.y = 7
        lent.points[0].x = 8
        lent.ticks[:] = [1, 2, 3]
        lent.ticks[1] = 9
        assert pair.publisher.statistics().published == 0
    received = await pair.subscription.receive()
    assert received == Wheel(
        stamp_ns=5, speed=0.25, label="lent", ticks=[1, 9, 3], at=Point(1, 7), points=[Point(8, 0)], torque=0.5
    )
    assert received.spare is None


async def test_arrays_are_set_to_as_many_values(connect: Callable) -> None:
    pair = await connect(Wheel)
    with pair.publisher.loan(ticks=3) as lent:
        lent.ticks = [4, 5, 6]
        lent.ticks = lent.ticks[::-1]
        for wrong, expected in (([1, 2], "as many as the loan was made for"), (None, "got NoneType None")):
            with pytest.raises(lunar.FieldError, match=rf"Wheel.ticks: .*{expected}"):
                lent.ticks = wrong
        with pytest.raises(lunar.FieldError, match=r"Wheel.ticks: expected a sequence of int32.*, got list|got str"):
            lent.ticks = ["a", 1, 2]
        assert lent.ticks.tolist() == [6, 5, 4]
    assert (await pair.subscription.receive()).ticks.tolist() == [6, 5, 4]
    with pair.publisher.loan() as lent, pytest.raises(lunar.FieldError, match=r"give it, or its length, when the loan"):
        lent.ticks = [1]


async def test_a_loan_of_a_struct_with_arrays(connect: Callable) -> None:
    pair = await connect(Block)
    with pair.publisher.loan(number=3, cells=6) as lent:
        lent.cells[:] = 2
        lent.cells[1, 2] = 5
        lent.corner.x = 1
    received = await pair.subscription.receive()
    assert received == Block([[2, 2, 2], [2, 2, 5]], Point(1, 0), 3)
    with pytest.raises(lunar.FieldError, match=r"Block.cells: expected 6 of float32.*a possible number of elements"):
        pair.publisher.loan(cells=7)


@pytest.mark.parametrize("length", [0, 1, 5, 4096, MIB])
async def test_a_vector_of_any_length_is_lent(connect: Callable, length: int) -> None:
    pair = await connect(Image)
    for count in (length, np.int64(length)):
        with pair.publisher.loan(data=count) as lent:
            assert lent.data.shape == (length,)
            lent.data[:] = 7
        received = await pair.subscription.receive()
        assert received.data.shape == (length,)
        assert (received.data == 7).all()
        del received, lent


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"speed": "fast"}, "Wheel.speed: expected float32, got str"),
        ({"sped": 1}, "Wheel.sped: expected one of its fields: stamp_ns"),
        ({"ticks": -1}, "Wheel.ticks: expected a sequence of int32.*a possible number of elements, got int -1"),
        ({"ticks": 2**40}, "Wheel.ticks: expected a sequence of int32.*a possible number"),
        ({"ticks": True}, "Wheel.ticks: expected a sequence of int32"),
        ({"ticks": 1.5}, "Wheel.ticks: expected a sequence of int32"),
        ({"ticks": np.zeros(3)}, "Wheel.ticks: expected a sequence of int32.*float64"),
        ({"points": 5}, "Wheel.points: expected a sequence of Point"),
        ({"label": 5}, "Wheel.label: expected str"),
    ],
)
async def test_a_wrong_value_for_a_loan_is_refused(connect: Callable, fields: dict, message: str) -> None:
    pair = await connect(Wheel)
    with pytest.raises(lunar.FieldError, match=message):
        pair.publisher.loan(**fields)
    assert pair.publisher.statistics().published == 0
    assert await pair.sent(wheel(2)) == wheel(2)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("speed", "fast", "expected float32, got str 'fast'"),
        ("stamp_ns", 2**63, "expected int64"),
        ("speed", 1e39, "expected float32"),
        ("torque", None, "expected float32"),
        ("at", (1, 2), "expected Point"),
        ("at", None, "expected Point"),
        ("label", "late", "it has no place in this loan; give it when the loan is made"),
        ("points", [Point()], "it has no place in this loan"),
        ("spare", 5, "it has no place in this loan"),
    ],
)
async def test_a_wrong_value_in_a_loan_discards_it(connect: Callable, field: str, value: object, expected: str) -> None:
    pair = await connect(Wheel)
    for _ in range(50):  # more than there are chunks to lose
        with pytest.raises(lunar.FieldError, match=rf"Wheel.{field}: .*{expected}"), pair.publisher.loan() as lent:
            setattr(lent, field, value)
    with pytest.raises(lunar.FieldError, match=rf"Wheel.{field}: .*{expected}"):
        async with pair.publisher.loan() as lent:
            setattr(lent, field, value)
    assert pair.publisher.statistics().published == 0
    assert await pair.sent(wheel(2)) == wheel(2)


async def test_an_exception_discards_a_loan_and_passes_on(connect: Callable) -> None:
    pair = await connect(Wheel)
    with pytest.raises(KeyError, match="mine"), pair.publisher.loan(ticks=5) as lent:
        raise KeyError("mine")
    with pytest.raises(KeyError, match="mine"):
        async with pair.publisher.loan(ticks=5):
            raise KeyError("mine")
    assert pair.publisher.statistics().published == 0
    with pytest.raises(lunar.FieldError, match="read-only"):
        lent.speed = 1.0
    assert await pair.sent(wheel(2)) == wheel(2)


async def test_a_loan_that_cannot_be_written_any_more_is_given_back(connect: Callable) -> None:
    pair = await connect(Image)
    for _ in range(50):  # more than there are chunks to lose
        growing = bytearray(3)
        loan = pair.publisher.loan(data=growing)
        growing += bytes(100_000)
        with pytest.raises(ValueError, match="100027 bytes do not fit into a buffer of 27"), loan:
            pytest.fail("it has no room for what the data has become")
    assert pair.publisher.statistics().published == 0
    assert await pair.sent(Image(data=b"abc")) == Image(data=b"abc")


async def test_a_loan_is_used_once(connect: Callable) -> None:
    pair = await connect(Image)
    loan = pair.publisher.loan(data=3)
    with loan as lent:
        lent.data[:] = 1
    with pytest.raises(lunar.LunarError, match="a loan is used once"):
        loan.__enter__()
    assert (await pair.subscription.receive()).data.tolist() == [1, 1, 1]


async def test_after_the_block_the_message_is_read_only(connect: Callable) -> None:
    pair = await connect(Wheel)
    with pair.publisher.loan(ticks=2, label="a", points=[Point(1, 1)]) as lent:
        lent.ticks[:] = 1
        point = lent.points[0]
    for change in (
        lambda: setattr(lent, "speed", 1.0),
        lambda: setattr(lent, "ticks", [1, 2]),
        lambda: setattr(point, "x", 5),
        lambda: setattr(lent.at, "x", 5),
    ):
        with pytest.raises(lunar.FieldError, match="read-only"):
            change()
    with pytest.raises(ValueError, match="read-only"):
        lent.ticks[0] = 5
    received = await pair.subscription.receive()
    assert received == lent  # still readable
    del received
    assert lent.copy().label == "a"


async def test_memory_that_somebody_still_looks_at_is_not_used_again(connect: Callable) -> None:
    pair = await connect(Wheel)
    with pair.publisher.loan(ticks=1000) as lent:
        lent.ticks[:] = 7
        kept = lent.ticks
    del lent
    assert (await pair.subscription.receive()).ticks[0] == 7
    for number in range(100):
        with pair.publisher.loan(ticks=1000) as other:
            other.ticks[:] = number
        del other
        await pair.subscription.receive()
    assert (kept == 7).all()
    kept[:] = 8  # which nobody else sees
    with pair.publisher.loan(ticks=1000) as other:
        other.ticks[:] = 1
    assert ((await pair.subscription.receive()).ticks == 1).all()


@pytest.mark.parametrize("way", ["message", "array"])
async def test_a_loan_outlives_its_publisher(node: lunar.Node, way: str) -> None:
    publisher = node.create_publisher(Wheel, "typed")
    with publisher.loan(ticks=1000, label="kept") as lent:
        lent.ticks[:] = 7
    ticks = lent.ticks
    publisher.close()
    if way == "array":
        del lent, publisher
        gc.collect()
        assert (ticks == 7).all()
    else:
        del ticks, publisher
        gc.collect()
        assert lent.label == "kept"
        assert (lent.ticks == 7).all()


async def test_a_loan_under_keep_all_refuses_or_waits_where_there_is_no_room(connect: Callable) -> None:
    pair = await connect(Wheel, qos=LOSSLESS)
    pair.publisher.publish_many([wheel(number) for number in range(4)])
    with pytest.raises(lunar.WouldBlock, match="async with"), pair.publisher.loan(ticks=1):
        pytest.fail("there was no room")
    entered = asyncio.Event()

    async def lend() -> None:
        async with pair.publisher.loan(stamp_ns=9) as lent:
            entered.set()
            lent.speed = 1.5

    lending = asyncio.create_task(lend())
    await asyncio.sleep(0)
    assert not entered.is_set()
    numbers = [(await pair.subscription.receive()).stamp_ns for _ in range(5)]
    assert numbers == [0, 1, 2, 3, 9]
    await lending
    cancelled = asyncio.create_task(lend())
    pair.publisher.publish_many([wheel(number) for number in range(3)])
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert [(await pair.subscription.receive()).stamp_ns for _ in range(3)] == [0, 1, 2]


async def test_a_part_of_a_loan_in_another_message_stays_readable(connect: Callable) -> None:
    pair = await connect(Wheel)
    with pair.publisher.loan(ticks=2) as lent:
        lent.ticks[:] = 3
        lent.at = Point(5, 6)
        other = Wheel(at=lent.at, ticks=lent.ticks)
    del lent
    gc.collect()
    await pair.subscription.receive()
    received = await pair.sent(other)
    assert (received.at, received.ticks.tolist()) == (Point(5, 6), [3, 3])


# ---- memory ----


async def test_arrays_and_parts_keep_the_sample_and_no_longer(connect: Callable) -> None:
    pair = await connect(Wheel)
    takers = [
        lambda message: message,
        lambda message: message.ticks,
        lambda message: message.ticks[1:],
        lambda message: message.at,
        lambda message: message.points,
        lambda message: message.points[1],
        lambda message: iter(message.points),
        lambda message: memoryview(message.ticks),
        lambda message: Wheel(at=message.at),
    ]
    for take in takers:
        received = await pair.sent(wheel(4))
        assert pair.match.held == 1
        part = take(received)
        del received
        gc.collect()
        assert pair.match.held == 1
        del part
        assert pair.match.held == 0
    received = await pair.sent(wheel(4))
    loose = (received.stamp_ns, received.label, received.speed, received.copy(), repr(received), encode(received))
    del received
    assert pair.match.held == 0
    assert loose[3] == wheel(4)


async def test_views_outlive_subscription_and_node() -> None:
    async with lunar.Node("short") as node:
        publisher = node.create_publisher(Wheel, "typed")
        subscription = node.create_subscription(Wheel, "typed")
        await publisher.wait_for_subscribers(1, timeout_s=5)
        await publisher.publish(wheel(4))
        received = await subscription.receive()
        ticks, points = received.ticks, received.points
        subscription.close()
        del subscription
        gc.collect()
        assert (received, ticks.tolist(), list(points)) == (wheel(4), [0, 1, 2, 3], wheel().points)
        publisher.close()
        del publisher
    del node
    gc.collect()
    assert (received, ticks.tolist(), list(points)) == (wheel(4), [0, 1, 2, 3], wheel().points)
    del received
    gc.collect()
    assert (ticks.tolist(), points[1]) == ([0, 1, 2, 3], Point(5, 6))


async def test_a_received_array_is_the_senders_memory(connect: Callable) -> None:
    pair = await connect(Image)
    with pair.publisher.loan(data=MIB) as lent:
        lent.data[:] = 1
        written = lent.data
    received = await pair.subscription.receive()
    written[5] = 9
    assert received.data[5] == 9


async def test_holding_every_chunk_is_an_error_that_names_the_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNAR_POOL_BYTES", "1M")
    async with lunar.Node("greedy") as node:
        publisher = node.create_publisher(Image, "typed")
        subscription = node.create_subscription(Image, "typed")
        await publisher.wait_for_subscribers(1, timeout_s=5)
        frame = Image(data=np.zeros(200_000, np.uint8))
        held = []
        publish = [publisher.publish_nowait, lambda each: publisher.loan(data=200_000).__enter__()]

        async def hold() -> None:
            for _ in range(100):
                publisher.publish_nowait(frame)
                held.append((await subscription.receive()).data)

        with pytest.raises(lunar.ResourceExhausted, match=r"/typed.*/greedy.* holds \d+") as caught:
            await hold()
        assert 1 <= len(held) <= 8
        assert f"holds {len(held)}" in str(caught.value)
        for attempt in publish:
            with pytest.raises(lunar.ResourceExhausted, match="holds"):
                attempt(frame)
        with pytest.raises(lunar.ResourceExhausted, match="holds"):
            await publisher.publish(frame)
        with pytest.raises(lunar.ResourceExhausted, match="holds"):
            async with publisher.loan(data=200_000):
                pytest.fail("there was no memory")
        held.clear()
        await publisher.publish(frame)
        assert await subscription.receive() == frame


async def test_nothing_is_left_behind(no_leaks: Callable) -> None:
    async def run() -> None:
        async with lunar.Node("tidy") as node:
            publisher = node.create_publisher(Wheel, "typed")
            subscription = node.create_subscription(Wheel, "typed")
            await publisher.wait_for_subscribers(1, timeout_s=5)
            for number in range(20):
                await publisher.publish(wheel(number))
                kept = await subscription.receive()
                with publisher.loan(ticks=10) as lent:
                    lent.ticks[:] = 1
                await subscription.receive()
                with pytest.raises(lunar.FieldError), publisher.loan(ticks=10) as lent:
                    lent.speed = "a"
            del kept, lent

    await run()
    held = no_leaks()
    await run()
    assert no_leaks() == held


# ---- threads ----


async def test_threads_publish_and_read_the_same_message(node: lunar.Node) -> None:
    shared, count = wheel(5), 100
    subscription = node.create_subscription(Wheel, "typed", qos=lunar.QoS(history="keep_all", depth=64))
    publishers = [node.create_publisher(Wheel, "typed", qos=subscription.qos) for _ in range(3)]

    def publish(publisher: lunar.Publisher) -> None:
        for _ in range(count):
            publisher.publish_blocking(shared)

    for publisher in publishers:
        await publisher.wait_for_subscribers(1, timeout_s=5)
    async with asyncio.TaskGroup() as group:
        for publisher in publishers:
            group.create_task(asyncio.to_thread(publish, publisher))
        for _ in range(3 * count):
            assert await subscription.receive() == shared
