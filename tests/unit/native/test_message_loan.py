"""The loan of a message: what it keeps and gives back, and what it makes of wrong use."""

# Classes made at run time, and wrong values on purpose.
# mypy: ignore-errors
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

import lunar
from lunar.messages import Message
from lunar.testing import isolated

pytestmark = pytest.mark.native

ROUNDS = 300


@lunar.message(struct=True)
class Point:
    x: lunar.float64
    y: lunar.float64


@lunar.message
class Wheel:
    speed: lunar.float64
    ticks: lunar.Array[lunar.int32]
    data: lunar.Array[lunar.uint8]
    label: str | None
    at: Point
    points: list[Point]


class Lender:
    """A node that lends messages of any class, and who receives them."""

    def __init__(self, node: lunar.Node) -> None:
        self.node = node
        self.of = self.publisher(Wheel)

    def publisher(self, cls: type) -> lunar.MessagePublisher:
        name = f"lent/{cls.__name__.lower()}"
        publisher = self.node.create_publisher(cls, name)
        self.subscription = self.node.create_subscription(cls, name)
        publisher.wait_for_subscribers_blocking(1, timeout_s=5)
        return publisher

    def received(self) -> Message:
        return self.subscription.receive_blocking(timeout_s=5)


@pytest.fixture
def lender() -> Iterator[Lender]:
    with isolated(), lunar.Node("lender") as node:
        yield Lender(node)


# ---- what is given back ----


@contextmanager
def refused(error: type[Exception], match: str) -> Iterator[None]:
    """As `pytest.raises`, which keeps a circle of the error and its traceback."""
    try:
        yield
    except error as caught:
        if match not in str(caught):
            raise
    else:
        pytest.fail("nothing was refused")


def publish(publisher: lunar.MessagePublisher, data: bytes) -> None:
    with publisher.loan(speed=1.0, label="x", data=data) as lent:
        lent.speed = 2.0


def publish_a_number_of_elements(publisher: lunar.MessagePublisher, data: bytes) -> None:
    with publisher.loan(ticks=3, data=data, points=[Point(1, 2)]) as lent:
        lent.ticks[:] = 7


def publish_more_than_is_drafted(publisher: lunar.MessagePublisher, data: bytes) -> None:
    with publisher.loan(label="x" * 3000, data=data):
        pass


def discard(publisher: lunar.MessagePublisher, data: bytes) -> None:
    with refused(KeyError, "mine"), publisher.loan(data=data):
        raise KeyError("mine")


def never_enter(publisher: lunar.MessagePublisher, data: bytes) -> None:
    publisher.loan(data=data)


def never_enter_what_may_change(publisher: lunar.MessagePublisher, data: bytes) -> None:
    publisher.loan(data=bytearray(data), ticks=5)


def never_leave(publisher: lunar.MessagePublisher, data: bytes) -> None:
    publisher.loan(data=data).__enter__()


def grow_before_entering(publisher: lunar.MessagePublisher, data: bytes) -> None:
    growing = bytearray(data)
    loan = publisher.loan(data=growing)
    growing += bytes(5000)
    with refused(ValueError, "do not fit"), loan:
        pytest.fail("it has no room")


def name_no_field(publisher: lunar.MessagePublisher, data: bytes) -> None:
    with refused(lunar.FieldError, "one of its fields"):
        publisher.loan(data=data, dta=data)


def give_a_wrong_value(publisher: lunar.MessagePublisher, data: bytes) -> None:
    with refused(lunar.FieldError, "expected str"):
        publisher.loan(data=data, label=5)


def give_a_wrong_number(publisher: lunar.MessagePublisher, data: bytes) -> None:
    with refused(lunar.FieldError, "a possible number of elements"):
        publisher.loan(data=data, ticks=-1)


def enter_twice(publisher: lunar.MessagePublisher, data: bytes) -> None:
    loan = publisher.loan(data=data)
    with loan, refused(lunar.LunarError, "used once"):
        loan.__enter__()


def alive() -> int:
    kinds = ("MessageLoan", "Memory", "Wheel", "memoryview")
    return sum(type(each).__name__ in kinds for each in gc.get_objects())


