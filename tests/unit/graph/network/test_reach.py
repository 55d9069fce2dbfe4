"""What does not reach whom: held for a while, told, and taken back; without a clock of its own to wait for."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from lunar.abc import Capabilities
from lunar.graph.network import reach
from lunar.graph.network.engines import EngineHost
from lunar.graph.network.reach import HOLD_S, LONGEST_HOLD_S, Reach
from lunar.graph.network.remote import RemoteProcess
from lunar.graph.transports import TransportInfo

THEM = "1a" * 16


class Around:
    """A reach, engines that say what a test says, and a clock that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(reach, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        self.cut: dict[str, float] = {"one": 0.0, "two": 0.0}
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.told: list[tuple[str, str]] = []
        self.changes = 0
        hosts = {name: cast("EngineHost", self._host(name)) for name in self.cut}
        self.reach = Reach(
            hosts, self._later, lambda _id, name, reason, _s: self.told.append((name, reason)), self._changed
        )
        capable = [TransportInfo(name, Capabilities(reach="network", reliable=True)).to_dict() for name in self.cut]
        record = {"id": THEM, "host": "there", "host_key": THEM, "pid": 1, "uid": 1, "transports": capable}
        self.process = RemoteProcess({**record, "addresses": {"one": {}, "two": {}}})

    def _host(self, name: str) -> object:
        return SimpleNamespace(lock=threading.RLock(), engine=SimpleNamespace(cut_off_s=lambda _id: self.cut[name]))

    def _later(self, delay_s: float, function: Callable[[], object]) -> None:
        self.timers.append((self.now_s + delay_s, function))

    def _changed(self, _process: RemoteProcess) -> None:
        self.changes += 1

    def lose(self, name: str) -> None:
        self.cut[name] = 0.1
        self.reach.exclude(self.process, name, f"{name} is out")

    def pass_time(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while due := sorted((timer for timer in self.timers if timer[0] <= end_s), key=lambda timer: timer[0]):
            self.timers.remove(due[0])
            self.now_s = max(self.now_s, due[0][0])
            due[0][1]()
        self.now_s = end_s


@pytest.fixture
def around(monkeypatch: pytest.MonkeyPatch) -> Around:
    return Around(monkeypatch)


def test_it_is_held_although_it_is_back(around: Around) -> None:
    around.lose("one")
    assert around.told == [("one", "one is out")]
    assert around.reach.reasons(around.process) == {"one": "one is out"}
    around.cut["one"] = 0.0
    around.pass_time(HOLD_S - 0.1)
    assert around.reach.reasons(around.process) == {"one": "one is out"}
    around.pass_time(0.2)
    assert around.reach.reasons(around.process) == {}
    assert around.told[1:] == [("one", "")]
    assert around.changes == 2


def test_it_is_out_for_as_long_as_it_is_cut_off(around: Around) -> None:
    around.lose("one")
    around.pass_time(100)
    assert around.reach.reasons(around.process) == {"one": "one is out"}
    around.cut["one"] = 0.0
    around.pass_time(1)
    assert around.reach.reasons(around.process) == {}


def test_what_comes_and_goes_is_held_longer_each_time(around: Around) -> None:
    held = []
    for _ in range(6):
        around.lose("one")
        around.cut["one"] = 0.0
        began_s = around.now_s
        while around.reach.reasons(around.process):
            around.pass_time(1)
        held.append(around.now_s - began_s)
    assert held == [HOLD_S, 10, 20, 40, LONGEST_HOLD_S, LONGEST_HOLD_S]
    around.pass_time(2 * LONGEST_HOLD_S)
    around.lose("one")
    around.cut["one"] = 0.0
    around.pass_time(HOLD_S)
    assert around.reach.reasons(around.process) == {}


def test_what_is_back_is_let_go_when_the_other_one_fails(around: Around) -> None:
    around.lose("one")
    around.cut["one"] = 0.0
    around.lose("two")
    assert around.reach.reasons(around.process) == {"two": "two is out"}
    assert around.told == [("one", "one is out"), ("two", "two is out"), ("one", "")]


def test_it_is_let_go_as_well_if_the_other_side_says_that_one_failed(around: Around) -> None:
    around.lose("one")
    around.cut["one"] = 0.0
    around.process.unreachable["two"] = "two is out"
    around.reach.heard(around.process)
    assert around.reach.reasons(around.process) == {"two": "two is out"}


def test_both_sides_have_the_same_reasons(around: Around) -> None:
    around.lose("one")
    around.process.unreachable.update(one="a cable is out", two="b")
    assert around.reach.reasons(around.process) == {"one": "a cable is out", "two": "b"}
    around.process.unreachable["one"] = "zzz"
    assert around.reach.reasons(around.process)["one"] == "one is out"


def test_who_is_gone_is_forgotten(around: Around) -> None:
    around.lose("one")
    around.process.closed = True
    around.reach.forget(around.process)
    assert around.told[1:] == [("one", "")]
    around.pass_time(100)
    assert around.reach.reasons(around.process) == {}
    assert around.changes == 1


def test_an_engine_that_was_opened_anew_is_tried_at_once(around: Around) -> None:
    around.lose("one")
    around.process.renewed.add("one")
    around.reach.heard(around.process)
    assert around.reach.reasons(around.process) == {}
    assert around.process.renewed == set()
