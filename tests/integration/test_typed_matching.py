"""Versions of a type meet on a topic: who can read the other is matched, who cannot is told field by field."""

import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import pytest

import lunar
from lunar import events
from lunar.testing import collect

WITHIN_S = 5.0

OTHER = """
import sys, lunar

def declare(fields):
    scope = {"lunar": lunar}
    exec("@lunar.message(name='robot.State')\\nclass State:\\n" + "".join(f"    {field}\\n" for field in fields), scope)
    return scope["State"]

async def main():
    async with lunar.Node("other") as node:
        State = declare(sys.argv[1].split(";"))
        echo = node.create_publisher(State, "back", qos=lunar.qos.SERVICES_DEFAULT)
        sub = node.create_subscription(State, "there", qos=lunar.qos.SERVICES_DEFAULT)
        print("ready", flush=True)
        async for state in sub:
            print(state, flush=True)
            await echo.publish(State(x=2.0 * state.x))

lunar.run(main())
"""


class Other:
    """The other process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.process = process
        self.out: IO[str] = process.stdout


@pytest.fixture
def other(request: pytest.FixtureRequest) -> Iterator[Other]:
    """A process whose version of robot.State has the fields that the test's parameter gives."""
    command = [sys.executable, "-P", "-c", OTHER, request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        started = Other(process)
        assert started.out.readline() == "ready\n"
        yield started
        process.kill()


@lunar.message(name="robot.State")
class State:
    """Ours."""

    x: lunar.float32
    note: str = "none"


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        ("x: lunar.float32;note: str = 'none'", "State(x=1.5, note='hi')\n"),
        ("x: lunar.float32", "State(x=1.5)\n"),
        ("x: lunar.float32;note: str = 'none';more: lunar.int32 = 7", "State(x=1.5, note='hi', more=7)\n"),
    ],
    indirect=["other"],
)
async def test_versions_that_can_read_each_other_match(other: Other, shown: str) -> None:
    async with lunar.Node("here") as node:
        back = node.create_subscription(State, "back", qos=lunar.qos.SERVICES_DEFAULT)
        there = node.create_publisher(State, "there", qos=lunar.qos.SERVICES_DEFAULT)
        await there.wait_for_subscribers(1, WITHIN_S)
        await back.wait_for_publishers(1, WITHIN_S)
        await there.publish(State(x=1.5, note="hi"))
        received = await back.receive()
        assert received == State(x=3.0)
        assert other.out.readline() == shown


@pytest.mark.parametrize("other", ["x: lunar.int32;note: str = 'none'"], indirect=True)
async def test_versions_that_cannot_are_told_field_by_field(other: Other) -> None:
    async with lunar.Node("here") as node, collect(node, events.TypeMismatch) as seen:
        there = node.create_publisher(State, "there", qos=lunar.qos.SERVICES_DEFAULT)
        (event,) = await seen.wait_for(1, timeout_s=WITHIN_S)
        assert isinstance(event, events.TypeMismatch)
        assert event.local.id == there.id
        assert event.differences == ("robot.State.x: type changed: ours float32, theirs int32 (incompatible)",)
        assert str(event).endswith(event.differences[0])
        assert there.subscriber_count == 0


async def test_types_of_other_names_have_no_differences_to_tell() -> None:
    @lunar.message(name="robot.Pose")
    class Pose:
        x: lunar.float32

    async with lunar.Node("here") as node, collect(node, events.TypeMismatch) as seen:
        node.create_subscription(Pose, "place")
        node.create_publisher(State, "place")
        for event in await seen.wait_for(2, timeout_s=WITHIN_S):
            assert isinstance(event, events.TypeMismatch)
            assert event.differences == ()


async def test_bytes_and_messages_do_not_match() -> None:
    async with lunar.Node("here") as node, collect(node, events.TypeMismatch) as seen:
        node.create_subscription(bytes, "place")
        node.create_publisher(State, "place")
        await seen.wait_for(2, timeout_s=WITHIN_S)


def test_a_snapshot_has_the_schemas_of_all_types() -> None:
    from lunar.graph.schemas import parse

    with lunar.Node("here") as node:
        publisher = node.create_publisher(State, "place")
        snapshot = lunar.graph_snapshot()
        (endpoint,) = snapshot.endpoints
        assert endpoint.id == publisher.id
        schema, root = parse(snapshot.schemas[endpoint.type_hash], endpoint.type_hash)
        assert root == endpoint.type_name == "robot.State"
        assert [field.name for field in schema.definitions[root].fields] == ["x", "note"]  # type: ignore[union-attr]
