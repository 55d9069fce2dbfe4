"""Schemas that are asked of other hosts, and told to them: by one want and one answer, whoever lies or is silent."""

import json
import random
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from lunar.errors import PeerFault, ResourceExhausted
from lunar.graph.network.remote import RemoteProcess
from lunar.graph.network.wants import Wants
from lunar.graph.schemas import OwnSchemas, schema_text
from lunar.messages.identity import type_hash
from lunar.messages.schema import Field, Scalar, Schema, TableDefinition

OURS = "0a" * 16
STATE = Schema({"robot.State": TableDefinition("robot.State", (Field("x", Scalar.FLOAT32, 0, 0.0),))}, "robot.State")
HASH = type_hash(STATE, "robot.State")
TEXT = schema_text((STATE, "robot.State")) or ""

Record = dict[str, object]


class World:
    """What asks and answers, with a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.posted: dict[str, Record] = {}
        self.judged: list[tuple[str, str, str]] = []
        self.now_s = 100.0
        self._later: list[tuple[float, Callable[[], object]]] = []
        self.full = False
        self.own = OwnSchemas()
        monkeypatch.setattr(f"{Wants.__module__}.time", SimpleNamespace(monotonic=lambda: self.now_s))
        self.wants = Wants(
            OURS,
            self.own,
            self._post,
            lambda name: self.posted.pop(name, None),
            lambda delay_s, function: self._later.append((self.now_s + delay_s, function)),
            lambda process, own_id, their_id: self.judged.append((process.id, own_id, their_id)),
        )

    def _post(self, name: str, record: object) -> None:
        if self.full:
            raise ResourceExhausted("the board is full")
        self.posted[name] = json.loads(json.dumps(record))

    @property
    def asked(self) -> list[object]:
        """Whom is asked for the schema now."""
        return [record["process"] for record in self.posted.values() if record["kind"] == "want"]

    def wait(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while due := [each for each in self._later if each[0] <= end_s]:
            first = min(due, key=lambda each: each[0])
            self._later.remove(first)
            self.now_s = max(self.now_s, first[0])
            first[1]()
        self.now_s = end_s

    def tell(self, process: RemoteProcess, text: str = TEXT, of: str = HASH) -> None:
        process.schemas.take({"hash": of, "text": text}, process.pid)
        self.wants.heard(process, of)

    def ask(self, process: RemoteProcess, their_id: str = "t1", own_id: str = "o1") -> bool:
        return self.wants.request(process, HASH, their_id, own_id)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def process(number: int = 1) -> RemoteProcess:
    record = {"id": f"{number:032x}", "host": "there", "host_key": "1b" * 16, "pid": number, "uid": 3}
    return RemoteProcess({**record, "transports": [], "addresses": {}})


# ---- what we ask for ----------------------------------------------------------------------------------------------


def test_a_schema_is_asked_for_and_taken_back_with_the_answer(world: World) -> None:
    there = process()
    assert world.ask(there)
    assert list(world.posted.values()) == [{"kind": "want", "process": there.id, "hash": HASH}]
    assert world.wants.is_pending(HASH)
    world.tell(there)
    assert world.posted == {}
    assert not world.wants.is_pending(HASH)
    assert world.judged == [(there.id, "o1", "t1")]


def test_of_many_who_have_the_type_one_is_asked_and_all_pairs_are_judged(world: World) -> None:
    many = [process(number) for number in range(1, 51)]
    for each in many:
        assert world.ask(each)
    assert world.ask(many[3], "t2", "o2")
    assert world.asked == [many[0].id]
    world.tell(many[0])
    assert len(world.judged) == 51
    assert (many[3].id, "o2", "t2") in world.judged


def test_anybody_s_answer_will_do(world: World) -> None:
    world.ask(process(1))
    world.tell(process(2))
    assert (world.posted, len(world.judged)) == ({}, 1)


def test_who_does_not_answer_is_not_waited_for_and_others_are_asked_meanwhile(world: World) -> None:
    many = [process(number) for number in range(1, 6)]
    for each in many:
        world.ask(each)
    for count in (1, 2, 3):
        assert len(world.asked) == count
        world.wait(1)
    assert len(world.judged) == 5  # without the schema
    assert not world.ask(many[0])
    assert not world.wants.is_pending(HASH)
    world.wait(10)
    assert len(world.asked) == 5
    world.judged.clear()
    world.tell(many[4])  # late, but not in vain
    assert len(world.judged) == 5
    assert world.posted == {}


def test_who_has_none_or_lies_is_not_waited_for(world: World) -> None:
    first, second = process(1), process(2)
    world.ask(first)
    world.ask(second)
    world.tell(first, "")
    assert world.asked == [first.id, second.id]
    assert not world.judged
    world.tell(second, "no JSON")
    assert len(world.judged) == 2
    assert not world.wants.is_pending(HASH)
    assert not world.ask(first)


def test_who_has_said_that_it_has_none_is_not_asked(world: World) -> None:
    there = process()
    there.schemas.take({"hash": HASH, "text": ""}, 1)
    assert not world.ask(there)
    assert not world.wants.is_pending(HASH)
    assert world.posted == {}


def test_who_comes_late_is_asked_although_others_were_silent(world: World) -> None:
    world.ask(process(1))
    world.wait(4)
    other = process(2)
    assert world.ask(other)
    assert other.id in world.asked
    world.wait(4)
    assert not world.wants.is_pending(HASH)


def test_a_want_is_taken_back_with_the_last_who_needs_it(world: World) -> None:
    there = process()
    world.ask(there, "t1", "o1")
    world.ask(there, "t2", "o1")
    world.ask(there, "t2", "o2")
    world.wants.remote_removed(there, HASH, "t1")
    world.wants.remote_removed(there, HASH, "t1")
    world.wants.local_removed("o1")
    assert world.asked == [there.id]
    world.wants.local_removed("o2")
    assert world.posted == {}
    assert world.ask(there)
    world.wants.remote_removed(there, HASH, "t1")
    assert world.posted == {}
    world.wait(100)
    assert world.judged == []


def test_a_process_that_is_gone_is_not_asked_but_another(world: World) -> None:
    first, second = process(1), process(2)
    world.ask(first)
    world.ask(second)
    world.wants.forget(first)
    assert world.asked == [second.id]
    world.wants.forget(second)
    assert world.posted == {}


def test_a_tool_s_want_does_not_stay(world: World) -> None:
    there = process()
    assert world.wants.request(there, HASH)
    assert world.asked == [there.id]
    world.wait(2.9)
    assert world.wants.is_pending(HASH)
    world.wait(0.2)
    assert not world.wants.is_pending(HASH)
    assert world.posted == {}


def test_a_tool_s_want_does_not_take_that_of_a_pair_with_it(world: World) -> None:
    there = process()
    world.ask(there)
    world.wants.request(there, HASH)
    world.wait(10)
    assert world.asked == [there.id]


def test_what_is_asked_of_one_and_in_all_is_bounded(world: World) -> None:
    for number in range(1, 7):
        there = process(number)
        for which in range(1000):
            assert world.wants.request(there, f"{number:016x}{which:016x}", f"t{which}", "o")
    asked = world.asked
    assert (len(asked), max(asked.count(each) for each in asked)) == (1024, 256)
    first = process(9)
    assert world.ask(first)
    assert len(world.asked) == 1024
    world.wants.local_removed("o")
    assert world.asked == []
    world.wait(1)
    assert world.asked == [first.id]  # there is room again


def test_a_board_that_is_full_is_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.full = True
    there = process()
    assert world.ask(there)
    assert "the board is full" in caplog.text
    world.full = False
    world.wait(1)
    assert world.asked == [there.id]


# ---- what we are asked for ----------------------------------------------------------------------------------------


def want(number: int = 0, **changes: object) -> Record:
    return {"kind": "want", "process": OURS, "hash": HASH if not number else f"{number:032x}", **changes}


def test_a_type_of_ours_is_told_once_to_who_asks(world: World) -> None:
    world.own.add((STATE, "robot.State"), HASH)
    world.wants.asked(process(1), want())
    assert list(world.posted.values()) == [{"kind": "schema", "hash": HASH, "text": TEXT}]
    world.posted.clear()
    world.wants.asked(process(2), want())
    assert world.posted == {}


def test_what_somebody_else_is_asked_for_is_not_ours_to_tell(world: World) -> None:
    world.own.add((STATE, "robot.State"), HASH)
    world.wants.asked(process(), want(process="3a" * 16))
    world.wants.asked(process(), want(7))
    assert world.posted == {}


def test_of_a_type_whose_text_is_too_long_we_say_so(world: World) -> None:
    fields = tuple(Field(f"a_field_with_a_long_name_{number}", Scalar.INT8, number, 0) for number in range(2000))
    long = Schema({"robot.State": TableDefinition("robot.State", fields)}, "robot.State")
    world.own.add((long, "robot.State"), HASH)
    world.wants.asked(process(), want())
    [record] = world.posted.values()
    assert record["text"] == ""


def test_an_answer_that_the_board_has_no_room_for_is_given_later(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.own.add((STATE, "robot.State"), HASH)
    world.full = True
    world.wants.asked(process(1), want())
    assert "the board is full" in caplog.text
    world.full = False
    world.wants.asked(process(2), want())
    assert len(world.posted) == 1


@pytest.mark.hostile
def test_nobody_gets_more_by_asking_for_more(world: World) -> None:
    world.own.add((STATE, "robot.State"), HASH)
    there = process()
    for number in range(2048):
        world.wants.asked(there, want(number))
    assert len(world.posted) == 1
    with pytest.raises(PeerFault, match="more than 2048 schemas"):
        world.wants.asked(there, want(5000))


@pytest.mark.hostile
@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_in_whatever_order_nothing_is_left(world: World, seed: int) -> None:
    chance = random.Random(seed)
    there = [process(number) for number in range(1, 5)]
    for _ in range(400):
        who = chance.choice(there)
        their_id, own_id = f"t{chance.randrange(3)}", f"o{chance.randrange(3)}"
        match chance.randrange(8):
            case 0 | 1 | 2:
                if HASH not in who.schemas.texts:
                    world.ask(who, their_id, own_id)
            case 3:
                world.wants.remote_removed(who, HASH, their_id)
            case 4:
                world.wants.local_removed(own_id)
            case 5:
                world.wait(chance.random())
            case 6 if HASH not in who.schemas.texts:
                world.tell(who, chance.choice(["", "{", TEXT]))
            case 7:
                world.wants.forget(who)
                there[there.index(who)] = process(who.pid)
        assert len(world.asked) == len(set(map(str, world.asked)))
    for own_id in ("o0", "o1", "o2"):
        world.wants.local_removed(own_id)
    assert world.posted == {}
    assert not world.wants._open
    assert not world.wants._asked_of
