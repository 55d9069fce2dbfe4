"""Who is brought together with whom: one process's side, with peers and a transport that only write things down."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from lunar import abc, events
from lunar._native._bus import Reader, ReaderMatch, Writer, WriterMatch
from lunar.errors import PeerFault, ResourceExhausted
from lunar.events import Event
from lunar.graph.descriptions import EndpointInfo, EndpointKind
from lunar.graph.endpoints import LocalPublisher, LocalSubscription
from lunar.graph.link import Link
from lunar.graph.matchmaker import Matchmaker, report_losses
from lunar.graph.schemas import SchemaTexts
from lunar.qos import QoS

KEEP_ALL = QoS(history="keep_all", depth=7)
TRANSIENT = QoS(durability="transient_local", depth=3)

COUNTS = ("lost_overwritten", "lost_held", "lost_expired")


def info(
    kind: EndpointKind, number: int = 1, qos: QoS | None = None, *, topic: str = "/chatter", kind_hash: str = "ab"
) -> EndpointInfo:
    identity = ("1" if kind == "publisher" else "2") * 30 + f"{number:02d}"
    return EndpointInfo(identity, kind, topic, "bytes", kind_hash * 16, qos or QoS(), f"/node_{number}", 12)


class FakeLink:
    """A peer, and what it has announced."""

    def __init__(self) -> None:
        self.endpoints: dict[str, EndpointInfo] = {}
        self.forgotten: list[str] = []
        self.receivers = {"shm": SimpleNamespace(forget=self.forgotten.append)}
        self.pid = 12
        self.schemas = SchemaTexts()


class FakeEnd:
    """The sending side of a transport; `error` is raised as long as it is set."""

    def __init__(self) -> None:
        self.connected: list[abc.MatchTerms] = []
        self.disconnected: list[object] = []
        self.closed = 0
        self.error: Exception | None = None

    def connect(self, terms: abc.MatchTerms, link: abc.Channel) -> WriterMatch:
        if self.error is not None:
            raise self.error
        self.connected.append(terms)
        return cast(WriterMatch, SimpleNamespace(**dict.fromkeys(COUNTS, 0)))

    def disconnect(self, match: WriterMatch, link: abc.Channel) -> None:
        self.disconnected.append(match)

    def close(self) -> None:
        self.closed += 1


class FakeReader:
    """The native side of a subscription."""

    def __init__(self) -> None:
        self._closed = self._expired = 0
        self.attached: list[object] = []
        self.detached: list[tuple[object, bool]] = []

    def _attach(self, match: object) -> None:
        self.attached.append(match)

    def _detach(self, match: object, at_once: bool) -> None:
        self.detached.append((match, at_once))


class World:
    """A matchmaker, its peers, and what it did."""

    def __init__(self) -> None:
        self.links = [FakeLink(), FakeLink()]
        self.seen: list[Event] = []
        self.kicks = 0
        self.later: list[Callable[[], object]] = []
        self.matchmaker = Matchmaker(
            lambda: cast("list[Link]", self.links), self._kick, lambda _, function: self.later.append(function)
        )

    def _kick(self) -> None:
        self.kicks += 1

    def link(self, index: int = 0) -> Link:
        return cast(Link, self.links[index])

    def add_publisher(self, described: EndpointInfo) -> tuple[LocalPublisher, FakeEnd]:
        end = FakeEnd()
        writer = cast("Writer[object]", SimpleNamespace(_closed=0))
        local = LocalPublisher(described, writer, cast(abc.PublisherEnd, end), self.seen.append)
        self.matchmaker.add_publisher(local)
        return local, end

    def add_subscription(self, described: EndpointInfo) -> tuple[LocalSubscription, FakeReader]:
        reader = FakeReader()
        local = LocalSubscription(described, cast("Reader[object]", reader), self.seen.append)
        self.matchmaker.add_subscription(local)
        return local, reader

    def announce(self, remote: EndpointInfo, index: int = 0) -> None:
        self.links[index].endpoints[remote.id] = remote
        self.matchmaker.remote_added(self.link(index), remote)

    def withdraw(self, remote: EndpointInfo, index: int = 0, *, at_once: bool = False, died: bool = False) -> None:
        del self.links[index].endpoints[remote.id]
        self.matchmaker.remote_removed(self.link(index), remote, at_once=at_once, died=died)

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.seen]


class Offered:
    """What a peer's publisher offers."""

    def __init__(self, publisher: EndpointInfo, subscription: EndpointInfo) -> None:
        self.opened: list[int] = []
        self.refused = 0
        self.native = SimpleNamespace(queued=0, **dict.fromkeys(COUNTS, 0))
        self.offer = abc.Offer(publisher.id, subscription.id, self._open, self._refuse)

    def _open(self, lifespan_ns: int) -> ReaderMatch:
        self.opened.append(lifespan_ns)
        return cast(ReaderMatch, self.native)

    def _refuse(self) -> None:
        self.refused += 1


