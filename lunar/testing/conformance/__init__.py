"""What every transport between hosts has to do, as checks that anybody can run over theirs.

There are two layers. The checks of *engines* need nothing but `lunar.abc`: two or more engines in one process, each
driven by its own `work` and `fileno`. Those of the *bus* are about what a user of nodes gets: every policy of a
profile, over whatever carries it; they are given nodes on two hosts and do not care how these came to be.

With pytest::

    SUBJECT = conformance.Subject(lambda: MyTransport(), settings={"port": 0})

    @pytest.mark.parametrize("check", conformance.CHECKS, ids=str)
    def test_the_contract(check: conformance.Check) -> None:
        check(SUBJECT)

A transport whose capabilities promise no reliability takes `BEST_EFFORT_CHECKS`. docs/writing-a-transport.md is the
guide.
"""

from __future__ import annotations

from typing import Final

from lunar.testing.conformance import carrying, ending, room
from lunar.testing.conformance.subject import Check, Subject

__all__ = ["BEST_EFFORT_CHECKS", "CHECKS", "Check", "Subject"]

_BOTH: Final = (
    ending.a_transport_describes_itself,
    ending.unknown_settings_are_refused,
    carrying.streams_connect_whichever_end_is_opened_first,
    carrying.a_sender_that_nobody_listens_to_takes_nothing,
    carrying.start_says_where_a_stream_begins,
    carrying.what_is_sent_arrives_in_order_and_once,
    carrying.messages_of_all_sizes_arrive,
    carrying.what_stands_beside_a_payload_arrives,
    carrying.buffers_of_every_kind_are_taken,
    carrying.streams_go_both_ways_at_once,
    carrying.many_streams_between_two_processes_are_kept_apart,
    carrying.many_processes_get_what_one_publisher_sends,
    room.the_descriptor_is_readable_when_something_has_come,
    room.a_process_that_has_nothing_to_do_sleeps,
    ending.closing_either_end_tells_the_other,
    ending.closing_an_engine_tells_the_other_ends,
    ending.closing_twice_does_nothing,
    ending.streams_can_be_opened_again,
    ending.ends_may_be_closed_at_any_time,
    ending.closing_within_a_handler_is_allowed,
    ending.a_forgotten_process_may_come_again,
    ending.forgetting_a_stranger_does_nothing,
    ending.addresses_that_are_none_are_the_peer_s_fault,
    ending.closing_leaves_no_descriptor_open,
)
_RELIABLE_ONLY: Final = (
    room.a_full_receiver_stops_its_sender_and_loses_nothing,
    room.writable_follows_every_refusal,
    room.sending_from_within_writable_goes_on_to_the_end,
    ending.closing_an_engine_sends_what_was_taken,
)
_BEST_EFFORT_ONLY: Final = (room.a_full_receiver_costs_best_effort_only_losses,)

BEST_EFFORT_CHECKS: Final = tuple(
    Check(f"{each.__name__}[best_effort]", each, needs_reliable=False) for each in (*_BOTH, *_BEST_EFFORT_ONLY)
)
"""The checks of engines that open best-effort streams only."""

CHECKS: Final = BEST_EFFORT_CHECKS + tuple(
    Check(f"{each.__name__}[reliable]", each, needs_reliable=True) for each in (*_BOTH, *_RELIABLE_ONLY)
)
"""All checks of engines."""
