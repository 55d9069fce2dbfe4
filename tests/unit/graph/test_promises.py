"""Deadlines and leases, with a clock of the test's own."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar import events
from lunar._native._bus import Reader, ReaderMatch, Writer
from lunar.abc import PublisherEnd
from lunar.events import Event
from lunar.graph import promises
from lunar.graph.descriptions import EndpointInfo
from lunar.graph.endpoints import LocalPublisher, LocalSubscription, SubscriptionMatch
from lunar.graph.link import Link
from lunar.graph.matchmaker import Matchmaker
from lunar.graph.promises import Promises, periods_missed
from lunar.qos import QoS

MakeEndpoint = Callable[..., EndpointInfo]

times = st.integers(0, 10**12)
periods = st.integers(1, 10**9)


@given(times, times, periods)
def test_whole_periods_are_counted_and_the_next_look_is_when_the_next_one_ends(
    since: int, elapsed: int, period: int
) -> None:
    missed, wait = periods_missed(since, since + elapsed, period)
    assert missed * period <= elapsed < (missed + 1) * period
    assert 0 < wait <= period
    assert elapsed + wait == (missed + 1) * period


@given(times, periods)
def test_a_sign_that_seems_to_come_from_the_future_misses_nothing(now: int, period: int) -> None:
    missed, wait = periods_missed(now + 5, now, period)
    assert missed == 0
    assert wait > 0


MS = 1_000_000


class World:
    """A clock, the timers set on it, and the events that came of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns = 1000 * MS
        self._timers: list[tuple[int, Callable[[], object]]] = []
        self.seen: list[tuple[int, Event]] = []
        monkeypatch.setattr(promises, "time", SimpleNamespace(monotonic_ns=lambda: self.now_ns))
        self.matchmaker = SimpleNamespace(publishers={}, subscriptions={})
        self.promises = Promises(cast(Matchmaker, self.matchmaker), self._call_later)

    def _call_later(self, delay_s: float, function: Callable[[], object]) -> None:
        assert delay_s > 0
        self._timers.append((self.now_ns + max(1, round(delay_s * 1e9)), function))

    @property
    def timers(self) -> int:
        return len(self._timers)

    def notify(self, event: Event) -> None:
        self.seen.append((self.now_ns // MS - 1000, event))

    def run_until(self, ms: int) -> None:
        """Lets the clock run to so many milliseconds after the beginning."""
        until = (1000 + ms) * MS
        while due := [timer for timer in self._timers if timer[0] <= until]:
            timer = min(due, key=lambda found: found[0])
            self._timers.remove(timer)
            self.now_ns = max(self.now_ns, timer[0])
            timer[1]()
        self.now_ns = until

    @property
    def now_ms(self) -> int:
        return self.now_ns // MS - 1000

    def publisher(self, info: EndpointInfo) -> LocalPublisher:
        writer = SimpleNamespace(_newest_ns=0)
        local = LocalPublisher(info, cast("Writer[object]", writer), cast(PublisherEnd, None), self.notify)
        self.matchmaker.publishers[info.id] = local
        return local

    def publish(self, local: LocalPublisher) -> None:
        cast(SimpleNamespace, local.writer)._newest_ns = self.now_ns

    def subscription(self, info: EndpointInfo, *remotes: EndpointInfo) -> LocalSubscription:
        local = LocalSubscription(info, cast("Reader[object]", None), self.notify)
        for remote in remotes:
            native = SimpleNamespace(newest_ns=0, alive_ns=0)
            link = cast(Link, object())
            local.matches[link, remote.id] = SubscriptionMatch(
                link, remote, cast(ReaderMatch, native), since_ns=self.now_ns
            )
        self.matchmaker.subscriptions[info.id] = local
        return local

    def give_sign(self, local: LocalSubscription, index: int = 0, *, published: bool = True) -> None:
        native = cast(SimpleNamespace, list(local.matches.values())[index].native)
        if published:
            native.newest_ns = self.now_ns
        else:
            native.alive_ns = self.now_ns


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_an_endpoint_that_promises_nothing_costs_no_timer(world: World, make_endpoint: MakeEndpoint) -> None:
    world.promises.watch(world.publisher(make_endpoint("publisher")))
    world.promises.watch(world.subscription(make_endpoint("subscription")))
    # An automatic lease is kept by the process's being there; the link tells its end.
    world.promises.watch(world.publisher(make_endpoint("publisher", QoS(lease_s=1))))
    assert world.timers == 0


def test_a_publisher_s_deadline_begins_with_its_first_sample(world: World, make_endpoint: MakeEndpoint) -> None:
    local = world.publisher(make_endpoint("publisher", QoS(deadline_s=0.1)))
    world.promises.watch(local)
    world.run_until(1000)
    assert world.seen == []
    world.publish(local)
    world.run_until(1090)
    assert world.seen == []
    world.run_until(1350)
    assert [(at, type(event)) for at, event in world.seen] == [
        (1100, events.DeadlineMissed),
        (1200, events.DeadlineMissed),
        (1300, events.DeadlineMissed),
    ]
    assert [cast(events.DeadlineMissed, event).total_count for _, event in world.seen] == [1, 2, 3]


def test_a_deadline_that_is_kept_is_never_reported(world: World, make_endpoint: MakeEndpoint) -> None:
    local = world.publisher(make_endpoint("publisher", QoS(deadline_s=0.1)))
    world.promises.watch(local)
    for at in range(0, 2000, 90):
        world.run_until(at)
        world.publish(local)
    assert world.seen == []
    world.run_until(2200)
    assert len(world.seen) >= 1


def test_a_subscription_misses_its_deadline_when_no_publisher_feeds_it(
    world: World, make_endpoint: MakeEndpoint
) -> None:
    remotes = [make_endpoint("publisher", node_name=f"/talker_{index}") for index in range(2)]
    local = world.subscription(make_endpoint("subscription", QoS(deadline_s=0.1)), remotes[0])
    world.promises.watch(local)
    world.run_until(50)
    world.give_sign(local)
    world.run_until(140)
    assert world.seen == []
    world.run_until(160)
    ((at, event),) = world.seen
    assert isinstance(event, events.DeadlineMissed)
    assert (at, event.local, event.remote) == (150, local.info, remotes[0])


def test_a_subscription_without_a_publisher_misses_nothing(world: World, make_endpoint: MakeEndpoint) -> None:
    world.promises.watch(world.subscription(make_endpoint("subscription", QoS(deadline_s=0.1))))
    world.run_until(1000)
    assert world.seen == []
    assert world.timers == 1


MANUAL = QoS(liveliness="manual_by_topic", lease_s=0.1)


def test_a_manual_publisher_loses_its_liveliness_once_for_each_silence(
    world: World, make_endpoint: MakeEndpoint
) -> None:
    local = world.publisher(make_endpoint("publisher", MANUAL))
    world.promises.watch(local)
    world.run_until(350)
    assert [(at, type(event)) for at, event in world.seen] == [(100, events.LivelinessLost)]
    world.publish(local)  # at 350: a sign, and silence again
    world.run_until(1000)
    assert [type(event) for _, event in world.seen] == [events.LivelinessLost] * 2
    assert 450 <= world.seen[1][0] <= 550


@pytest.mark.parametrize("published", [True, False], ids=["published", "asserted"])
def test_a_subscription_tells_of_each_silence_of_each_manual_publisher(
    world: World, make_endpoint: MakeEndpoint, published: bool
) -> None:
    remotes = [
        EndpointInfo(f"{index:032x}", "publisher", "/chatter", "bytes", "ab" * 16, MANUAL, f"/talker_{index}", 12)
        for index in (1, 2)
    ]
    local = world.subscription(make_endpoint("subscription", MANUAL), *remotes)
    world.promises.watch(local)
    for at in range(0, 500, 50):
        world.run_until(at)
        world.give_sign(local, 0, published=published)
    assert [(at, cast(events.LivelinessLost, event).remote) for at, event in world.seen] == [(100, remotes[1])]
    world.run_until(1000)
    assert [cast(events.LivelinessLost, event).remote for _, event in world.seen] == [remotes[1], remotes[0]]
    assert 550 <= world.seen[1][0] <= 650
    # However short the life between two silences.
    world.give_sign(local, 1, published=published)
    world.run_until(1400)
    assert [cast(events.LivelinessLost, event).remote for _, event in world.seen[2:]] == [remotes[1]]


def test_an_automatic_publisher_s_silence_is_no_loss(world: World, make_endpoint: MakeEndpoint) -> None:
    remote = make_endpoint("publisher", QoS(lease_s=0.1))
    local = world.subscription(make_endpoint("subscription", QoS(lease_s=0.1)), remote)
    world.promises.watch(local)
    world.run_until(1000)
    assert world.seen == []


def test_the_timers_of_an_endpoint_that_is_gone_end(world: World, make_endpoint: MakeEndpoint) -> None:
    both = QoS(liveliness="manual_by_topic", lease_s=0.1, deadline_s=0.1)
    local = world.publisher(make_endpoint("publisher", both))
    world.promises.watch(local)
    assert world.timers == 2
    world.matchmaker.publishers.clear()
    world.run_until(1000)
    assert world.timers == 0
    assert world.seen == []


def test_a_deadline_shorter_than_a_timer_can_be_is_counted_in_full(world: World, make_endpoint: MakeEndpoint) -> None:
    local = world.publisher(make_endpoint("publisher", QoS(deadline_s=1e-6)))
    world.publish(local)
    world.promises.watch(local)
    world.now_ns += 10 * MS  # the control thread was busy
    world.run_until(world.now_ms)
    assert cast(events.DeadlineMissed, world.seen[-1][1]).total_count == pytest.approx(10_000, abs=2)