@pytest.fixture
def world() -> World:
    return World()


# ---- a publisher of ours ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["publisher", "subscription"])
def test_a_publisher_and_a_peer_s_subscription_are_matched_whoever_comes_first(world: World, first: str) -> None:
    remote = info("subscription", qos=QoS(depth=7))
    if first == "subscription":
        world.announce(remote)
    local, end = world.add_publisher(info("publisher"))
    if first == "publisher":
        world.announce(remote)
    (terms,) = end.connected
    assert terms == abc.MatchTerms(local.info.id, remote.id, queue_depth=7, waits=False, history_depth=0)
    assert (local.count.value, world.kinds, world.kicks) == (1, ["Matched"], 1)


@pytest.mark.parametrize(
    ("offered", "requested", "waits", "history_depth"),
    [
        (KEEP_ALL, KEEP_ALL, True, 0),
        (KEEP_ALL, KEEP_ALL.replace(reliability="best_effort"), False, 0),
        (QoS(), KEEP_ALL, False, 0),
        (TRANSIENT, TRANSIENT, False, 3),
        (TRANSIENT, QoS(), False, 0),
    ],
)
def test_the_terms_follow_from_both_profiles(
    world: World, offered: QoS, requested: QoS, waits: bool, history_depth: int
) -> None:
    _, end = world.add_publisher(info("publisher", qos=offered))
    world.announce(info("subscription", qos=requested))
    (terms,) = end.connected
    assert (terms.waits, terms.history_depth, terms.queue_depth) == (waits, history_depth, requested.depth)


def test_every_pair_of_a_topic_is_matched_and_no_other(world: World) -> None:
    ends = [world.add_publisher(info("publisher", number))[1] for number in (1, 2)]
    _, other = world.add_publisher(info("publisher", 3, topic="/other"))
    world.announce(info("subscription", 1), 0)
    world.announce(info("subscription", 2), 1)
    world.announce(info("publisher", 9), 1)
    assert [len(end.connected) for end in (*ends, other)] == [2, 2, 0]


def test_what_does_not_fit_is_an_event_and_no_match(world: World) -> None:
    local, end = world.add_publisher(info("publisher", qos=QoS(reliability="best_effort")))
    world.announce(info("subscription", 1))
    world.announce(info("subscription", 2, kind_hash="cd"))
    assert world.kinds == ["IncompatibleQoS", "TypeMismatch"]
    assert (end.connected, local.count.value) == ([], 0)


def test_a_limit_puts_a_match_off_and_it_is_made_when_there_is_room(world: World) -> None:
    local, end = world.add_publisher(info("publisher"))
    end.error = ResourceExhausted("no descriptor is left")
    world.announce(info("subscription"))
    assert (local.count.value, len(world.later)) == (0, 1)
    world.later.pop()()
    assert (local.count.value, len(world.later)) == (0, 1)
    end.error = None
    world.later.pop()()
    assert (local.count.value, world.kinds) == (1, ["Matched"])