@pytest.mark.parametrize(
    "use",
    [
        publish,
        publish_a_number_of_elements,
        publish_more_than_is_drafted,
        discard,
        never_enter,
        never_enter_what_may_change,
        never_leave,
        grow_before_entering,
        name_no_field,
        give_a_wrong_value,
        give_a_wrong_number,
        enter_twice,
    ],
)
def test_nothing_is_kept_when_a_loan_is_over(lender: Lender, use: Callable) -> None:
    publisher, data = lender.of, bytes(range(100))
    watched = (data, Wheel, Wheel.__lunar_plan__, publisher)

    def held() -> list[int]:
        return [*map(sys.getrefcount, watched), alive(), publisher.statistics().pool_bytes]

    def run(rounds: int) -> None:
        for _ in range(rounds):
            use(publisher, data)
            lender.subscription.take(5)

    run(20)
    gc.collect()
    gc.disable()  # none of these is a circle
    try:
        before, blocks = held(), sys.getallocatedblocks()
        run(ROUNDS)
        # What is kept by a round is there ROUNDS times; the node's own threads hold something for a moment.
        assert max(now - then for now, then in zip(held(), before, strict=True)) < ROUNDS // 10
        assert sys.getallocatedblocks() - blocks < ROUNDS // 2
    finally:
        gc.enable()


# ---- when values are looked at ----


def test_what_changes_before_the_block_is_sent_as_it_is_then(lender: Lender) -> None:
    data, points = bytearray(b"abc"), [Point(1, 2)]
    loan = lender.of.loan(data=data, points=points)
    data[0], points[0].x = 7, 5
    with loan as lent:
        assert bytes(lent.data) == b"\7bc"
    assert lender.received() == Wheel(data=b"\7bc", points=[Point(5, 2)], at=Point(0, 0))


def test_fields_may_be_given_in_any_order_by_names_from_anywhere(lender: Lender) -> None:
    names = ["".join(name) for name in ("label", "data", "speed")]
    with lender.of.loan(**dict(zip(names, ["text", b"abc", 3], strict=True))) as lent:
        assert (lent.label, bytes(lent.data), lent.speed) == ("text", b"abc", 3.0)
    assert lender.received() == Wheel(label="text", data=b"abc", speed=3.0, at=Point(0, 0))


@pytest.mark.parametrize("length", [0, 1, 800, *range(880, 960, 4), 2000, 5000])
def test_a_loan_is_whole_on_either_side_of_a_draft(lender: Lender, length: int) -> None:
    with lender.of.loan(speed=2.0, label="x" * length, data=b"abc") as lent:
        lent.at.y = 9
    assert lender.received() == Wheel(speed=2.0, label="x" * length, data=b"abc", at=Point(0, 9))


def test_a_class_with_a_constructor_of_its_own_is_asked(lender: Lender) -> None:
    kept = []

    @lunar.message
    class Named:
        label: str
        ticks: lunar.Array[lunar.int32]

        def __new__(cls, **fields: object) -> "Named":
            kept.append(super().__new__(cls, **{"label": "by default"} | fields))
            return kept[-1]

    publisher = lender.publisher(Named)
    loan = publisher.loan(ticks=2)
    kept[0].label = "changed"
    with loan as lent:
        lent.ticks[:] = 4
    received = lender.received()
    assert (received.label, received.ticks.tolist()) == ("changed", [4, 4])


def test_a_class_with_an_initialiser_of_its_own_is_asked(lender: Lender) -> None:
    @lunar.message
    class Begun:
        label: str

        def __init__(self, **fields: object) -> None:
            self.label += " begun"

    publisher = lender.publisher(Begun)
    with publisher.loan(label="it is"):
        pass
    assert lender.received().label.startswith("it is begun")


def test_a_class_that_makes_something_else_cannot_be_lent(lender: Lender) -> None:
    @lunar.message
    class Odd:
        ticks: lunar.Array[lunar.int32]

        def __new__(cls, *args: object, **fields: object) -> list[int]:
            return [1, 2, 3]

    publisher = lender.node.create_publisher(Odd, "lent/odd")
    with pytest.raises(TypeError, match="makes something else"):
        publisher.loan(ticks=3)


