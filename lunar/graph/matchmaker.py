"""Brings publishers and subscriptions together, over all links. Runs in the control thread.

The publisher's side makes a match: it opens a queue and offers it; the subscription's side attaches. Both sides judge
each pair by themselves from what was announced, so both see an incompatibility, each naming both ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol, overload

from lunar import events
from lunar.abc import MatchTerms, Offer
from lunar.errors import LunarError, PeerFault
from lunar.graph.endpoints import AnyLink, LocalPublisher, LocalSubscription, PublisherMatch, SubscriptionMatch
from lunar.graph.matching import Compatible, IncompatibleQoS, TypeMismatch, match
from lunar.graph.network.remote import RemoteProcess
from lunar.graph.schemas import judge, known_schema, version_key
from lunar.graph.transports import HOST_ONLY
from lunar.selection import Match, select

if TYPE_CHECKING:
    from lunar._native._bus import ReaderMatch, WriterMatch
    from lunar.graph.descriptions import EndpointInfo
    from lunar.graph.matching import MatchDecision
    from lunar.graph.schemas import Described, TypeVerdict

__all__ = ["Matchmaker", "NetworkMatches", "SchemaRequests"]

_log = logging.getLogger("lunar")

# At a limit, until it is tried again.
_MATCH_AGAIN_S = 0.25
_MAX_VERDICTS = 1000


class NetworkMatches(Protocol):
    """What makes the matches with processes on other hosts, and ends them where none is left to end."""

    def send(self, local: LocalPublisher, process: RemoteProcess, remote: EndpointInfo) -> None:
        """Opens the way to a subscription there."""

    def receive(
        self, local: LocalSubscription, process: RemoteProcess, remote: EndpointInfo, terms: MatchTerms
    ) -> None:
        """Opens the way from a publisher there."""

    def local_removed(self, endpoint_id: str) -> None:
        """An endpoint of ours was closed."""

    def remote_removed(self, process: RemoteProcess, remote: EndpointInfo) -> None:
        """An endpoint there is gone."""


class SchemaRequests(Protocol):
    """Where the schemas of types on other hosts are asked for, which are told on request alone."""

    def request(self, process: RemoteProcess, type_hash: str, their_id: str, own_id: str) -> bool:
        """Asks for one that is not known, to judge two ends; returns whether the answer may still come soon."""

    def local_removed(self, own_id: str) -> None:
        """An endpoint of ours was closed."""

    def remote_removed(self, process: RemoteProcess, type_hash: str, their_id: str) -> None:
        """An endpoint there is gone."""


class Matchmaker:
    """The local endpoints, and their matches over all links.

    Args:
        links: The links there are now, asked for anew each time.
        kick: Makes every waiter of this process look at its queues again.
        call_later: Runs a function in the control thread after so many seconds.
    """

    def __init__(
        self,
        links: Callable[[], Iterable[AnyLink]],
        kick: Callable[[], None],
        call_later: Callable[[float, Callable[[], object]], None],
    ) -> None:
        self._links = links
        self._kick = kick
        self._call_later = call_later
        self.publishers: dict[str, LocalPublisher] = {}
        self.subscriptions: dict[str, LocalSubscription] = {}
        self.network: NetworkMatches | None = None
        self.requests: SchemaRequests | None = None
        self._verdicts: dict[tuple[str, str], TypeVerdict | None] = {}  # by the hashes, ours and theirs

    @property
    def endpoints(self) -> list[LocalPublisher | LocalSubscription]:
        """Both kinds, publishers first."""
        return [*self.publishers.values(), *self.subscriptions.values()]

    def add_publisher(self, local: LocalPublisher) -> None:
        """A publisher was created here; its announcement has been sent."""
        self.publishers[local.info.id] = local
        for link, remote in self._remotes("subscription", local.info.topic):
            self._consider_subscription(local, link, remote)

    def add_subscription(self, local: LocalSubscription) -> None:
        """A subscription was created here; its announcement has been sent."""
        self.subscriptions[local.info.id] = local
        for link, remote in self._remotes("publisher", local.info.topic):
            self._consider_publisher(local, link, remote)

    def _verdict(
        self, local: LocalPublisher | LocalSubscription, link: AnyLink, remote: EndpointInfo
    ) -> TypeVerdict | None:
        """On the types of two ends of one topic, where they differ; None where there is nothing to judge."""
        if local.info.topic != remote.topic or local.info.type_hash == remote.type_hash:
            return None
        key = (local.info.type_hash, remote.type_hash)
        if key not in self._verdicts:
            if len(self._verdicts) >= _MAX_VERDICTS:
                self._verdicts.clear()
            theirs = self._described(link, remote.type_hash)
            if theirs is None:
                return None  # another peer may know better
            self._verdicts[key] = judge(local.described, theirs)
        return self._verdicts[key]

    def _described(self, link: AnyLink, type_hash: str) -> Described | None:
        """What is known of a type: of this host's processes each has told its own, of others whoever was asked."""
        peers = [link, *self._links()] if isinstance(link, RemoteProcess) else [link]
        return known_schema((peer.schemas for peer in peers), type_hash)

    def _waits_for_schema(self, local: LocalPublisher | LocalSubscription, link: AnyLink, remote: EndpointInfo) -> bool:
        """Whether two ends cannot be judged yet; who asks is told again, by `judge_again`."""
        ours = local.info
        if self.requests is None or not isinstance(link, RemoteProcess) or local.described is None:
            return False
        if ours.topic != remote.topic or ours.type_hash == remote.type_hash:
            return False
        if (
            version_key(ours.type_name) != version_key(remote.type_name)
            or (ours.type_hash, remote.type_hash) in self._verdicts
        ):
            return False
        if self._described(link, remote.type_hash) is not None:
            return False
        return self.requests.request(link, remote.type_hash, remote.id, ours.id)

    def judge_again(self, link: RemoteProcess, own_id: str, their_id: str) -> None:
        """More is known of the types of two ends that are not matched, if they are there still."""
        remote = link.endpoints.get(their_id)
        if remote is None:
            return
        if self.requests is not None and self._described(link, remote.type_hash) is not None:
            # Maybe by somebody who was not asked: then an answer would have the two matched again.
            self.requests.remote_removed(link, remote.type_hash, remote.id)
        if publisher := self.publishers.get(own_id):
            self._consider_subscription(publisher, link, remote)
        elif subscription := self.subscriptions.get(own_id):
            self._consider_publisher(subscription, link, remote)

    def _remotes(self, kind: str, topic: str) -> list[tuple[AnyLink, EndpointInfo]]:
        return [
            (link, remote)
            for link in self._links()
            for remote in link.endpoints.values()
            if remote.kind == kind and remote.topic == topic
        ]

    def remote_added(self, link: AnyLink, remote: EndpointInfo) -> None:
        """A peer announced an endpoint."""
        if remote.kind == "subscription":
            for local in list(self.publishers.values()):
                self._consider_subscription(local, link, remote)
        else:
            for subscription in self.subscriptions.values():
                self._consider_publisher(subscription, link, remote)

    def _consider_publisher(self, local: LocalSubscription, link: AnyLink, remote: EndpointInfo) -> None:
        """On one host the publisher's side makes the match and offers it; between hosts both sides open theirs."""
        if self._waits_for_schema(local, link, remote):
            return
        decision = match(remote, local.info, self._verdict(local, link, remote))
        _report_mismatch(decision, local, remote)
        if not isinstance(decision, Compatible):
            return
        if isinstance(link, RemoteProcess):
            self._network_of(link).receive(local, link, remote, match_terms(remote, local.info, decision))
        elif reason := _why_not_within_host(remote, local.info):
            local.notify(events.NoTransport(local.info, remote, reason))

    def _network_of(self, link: RemoteProcess) -> NetworkMatches:
        if self.network is None:
            raise LunarError(f"{link} was met without a network")
        return self.network

    def _consider_subscription(self, local: LocalPublisher, link: AnyLink, remote: EndpointInfo) -> None:
        if self._waits_for_schema(local, link, remote):
            return
        decision = match(local.info, remote, self._verdict(local, link, remote))
        if not isinstance(decision, Compatible):
            _report_mismatch(decision, local, remote)
            return
        terms = match_terms(local.info, remote, decision)
        if isinstance(link, RemoteProcess):
            self._network_of(link).send(local, link, remote)
            return
        if reason := _why_not_within_host(local.info, remote):
            local.notify(events.NoTransport(local.info, remote, reason))
            return
        try:
            native = local.end.connect(terms, link)
        except (LunarError, MemoryError) as error:
            if not local.writer._closed:
                _log.error("no match between %s and %s yet: %s", local.info, remote, str(error) or "out of memory")
                self._call_later(_MATCH_AGAIN_S, partial(self._consider_again, local, link, remote))
            return
        self.matched(local, PublisherMatch(link, remote, native, partial(local.end.disconnect, native, link)))

    def _consider_again(self, local: LocalPublisher, link: AnyLink, remote: EndpointInfo) -> None:
        if local.info.id in self.publishers and link.endpoints.get(remote.id) is remote:
            self._consider_subscription(local, link, remote)

    def take_offer(self, link: AnyLink, offer: Offer) -> None:
        """A peer's publisher has opened a match for a subscription of ours.

        Raises:
            PeerFault: It was not announced, or the two do not match.
        """
        local = self.subscriptions.get(offer.subscription_id)
        remote = link.endpoints.get(offer.publisher_id)
        if local is None:
            offer.refuse()  # it was closed meanwhile
            return
        key = (link, offer.publisher_id)
        if remote is None or remote.kind != "publisher" or key in local.matches:
            offer.refuse()
            raise PeerFault("it offers a match of a publisher that it did not announce, or twice", link.pid)
        decision = match(remote, local.info, self._verdict(local, link, remote))
        if not isinstance(decision, Compatible) or _why_not_within_host(remote, local.info):
            offer.refuse()
            raise PeerFault(f"it offers a match that cannot be: {remote} and {local.info}", link.pid)
        lifespan_s = remote.qos.lifespan_s
        native = offer.open(0 if lifespan_s is None else int(lifespan_s * 1e9))
        if local.reader._closed:
            return
        local.reader._attach(native)
        self.matched(local, SubscriptionMatch(link, remote, native))

    @overload
    def matched(self, local: LocalPublisher, made: PublisherMatch) -> None: ...
    @overload
    def matched(self, local: LocalSubscription, made: SubscriptionMatch) -> None: ...
    def matched(self, local: LocalPublisher | LocalSubscription, made: PublisherMatch | SubscriptionMatch) -> None:
        """A match was made; samples can flow."""
        local.matches[made.link, made.remote.id] = made  # type: ignore[assignment]  # of its own kind, see above
        self._changed(local, events.Matched(local.info, made.remote))

    def remote_asserted(self, link: AnyLink, publisher_id: str, age_ns: int) -> None:
        """A publisher of a peer gave a sign of life without a message, so long ago."""
        sign_ns = max(0, time.monotonic_ns() - age_ns)
        for subscription in self.subscriptions.values():
            found = subscription.matches.get((link, publisher_id))
            if found is not None:
                found.asserted_ns = max(found.asserted_ns, sign_ns)

    def segment_arrived(self) -> None:
        """Samples that waited for their segment can be taken now."""
        self._kick()

    def remote_removed(self, link: AnyLink, remote: EndpointInfo, *, at_once: bool = False, died: bool = False) -> None:
        """An endpoint of a peer is gone, or the peer itself.

        Args:
            link: The peer's link.
            remote: The endpoint.
            at_once: Take nothing any more of what it has published (it broke the rules).
            died: The process ended without saying so.
        """
        if isinstance(link, RemoteProcess):
            self._forget_remote(link, remote)
        if remote.kind == "subscription":
            for local in self.publishers.values():
                ended = local.matches.get((link, remote.id))
                if ended is not None:
                    self._end_publisher_match(local, ended)
            return
        for subscription in self.subscriptions.values():
            closing = subscription.matches.get((link, remote.id))
            if closing is not None:
                if died:
                    subscription.notify(events.LivelinessLost(subscription.info, remote))
                self._end_subscription_match(subscription, closing, at_once=at_once)
        if link.receivers:
            for receiver in link.receivers.values():
                receiver.forget(remote.id)

    def _end_publisher_match(self, local: LocalPublisher, ended: PublisherMatch) -> None:
        ended.release()
        _remove_matches(local, [ended])
        self._changed(local, events.Unmatched(local.info, ended.remote))

    def _end_subscription_match(self, local: LocalSubscription, ended: SubscriptionMatch, *, at_once: bool) -> None:
        local.reader._detach(ended.native, at_once)
        _remove_matches(local, [ended])
        if ended.remote.qos.lifespan_s is not None:
            local.draining.append(ended)
        _forget_drained(local)
        self._changed(local, events.Unmatched(local.info, ended.remote))

    def remove_publisher(self, publisher_id: str) -> None:
        """A publisher of ours was closed."""
        local = self.publishers.pop(publisher_id, None)
        if local is not None:
            self._forget(publisher_id)
            _remove_matches(local, list(local.matches.values()))
            local.end.close()
            local.count.close()

    def remove_subscription(self, subscription_id: str) -> None:
        """A subscription of ours was closed."""
        local = self.subscriptions.pop(subscription_id, None)
        if local is not None:
            self._forget(subscription_id)
            _remove_matches(local, list(local.matches.values()))
            local.draining.clear()
            local.count.close()

    def _forget_remote(self, process: RemoteProcess, remote: EndpointInfo) -> None:
        if self.network is not None:
            self.network.remote_removed(process, remote)
        if self.requests is not None:
            self.requests.remote_removed(process, remote.type_hash, remote.id)

    def _forget(self, own_id: str) -> None:
        if self.network is not None:
            self.network.local_removed(own_id)
        if self.requests is not None:
            self.requests.local_removed(own_id)

    def link_of(self, native: ReaderMatch | WriterMatch) -> tuple[LocalPublisher | LocalSubscription, AnyLink] | None:
        """Finds whose match it is and over which link."""
        for publisher in self.publishers.values():
            for sending in publisher.matches.values():
                if sending.native is native:
                    return publisher, sending.link
        for subscription in self.subscriptions.values():
            for receiving in subscription.matches.values():
                if receiving.native is native:
                    return subscription, receiving.link
        return None

    def _changed(self, local: LocalPublisher | LocalSubscription, event: events.Event) -> None:
        local.count.set(len(local.matches), partial(local.notify, event))
        self._kick()