def test_a_match_that_was_put_off_is_forgotten_with_either_end(world: World) -> None:
    remote = info("subscription")
    local, end = world.add_publisher(info("publisher"))
    end.error = ResourceExhausted("no descriptor is left")
    world.announce(remote)
    end.error = None
    world.withdraw(remote)
    world.later.pop()()
    assert end.connected == []
    end.error = ResourceExhausted("no descriptor is left")
    world.announce(remote)
    world.matchmaker.remove_publisher(local.info.id)
    end.error = None
    world.later.pop()()
    assert end.connected == []


def test_a_subscription_that_goes_ends_its_match_and_its_losses_are_kept(world: World) -> None:
    remote = info("subscription")
    local, end = world.add_publisher(info("publisher"))
    world.announce(remote)
    (made,) = local.matches.values()
    native = cast(SimpleNamespace, made.native)
    native.lost_overwritten = 5
    world.withdraw(remote)
    assert world.kinds == ["Matched", "SamplesLost", "Unmatched"]
    assert (local.count.value, local.ended_lost["overwritten"], end.disconnected) == (0, 5, [native])


def test_closing_a_publisher_closes_its_end_and_counts_what_was_lost(world: World) -> None:
    local, end = world.add_publisher(info("publisher"))
    world.announce(info("subscription"))
    cast(SimpleNamespace, next(iter(local.matches.values())).native).lost_held = 2
    world.matchmaker.remove_publisher(local.info.id)
    world.matchmaker.remove_publisher(local.info.id)
    assert (end.closed, local.matches, local.ended_lost["held"]) == (1, {}, 2)
    assert world.matchmaker.endpoints == []


# ---- a subscription of ours ---------------------------------------------------------------------------------------


def test_an_offer_of_an_announced_publisher_is_taken(world: World) -> None:
    local, reader = world.add_subscription(info("subscription"))
    remote = info("publisher", qos=QoS(lifespan_s=2.5))
    world.announce(remote)
    assert (local.count.value, world.kinds) == (0, [])
    offered = Offered(remote, local.info)
    world.matchmaker.take_offer(world.link(), offered.offer)
    assert (offered.opened, offered.refused) == ([2_500_000_000], 0)
    assert reader.attached == [offered.native]
    assert (local.count.value, world.kinds) == (1, ["Matched"])


def test_an_offer_for_a_subscription_that_was_closed_is_refused_quietly(world: World) -> None:
    remote = info("publisher")
    world.announce(remote)
    offered = Offered(remote, info("subscription"))
    world.matchmaker.take_offer(world.link(), offered.offer)
    assert (offered.opened, offered.refused) == ([], 1)


def test_an_offer_of_a_publisher_that_was_not_announced_is_a_fault(world: World) -> None:
    local, _ = world.add_subscription(info("subscription"))
    offered = Offered(info("publisher"), local.info)
    with pytest.raises(PeerFault, match="did not announce"):
        world.matchmaker.take_offer(world.link(), offered.offer)
    world.announce(info("publisher"), 1)  # another peer's is none of this one's
    with pytest.raises(PeerFault, match="did not announce"):
        world.matchmaker.take_offer(world.link(0), offered.offer)
    assert (offered.opened, offered.refused) == ([], 2)


def test_an_offer_twice_or_of_ends_that_do_not_fit_is_a_fault(world: World) -> None:
    local, _ = world.add_subscription(info("subscription"))
    world.announce(info("publisher"))
    world.matchmaker.take_offer(world.link(), Offered(info("publisher"), local.info).offer)
    again = Offered(info("publisher"), local.info)
    with pytest.raises(PeerFault, match="or twice"):
        world.matchmaker.take_offer(world.link(), again.offer)
    weak = info("publisher", 2, QoS(reliability="best_effort"))
    world.announce(weak)
    unfit = Offered(weak, local.info)
    with pytest.raises(PeerFault, match="cannot be"):
        world.matchmaker.take_offer(world.link(), unfit.offer)
    assert (again.refused, unfit.refused, local.count.value) == (1, 1, 1)


