"""What every transport between hosts has to do, as checks that anybody can run over theirs.

There are two layers. The checks of *engines* need nothing but `lunar.abc`: two or more engines in one process, each
driven by its own `work` and `fileno`. Those of the *bus* are about what a user of nodes gets: every policy of a
profile, over whatever carries it; they are given nodes on two hosts and do not care how these came to be.

With pytest::

    SUBJECT = conformance.Subject(lambda: MyTransport(), settings={"port": 0})

    @pytest.mark.parametrize("check", conformance.CHECKS, ids=str)
    def test_the_contract(check: conformance.Check) -> None:
        check(SUBJECT)

    @pytest.mark.parametrize("check", conformance.BUS_CHECKS, ids=str)
    async def test_the_bus(check: conformance.BusCheck, bus: conformance.Bus) -> None:
        await check(bus)

A transport whose capabilities promise no reliability takes `BEST_EFFORT_CHECKS`, and of `BUS_CHECKS` those that do not
need it. docs/writing-a-transport.md is the guide.
"""

from __future__ import annotations

from typing import Final

from lunar.testing.conformance import carrying, ending, policies, programs, room
from lunar.testing.conformance.bus import Bus, BusCheck, BusNode, BusPublisher, BusSubscription
from lunar.testing.conformance.subject import Check, Subject

__all__ = [
    # Engines
    "BEST_EFFORT_CHECKS",
    "CHECKS",
    "Check",
    "Subject",
    # The bus
    "BUS_CHECKS",
    "Bus",
    "BusCheck",
    "BusNode",
    "BusPublisher",
    "BusSubscription",
]

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
    ending.recalling_gives_back_what_has_not_arrived,
    ending.recalling_one_stream_of_a_publisher_leaves_the_others,
    ending.recalling_works_after_the_other_end_has_closed,
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

BUS_CHECKS: Final = (
    BusCheck(policies.best_effort_arrives_in_order_or_is_counted, needs_reliable=False),
    BusCheck(policies.profiles_that_do_not_go_together_are_told_at_both_ends, needs_reliable=False),
    *(
        BusCheck(each)
        for each in (
            policies.reliable_messages_arrive_once_and_in_order,
            policies.a_reliable_publisher_serves_who_asks_for_less,
            policies.keep_all_loses_nothing_and_makes_its_publisher_wait,
            policies.keep_last_keeps_the_newest_and_counts_the_others,
            policies.a_late_joiner_gets_the_history_that_both_depths_allow,
            policies.who_asks_for_no_history_gets_none,
            policies.a_deadline_that_is_missed_is_told_at_both_ends,
            policies.a_message_that_is_too_old_is_not_delivered,
            policies.a_manual_publisher_that_goes_quiet_has_lost_its_liveliness,
            policies.a_sign_of_life_without_a_message_counts,
            policies.a_publisher_that_says_goodbye_has_not_lost_its_liveliness,
            programs.a_large_message_arrives,
            programs.every_subscription_on_every_host_gets_each_message_once,
            programs.many_topics_and_ends_are_kept_apart,
            programs.receiving_can_be_cancelled_at_any_time,
            programs.publishing_can_be_cancelled_at_any_time,
            programs.closing_an_end_and_making_another_matches_again,
            programs.a_publisher_that_waits_goes_on_when_its_subscription_is_closed,
            programs.what_was_published_arrives_though_its_publisher_is_closed,
        )
    ),
)
"""All checks of the bus."""
