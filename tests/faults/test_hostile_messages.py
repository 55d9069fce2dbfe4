"""Socket messages that break the protocol: each ends the link that it came over, and nothing else."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lunar
from lunar import events
from tests.faults.hostile import Hostile, make_memory
from tests.faults.victim import attacked, run

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_leaks")]

Act = Callable[[Hostile], None]
TOPIC = "/scan"
HUGE = 10**4000  # just below what CPython agrees to read
DEEP = 500


def _raw(packet: bytes) -> Act:
    return lambda hostile: hostile.send_raw(packet)


def _op(**operation: object) -> Act:
    return lambda hostile: hostile.send(operation)


def _nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def _endpoint(**changes: object) -> Act:
    """An endpoint with some fields changed; a field of None is left out."""

    def act(hostile: Hostile) -> None:
        made = hostile.endpoint("publisher", TOPIC, **changes)
        hostile.send({"op": "endpoint", "endpoint": {key: value for key, value in made.items() if value is not None}})

    return act


def _qos(**changes: object) -> Act:
    def act(hostile: Hostile) -> None:
        hostile.announce("publisher", TOPIC, qos={**hostile.remote(TOPIC)["qos"], **changes})

    return act


def _twice(hostile: Hostile) -> None:
    mine = hostile.endpoint("publisher", TOPIC)
    hostile.send({"op": "endpoint", "endpoint": mine}, {"op": "endpoint", "endpoint": mine})


def _unused_descriptors(hostile: Hostile) -> None:
    hostile.send({"op": "synced"}, fds=[hostile.bells_fd])


def _descriptors_for_news(hostile: Hostile) -> None:
    hostile.send({"op": "synced", "fds": 1}, fds=[hostile.bells_fd])


def _too_many_descriptors(hostile: Hostile) -> None:
    hostile.send({"op": "synced", "fds": 200}, fds=[hostile.bells_fd] * 200)


def _same_schema_twice(hostile: Hostile) -> None:
    for _ in range(2):
        hostile.send({"op": "schema", "hash": "0" * 32, "text": "{}"})


def _second_greeting(hostile: Hostile) -> None:
    hello = {"op": "hello", "protocol": "lunar-link/1.1", "name": hostile.name, "domain": 0, "fds": 2}
    hostile.send(hello, fds=[hostile.bells_fd, hostile.mouth.fileno()])


def _bad_after_good(hostile: Hostile) -> None:
    """The first operation of a packet is in order and brings descriptors, the second is not."""
    mine = hostile.endpoint("publisher", TOPIC)
    body = {"op": "segment", "publisher": mine["id"], "index": 0, "size_bytes": 4096}
    segment = hostile.owns(make_memory(4096))
    first = {"op": "transport", "transport": "shm", "body": body, "fds": 1}
    hostile.send({"op": "endpoint", "endpoint": mine}, first, {"op": "?"}, {**first, "body": {}}, fds=[segment] * 2)


AFTER_GREETING: dict[str, tuple[Act, str]] = {
    "no JSON": (_raw(b"\x00"), "not JSON"),
    "half of it": (_raw(b'[{"op":"sync'), "not JSON"),
    "something behind it": (_raw(b"[]]"), "not JSON"),
    "not UTF-8": (_raw(b'[{"op":"\xff\xfe"}]'), "not JSON"),
    "too long a packet": (_raw(b"[" + b" " * 150_000 + b"]"), "more than 131072 bytes"),
    "lists too deep": (_raw(_nested(60_000).encode()), "not JSON"),
    "objects too deep": (_raw(b'{"a":' * 20_000), "not JSON"),
    "an integer of ten thousand digits": (_raw(b"[" + b"9" * 10_000 + b"]"), "not JSON"),
    "no list": (_raw(b"{}"), "not a list"),
    "a number": (_raw(b"1e999"), "not a list"),
    "not a number": (_raw(b"NaN"), "not a list"),
    "a list of lists": (_raw(b"[[]]"), "without a name"),
    "an operation without a name": (_op(), "without a name"),
    "an operation with a number for a name": (_op(op=1), "without a name"),
    "an unknown operation": (_op(op="format"), "unknown operation 'format'"),
    "an unknown operation with a very long name": (_op(op="x" * 100_000), "unknown operation 'x{40}'"),
    "an operation that cannot be printed": (_op(op="\ud800\x1b[31m"), "unknown operation"),
    "descriptors that are not there": (_op(op="synced", fds=1), "lacks its descriptors"),
    "a negative number of descriptors": (_op(op="synced", fds=-1), "lacks its descriptors"),
    "a huge number of descriptors": (_op(op="synced", fds=HUGE), "lacks its descriptors"),
    "descriptors counted in words": (_op(op="synced", fds="1"), "lacks its descriptors"),
    "descriptors of no operation": (_unused_descriptors, "belong to no operation"),
    "descriptors that nobody asked for": (_descriptors_for_news, "with descriptors"),
    "too many descriptors": (_too_many_descriptors, "more than 64 descriptors"),
    "a second greeting": (_second_greeting, "greets twice"),
    "good and bad in one packet": (_bad_after_good, "unknown operation"),
    "a node of nothing": (_op(op="node"), "node"),
    "a node of numbers": (_op(op="node", node=HUGE), "node"),
    "a node without a name": (_op(op="node", node={"namespace": "/", "endpoints": []}), "'name'"),
    "a node with a bad name": (_op(op="node", node={"name": "a b", "namespace": "/", "endpoints": []}), "'name'"),
    "a node with a list for a name": (_op(op="node", node={"name": [], "namespace": "/", "endpoints": []}), "'name'"),
    "a node with foreign endpoints": (
        _op(op="node", node={"name": "a", "namespace": "/", "endpoints": [1]}),
        "mapping",
    ),
    "an endpoint of nothing": (_op(op="endpoint"), "endpoint"),
    "an endpoint without an id": (_endpoint(id=None), "'id'"),
    "an endpoint with a long id": (_endpoint(id="0" * 33), "'id'"),
    "an endpoint with a numeric id": (_endpoint(id=HUGE), "'id'"),
    "an endpoint with an id in capitals": (_endpoint(id="A" * 32), "'id'"),
    "an endpoint of no kind": (_endpoint(kind="service"), "'kind'"),
    "an endpoint of a kind that cannot be compared": (_endpoint(kind={"publisher": 1}), "'kind'"),
    "an endpoint on a relative topic": (_endpoint(topic="scan"), "'topic'"),
    "an endpoint on a very long topic": (_endpoint(topic="/" + "a" * 50_000), "'topic'"),
    "an endpoint on a topic with an escape": (_endpoint(topic="/\x1b[31m"), "'topic'"),
    "an endpoint of a type with an escape": (_endpoint(type_name="\x1b[31m"), "'type_name'"),
    "an endpoint of a type without a hash": (_endpoint(type_hash=None), "'type_hash'"),
    "an endpoint without a node": (_endpoint(node_name=None), "'node_name'"),
    "an endpoint without a profile": (_endpoint(qos=0), "'qos'"),
    "a profile that is a lie": (_qos(reliability="certain"), "'qos'"),
    "a profile of the wrong types": (_qos(history={"keep_last": 1}), "'qos'"),
    "a depth of a thousand digits": (_qos(depth=HUGE), "'qos'"),
    "a depth of nothing": (_qos(depth=0), "'qos'"),
    "a depth of a fraction": (_qos(depth=0.5), "'qos'"),
    "a lifespan of a thousand digits": (_qos(lifespan_s=HUGE), "'qos'"),
    "a lifespan that is no number": (_qos(lifespan_s=float("nan")), "'qos'"),
    "a deadline of for ever": (_qos(deadline_s=float("inf")), "'qos'"),
    "the same endpoint twice": (_twice, "twice"),
    "a schema of nothing": (_op(op="schema"), "no hash or no text"),
    "a schema without a hash": (_op(op="schema", hash=HUGE, text="{}"), "no hash or no text"),
    "a schema that is no text": (_op(op="schema", hash="0" * 32, text={"version": 1}), "no hash or no text"),
    "a schema that is too long": (_op(op="schema", hash="0" * 32, text=" " * 60_001), "more schemas"),
    "a schema told twice": (_same_schema_twice, "more schemas"),
    "a transport of nothing": (_op(op="transport"), "transport"),
    "an unknown transport": (_op(op="transport", transport="zmq", body={}), "do not share"),
    "a transport that cannot be looked up": (_op(op="transport", transport={"a": []}, body={}), "do not share"),
    "a transport's message of nothing": (_op(op="transport", transport="shm", body={}), "did not announce"),
    "a transport's message that is no object": (_op(op="transport", transport="shm", body=[1]), "do not share"),
}

BEFORE_GREETING: dict[str, tuple[Act, str]] = {
    "news": (_op(op="node", node={"name": "a", "namespace": "/", "endpoints": []}), "before its greeting"),
    "a farewell": (_op(op="bye"), "before its greeting"),
    "a transport's message": (_op(op="transport", transport="shm", body={}), "before its greeting"),
    "an unknown operation": (_op(op="format"), "before its greeting"),
    "a greeting of nothing": (_op(op="hello"), "two versions"),
    "a greeting in another language": (_op(op="hello", protocol="lunar-link/9.9"), "two versions"),
    "a greeting in numbers": (_op(op="hello", protocol=HUGE), "two versions"),
    "a greeting in lists": (lambda hostile: hostile.send(hostile.hello(protocol=[[1]])), "descriptors|two versions"),
    "a greeting without bells": (lambda hostile: hostile.send(hostile.hello(fds=0)), "does not bring its bells"),
}

GREETINGS: dict[str, tuple[dict[str, Any], str]] = {
    "another domain": ({"domain": 7}, "domain"),
    "a domain of a thousand digits": ({"domain": HUGE}, "domain"),
    "no name": ({"name": None}, "domain"),
    "a path for a name": ({"name": "../../etc/passwd"}, "domain"),
    "a number for a name": ({"name": 5}, "domain"),
    "bells of no size": ({"bells_bytes": None}, "bells"),
    "bells of a negative size": ({"bells_bytes": -1}, "bells"),
    "bells of a huge size": ({"bells_bytes": HUGE}, "bells"),
    "bells of the wrong size": ({"bells_bytes": 4096}, "bells"),
    "a truth for a size": ({"bells_bytes": True}, "bells"),
}


def test_whatever_is_no_operation_ends_the_link(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            victim.node.create_subscription(bytes, TOPIC)
            for name, (act, reason) in AFTER_GREETING.items():
                print(name)
                with victim.hostile() as hostile:
                    hostile.greet()
                    act(hostile)
                    await victim.disconnects(hostile, reason)

    run(attack())


def test_who_does_not_greet_properly_is_not_heard(runtime_dir: Path) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            for name, (act, reason) in BEFORE_GREETING.items():
                print(name)
                with victim.hostile() as hostile:
                    act(hostile)
                    await victim.disconnects(hostile, reason)
            for name, (changes, reason) in GREETINGS.items():
                print(name)
                with victim.hostile() as hostile:
                    hostile.send(hostile.hello(**changes), fds=[hostile.bells_fd, hostile.mouth.fileno()])
                    await victim.disconnects(hostile, reason)

    run(attack())


def test_nesting_just_below_the_decoders_limit_is_harmless(runtime_dir: Path) -> None:
    """What can be read may still be too deep to be shown in an error."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            for levels in range(850, 1000, 5):
                with victim.hostile() as hostile:
                    greeting = json.dumps([hostile.hello(protocol="NESTED")])
                    descriptors = [hostile.bells_fd, hostile.mouth.fileno()]
                    hostile.send_raw(greeting.replace('"NESTED"', _nested(levels)).encode(), descriptors)
                    await victim.disconnects(hostile)
                with victim.hostile() as hostile:
                    hostile.greet()
                    for key in ("name", "id", "node", "endpoint", "transport"):
                        op = "node_gone" if key == "name" else "endpoint_gone" if key == "id" else key
                        hostile.send_raw(f'[{{"op":"{op}","{key}":{_nested(levels)}}}]'.encode())
                    await victim.disconnects(hostile)

    run(attack())