def test_a_mismatch_is_an_event_here_as_well_whoever_comes_first(world: World) -> None:
    world.announce(info("publisher", 1, QoS(reliability="best_effort")))
    local, _ = world.add_subscription(info("subscription"))
    world.announce(info("publisher", 2, kind_hash="cd"))
    assert world.kinds == ["IncompatibleQoS", "TypeMismatch"]
    assert {cast(events.EndpointEvent, event).local for event in world.seen} == {local.info}


@pytest.mark.parametrize("died", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_publisher_that_goes_ends_its_match(world: World, died: bool, at_once: bool) -> None:
    local, reader = world.add_subscription(info("subscription"))
    remote = info("publisher")
    world.announce(remote)
    offered = Offered(remote, local.info)
    world.matchmaker.take_offer(world.link(), offered.offer)
    offered.native.lost_overwritten = 3
    world.withdraw(remote, at_once=at_once, died=died)
    assert world.kinds == ["Matched", *["LivelinessLost"] * died, "SamplesLost", "Unmatched"]
    assert (reader.detached, world.links[0].forgotten) == ([(offered.native, at_once)], [remote.id])
    assert (local.count.value, local.ended_lost["overwritten"]) == (0, 3)


def test_samples_that_expire_after_their_publisher_has_gone_are_told(world: World) -> None:
    local, _ = world.add_subscription(info("subscription"))
    mortal, immortal = info("publisher", 1, QoS(lifespan_s=1)), info("publisher", 2)
    natives = []
    for remote in (mortal, immortal):
        world.announce(remote)
        offered = Offered(remote, local.info)
        offered.native.queued = 4
        natives.append(offered.native)
        world.matchmaker.take_offer(world.link(), offered.offer)
        world.withdraw(remote)
    assert [match.native for match in local.draining] == [natives[0]]
    world.seen.clear()
    natives[0].lost_expired, natives[0].queued = 4, 0
    report_losses(local)
    (lost,) = world.seen
    assert isinstance(lost, events.SamplesLost)
    assert (lost.remote, lost.count, lost.cause, local.draining) == (mortal, 4, "expired", [])


def test_closing_a_subscription_forgets_its_matches(world: World) -> None:
    local, _ = world.add_subscription(info("subscription"))
    world.announce(info("publisher"))
    world.matchmaker.take_offer(world.link(), Offered(info("publisher"), local.info).offer)
    world.matchmaker.remove_subscription(local.info.id)
    world.matchmaker.remove_subscription(local.info.id)
    assert (local.matches, local.count.value) == ({}, 0)


# ---- losses -------------------------------------------------------------------------------------------------------


def test_losses_are_told_by_match_and_cause_and_each_once(world: World) -> None:
    local, _ = world.add_publisher(info("publisher"))
    for number in (1, 2):
        world.announce(info("subscription", number))
    first, second = (cast(SimpleNamespace, match.native) for match in local.matches.values())
    world.seen.clear()
    first.lost_overwritten, second.lost_held = 4, 1
    report_losses(local)
    report_losses(local)
    first.lost_overwritten = 6
    report_losses(local)
    told = [(event.remote and event.remote.node_name, event.count, event.cause) for event in world.seen if
            isinstance(event, events.SamplesLost)]  # fmt: skip
    assert told == [("/node_1", 4, "overwritten"), ("/node_2", 1, "held"), ("/node_1", 2, "overwritten")]


def test_a_match_is_found_by_its_native_side(world: World) -> None:
    publisher, _ = world.add_publisher(info("publisher"))
    world.announce(info("subscription"), 1)
    subscription, _ = world.add_subscription(info("subscription", 2))
    world.announce(info("publisher", 2))
    offered = Offered(info("publisher", 2), subscription.info)
    world.matchmaker.take_offer(world.link(0), offered.offer)
    (sending,) = publisher.matches.values()
    assert world.matchmaker.link_of(sending.native) == (publisher, world.link(1))
    assert world.matchmaker.link_of(cast(ReaderMatch, offered.native)) == (subscription, world.link(0))
    assert world.matchmaker.link_of(cast(ReaderMatch, object())) is None


def test_a_segment_that_has_arrived_makes_waiters_look(world: World) -> None:
    world.matchmaker.segment_arrived()
    assert world.kicks == 1