# ---- wrong use ----


def test_only_a_publisher_makes_one_and_nobody_sees_its_bytes(lender: Lender) -> None:
    with pytest.raises(TypeError):
        lunar.MessageLoan()
    with lender.of.loan(ticks=3) as lent, pytest.raises(TypeError, match="bytes-like"):
        memoryview(lender.of.loan(ticks=3))
    assert isinstance(lender.of.loan(), lunar.MessageLoan)
    assert lunar.MessageLoan[Wheel].__origin__ is lunar.MessageLoan
    del lent


def test_a_message_is_lent_by_fields_and_bytes_by_their_size(lender: Lender) -> None:
    with pytest.raises(TypeError, match="by their names"):
        lender.of.loan(3)
    raw = lender.node.create_publisher(bytes, "lent/raw")
    for arguments, fields in (((), {}), ((1, 2), {}), ((), {"size_bytes": 1}), ((1,), {"label": "x"})):
        with pytest.raises(TypeError, match="size in bytes"):
            raw.loan(*arguments, **fields)


def test_a_block_that_was_not_entered_cannot_be_left(lender: Lender) -> None:
    loan = lender.of.loan(speed=1.0)
    for leave in (loan.__exit__, loan.__aexit__):
        with pytest.raises(TypeError, match="3 arguments, 1 were given"):
            leave(None)
    with pytest.raises(lunar.LunarError, match="not open"):
        loan.__exit__(None, None, None)
    with pytest.raises(lunar.LunarError, match="used once"):
        loan.__enter__()
    assert lender.of.statistics().published == 0


def test_a_publisher_that_is_closed_lends_nothing(lender: Lender) -> None:
    loan, reserved = lender.of.loan(speed=1.0), lender.of.loan(ticks=4)
    lender.of.close()
    for each in (loan, reserved, lender.of.loan(speed=2.0)):
        with pytest.raises(lunar.ClosedError), each:
            pytest.fail("it is closed")


@contextmanager
def at_an_allocation(number: int, action: Callable[[], object]) -> Iterator[None]:
    """Runs it once, when the collector does: at about that allocation from now."""
    pending, before = [action], gc.get_threshold()

    def run(phase: str, _: object) -> None:
        if phase == "start" and pending:
            pending.pop()()

    gc.callbacks.append(run)
    gc.set_threshold(gc.get_count()[0] + number)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(run)


def left_at_an_allocation(publisher: lunar.MessagePublisher, number: int) -> str:
    """What becomes of a loan whose block somebody leaves at that time, successfully."""
    loan, left = publisher.loan(ticks=400, data=bytearray(9)), []

    def leave() -> None:
        with suppress(lunar.LunarError):
            loan.__exit__(None, None, None)
            left.append("left")

    try:
        with at_an_allocation(number, leave), loan as lent:
            over = bool(left)
            lent.speed = 1.0
            left += ["and set"] * over
    except (lunar.LunarError, lunar.FieldError) as error:
        return f"{error} {left}"
    return "published"


def test_the_block_may_be_left_while_it_is_entered(lender: Lender) -> None:
    outcomes: set[str] = set()
    for _ in range(20):  # other threads allocate, too, so the moment may be missed
        outcomes |= {left_at_an_allocation(lender.of, number) for number in range(30)}
        if "the loan is not open ['left']" in outcomes:
            break
    assert "the loan is not open ['left']" in outcomes
    assert not [outcome for outcome in outcomes if "and set" in outcome], outcomes
    with lender.of.loan(ticks=4) as lent:
        lent.ticks[:] = 3
    last = next(each for each in iter(lender.received, None) if len(each.ticks) == 4)
    assert last.ticks.tolist() == [3, 3, 3, 3]


def test_a_frozen_message_can_be_read_but_not_set(lender: Lender) -> None:
    for fields in ({"speed": 1.0}, {"speed": 1.0, "ticks": 3}):
        with lender.of.loan(**fields) as lent:
            pass
        with pytest.raises(lunar.FieldError, match="read-only"):
            lent.speed = 2.0
        assert lent.speed == 1.0