def test_news_that_concern_nothing_are_ignored(runtime_dir: Path) -> None:
    """A peer may take back what we never heard of: its announcement and its end may have crossed ours."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            subscription = victim.node.create_subscription(bytes, TOPIC)
            with victim.hostile() as hostile:
                hostile.greet()
                hostile.send(
                    {"op": "node_gone", "name": HUGE},
                    {"op": "node_gone"},
                    {"op": "endpoint_gone", "id": [1, 2]},
                    {"op": "endpoint_gone"},
                    {"op": "synced", "colour": "blue"},
                )
                hostile.publish_on(TOPIC)
                await subscription.wait_for_publishers(1, 10)
                hostile.send({"op": "bye"})
            await victim.serves()

    run(attack())


def test_a_packet_of_nothing_is_a_fault(runtime_dir: Path) -> None:
    """It reads like the end of file, but the peer is there."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            with victim.hostile() as hostile:
                hostile.greet()
                hostile.send_raw(b"")
                await victim.disconnects(hostile, "empty packet")
            with victim.hostile() as hostile:
                hostile.greet()
                hostile.send_raw(b"", [hostile.bells_fd])
                await victim.disconnects(hostile, "not JSON")

    run(attack())


def test_the_fault_is_told_to_every_node(runtime_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def attack() -> None:
        async with attacked(runtime_dir) as victim, lunar.Node("other"):
            with victim.hostile() as hostile:
                hostile.greet()
                hostile.send({"op": "format"})
                event = await victim.disconnects(hostile)
            assert "broke the rules and was disconnected: it sent an unknown operation 'format'" in str(event)

    run(attack())
    assert "broke the rules" in caplog.text  # nobody listens to the other node's events


LIES = {
    "no JSON": "{",
    "deep nesting": "[" * 50_000,
    "another type's": '{"definitions":{"robot.State":{"fields":[],"kind":"table"}},"root":"robot.State","version":1}',
    "a struct within itself": '{"definitions":{"robot.State":{"fields":[{"name":"s","type":".robot.State"}],'
    '"kind":"struct"}},"root":"robot.State","version":1}',
    "numbers without end": '{"version":' + "9" * 5_000 + "}",
}


@pytest.mark.parametrize("lie", LIES)
def test_who_lies_about_a_type_has_no_match(lie: str, runtime_dir: Path) -> None:
    @lunar.message(name="robot.State")
    class State:
        x: lunar.float32

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            victim.node.create_publisher(State, TOPIC)
            subscription = victim.node.create_subscription(State, TOPIC)
            await subscription.wait_for_publishers(1, 10)
            with victim.hostile() as hostile:
                hostile.greet()
                hostile.send({"op": "schema", "hash": "0" * 32, "text": LIES[lie]})
                mismatched = victim.spawn(victim.event(lambda event: isinstance(event, events.TypeMismatch)))
                await asyncio.sleep(0)
                hostile.announce("publisher", TOPIC, type_name="robot.State", type_hash="0" * 32)
                hostile.announce("subscription", TOPIC, type_name="robot.State", type_hash="0" * 32)
                await mismatched
                assert subscription.publisher_count == 1
                await victim.serves()

    run(attack())


@pytest.mark.parametrize("lie", ["", "{", " "])
def test_a_lie_hides_no_schema_that_another_peer_tells(lie: str, runtime_dir: Path) -> None:
    @lunar.message(name="robot.State")
    class State:
        x: lunar.float32

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            publisher = victim.node.create_publisher(State, TOPIC)
            info = publisher._local.info
            with victim.hostile() as first, victim.hostile() as second:
                truth = None
                for hostile in (first, second):
                    hostile.greet()
                    truth = next(op["text"] for op, _ in hostile.inbox if op["op"] == "schema")
                    hostile.send({"op": "schema", "hash": info.type_hash, "text": lie})
                assert truth
                await victim.settle()
                snapshot = victim.node._participant.snapshot(10)
                assert snapshot.schemas[info.type_hash] == truth

    run(attack())