def match_terms(publisher: EndpointInfo, subscription: EndpointInfo, decision: Compatible) -> MatchTerms:
    """What the queue of a match is like."""
    wants_history = "transient_local" == subscription.qos.durability == publisher.qos.durability
    return MatchTerms(
        publisher_id=publisher.id,
        subscription_id=subscription.id,
        queue_depth=decision.queue_depth,
        waits=decision.waits,
        history_depth=decision.queue_depth if wants_history else 0,
    )


def _why_not_within_host(publisher: EndpointInfo, subscription: EndpointInfo) -> str:
    """Why the bus may not serve two ends of this host, although they agree; "" if it may."""
    if {publisher.qos.transport, subscription.qos.transport} <= {None, "shm"}:
        return ""
    return str(select(Match(publisher, subscription), HOST_ONLY, HOST_ONLY))


def _report_mismatch(decision: MatchDecision, local: LocalPublisher | LocalSubscription, remote: EndpointInfo) -> None:
    if isinstance(decision, IncompatibleQoS):
        local.notify(events.IncompatibleQoS(local.info, remote, decision.incompatibilities))
    elif isinstance(decision, TypeMismatch):
        local.notify(events.TypeMismatch(local.info, remote, decision.differences))


def _remove_matches(
    local: LocalPublisher | LocalSubscription, ended: Sequence[PublisherMatch | SubscriptionMatch]
) -> None:
    """Ends matches, but keeps what they have lost."""
    for each in ended:
        _report_losses(local, each)
        with local.lock:
            del local.matches[each.link, each.remote.id]
            for cause, count in each.losses().items():
                local.ended_lost[cause] = local.ended_lost.get(cause, 0) + count


def _forget_drained(local: LocalSubscription) -> None:
    local.draining = [match for match in local.draining if match.native.queued]


def _report_losses(local: LocalPublisher | LocalSubscription, found: PublisherMatch | SubscriptionMatch) -> None:
    for cause, count in found.losses().items():
        new = count - found.reported.get(cause, 0)
        if new > 0:
            found.reported[cause] = count
            local.notify(events.SamplesLost(local.info, found.remote, new, cause))


def report_losses(local: LocalPublisher | LocalSubscription) -> None:
    """Tells what was lost since the last report, one event a match and cause."""
    matches: list[PublisherMatch | SubscriptionMatch] = [*local.matches.values()]
    if isinstance(local, LocalSubscription):
        matches += local.draining
    for found in matches:
        _report_losses(local, found)
    if isinstance(local, LocalSubscription):
        _forget_drained(local)
