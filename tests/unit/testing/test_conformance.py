"""Transports that break the contract in one point each: the suite must find it, and say what it is."""

from collections.abc import Callable, Mapping

import pytest

from lunar import abc, testing
from lunar.testing import conformance

CHECKS = {check.name: check for check in conformance.CHECKS}


class Spoilt(abc.IncomingHandler):
    """Stands between an engine and the bus."""

    def __init__(self, handler: abc.IncomingHandler) -> None:
        self.handler = handler
        self.held: abc.Parcel | None = None

    def started(self, last_sequence: int, newest_sequence: int) -> None:
        self.handler.started(last_sequence, newest_sequence)

    def deliver(self, parcel: abc.Parcel) -> bool:
        return self.handler.deliver(parcel)

    def stopped(self, reason: str) -> None:
        self.handler.stopped(reason)

    def lost(self, count: int) -> None:
        self.handler.lost(count)

    def faulty(self, reason: str) -> None:
        self.handler.faulty(reason)


class Twice(Spoilt):
    def deliver(self, parcel: abc.Parcel) -> bool:
        return self.handler.deliver(parcel) and self.handler.deliver(parcel)


class Swapped(Spoilt):
    def deliver(self, parcel: abc.Parcel) -> bool:
        if parcel.sequence_number == 5:
            self.held = parcel
            return True
        taken = self.handler.deliver(parcel)
        if self.held is not None:
            self.handler.deliver(self.held)
            self.held = None
        return taken


class Dropped(Spoilt):
    def deliver(self, parcel: abc.Parcel) -> bool:
        return parcel.sequence_number == 5 or self.handler.deliver(parcel)


class Torn(Spoilt):
    def deliver(self, parcel: abc.Parcel) -> bool:
        payload = bytes(parcel.payload).replace(b"5", b"6")
        return self.handler.deliver(abc.Parcel(parcel.sequence_number, parcel.source_time_ns, parcel.dropped, payload))


class Pushy(Spoilt):
    """Goes on after a refusal, as if what was refused had been taken."""

    def deliver(self, parcel: abc.Parcel) -> bool:
        self.handler.deliver(parcel)
        return True


class ShiftedStart(Spoilt):
    def started(self, last_sequence: int, newest_sequence: int) -> None:
        self.handler.started(0, newest_sequence)


class Silent(Spoilt):
    def stopped(self, reason: str) -> None:
        return


def spoilt(handler: Callable[[abc.IncomingHandler], abc.IncomingHandler]) -> testing.MemoryTransport:
    class Transport(testing.MemoryTransport):
        def open(self, site: abc.Site) -> abc.Engine:
            engine = super().open(site)
            opened = engine.open_incoming

            def open_incoming(stream: abc.Stream, bus: abc.IncomingHandler) -> abc.Incoming:
                return opened(stream, handler(bus))

            engine.open_incoming = open_incoming  # type: ignore[method-assign, assignment]
            return engine

    return Transport()


@pytest.mark.parametrize(
    ("handler", "check", "text"),
    [
        (Twice, "what_is_sent_arrives_in_order_and_once[reliable]", "parcel 1 came after 1"),
        (Swapped, "what_is_sent_arrives_in_order_and_once[reliable]", "parcel 5 came after 6"),
        (Dropped, "what_is_sent_arrives_in_order_and_once[reliable]", "1 of 1000 parcels never came"),
        (Dropped, "what_is_sent_arrives_in_order_and_once[best_effort]", "0 are said to be lost"),
        (Torn, "what_is_sent_arrives_in_order_and_once[reliable]", "parcel 5 has not the content"),
        (Pushy, "a_full_receiver_stops_its_sender_and_loses_nothing[reliable]", "offered after a refusal"),
        (ShiftedStart, "start_says_where_a_stream_begins[reliable]", "`started` was called with"),
        (Silent, "closing_either_end_tells_the_other[reliable]", "`stopped` is called when the sending end was closed"),
    ],
)
def test_a_handler_that_is_called_wrongly_is_found(handler: type[Spoilt], check: str, text: str) -> None:
    subject = conformance.Subject(lambda: spoilt(handler), patience_s=0.5)
    with pytest.raises(AssertionError, match=text):
        CHECKS[check](subject)


class Careless(testing.MemoryTransport):
    def open(self, site: abc.Site) -> abc.Engine:
        engine = super().open(abc.Site(site.participant_id, site.domain, site.addresses, site.interfaces, {}))
        return self.spoil(engine)

    def spoil(self, engine: abc.Engine) -> abc.Engine:
        return engine


class Credulous(Careless):
    def spoil(self, engine: abc.Engine) -> abc.Engine:
        opened = engine.open_outgoing

        def open_outgoing(stream: abc.Stream, handler: abc.OutgoingHandler) -> abc.Outgoing:
            if "participant" not in stream.address:
                raise KeyError("participant")
            return opened(stream, handler)

        engine.open_outgoing = open_outgoing  # type: ignore[method-assign]
        return engine


class Asleep(Careless):
    """Never wakes anybody."""

    def spoil(self, engine: abc.Engine) -> abc.Engine:
        deaf, _other = testing.memory._Wake(), engine
        engine.fileno = lambda: deaf.fd  # type: ignore[method-assign]
        return engine


class Restless(Careless):
    def spoil(self, engine: abc.Engine) -> abc.Engine:
        work = engine.work

        def busy() -> float | None:
            work()
            return 0.0

        engine.work = busy  # type: ignore[method-assign]
        return engine


class Leaky(Careless):
    def spoil(self, engine: abc.Engine) -> abc.Engine:
        engine.wake.close = lambda: None  # type: ignore[attr-defined]
        return engine


SPOILT: Mapping[str, tuple[type[testing.MemoryTransport], str]] = {
    "unknown_settings_are_refused": (Careless, "a setting that nobody knows"),
    "addresses_that_are_none_are_the_peer_s_fault": (Credulous, "KeyError.*instead of PeerFault"),
    "what_is_sent_arrives_in_order_and_once": (Asleep, "not within"),
    "a_process_that_has_nothing_to_do_sleeps": (Restless, "with nothing to do took"),
    "closing_leaves_no_descriptor_open": (Leaky, "descriptors stay open"),
}


@pytest.mark.parametrize("check", SPOILT)
def test_an_engine_that_breaks_the_contract_is_found(check: str) -> None:
    transport, text = SPOILT[check]
    with pytest.raises(AssertionError, match=text):
        CHECKS[f"{check}[reliable]"](conformance.Subject(transport, patience_s=0.5))


def test_what_is_listed_has_a_name_of_its_own() -> None:
    assert len(CHECKS) == len(conformance.CHECKS)
    assert {check.name for check in conformance.BEST_EFFORT_CHECKS} == {
        check.name for check in conformance.CHECKS if not check.needs_reliable
    }
    assert len({str(check) for check in conformance.BUS_CHECKS}) == len(conformance.BUS_CHECKS)
