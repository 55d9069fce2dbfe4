import dataclasses
import inspect
import json

import pytest

from lunar import statistics
from lunar.statistics import (
    MatchStatistics,
    PublisherStatistics,
    SubscriptionMatchStatistics,
    SubscriptionStatistics,
)

SENT = MatchStatistics("02" * 16, "/l", 2, 5, 1, lost_overwritten=1, lost_held=20, lost_expired=300, waits=7)
RECEIVED = SubscriptionMatchStatistics("01" * 16, "/t", 1, 9, lost_overwritten=1, lost_held=20, lost_expired=300)
PUBLISHER = PublisherStatistics("/chatter", 9, 576, 7, 2**20, 321, (SENT,))
SUBSCRIPTION = SubscriptionStatistics("/chatter", 9, 576, 2, 30, 400, (RECEIVED,))

Statistics = MatchStatistics | PublisherStatistics | SubscriptionMatchStatistics | SubscriptionStatistics
KINDS = [getattr(statistics, name) for name in statistics.__all__]


def test_losses_add_up_over_their_causes() -> None:
    assert (SENT.lost, RECEIVED.lost, SUBSCRIPTION.lost) == (321, 321, 432)


def test_a_publisher_also_counts_the_losses_of_matches_that_ended() -> None:
    assert PublisherStatistics("/chatter", 9, 576, 0, 2**20, lost=4).lost == 4


@pytest.mark.parametrize("value", [SENT, PUBLISHER, RECEIVED, SUBSCRIPTION], ids=lambda value: type(value).__name__)
def test_the_dictionary_has_every_field_and_the_total(value: Statistics) -> None:
    data = value.to_dict()
    assert set(data) == {field.name for field in dataclasses.fields(value)} | {"lost"}
    assert data["lost"] == value.lost
    assert json.loads(json.dumps(data)) == data


@pytest.mark.parametrize(("value", "match"), [(PUBLISHER, SENT), (SUBSCRIPTION, RECEIVED)])
def test_the_dictionary_has_the_matches(value: Statistics, match: Statistics) -> None:
    assert value.to_dict()["matches"] == [match.to_dict()]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_field_has_a_line_of_documentation(kind: type) -> None:
    documentation = inspect.getdoc(kind) or ""
    for field in dataclasses.fields(kind):
        assert f"\n    {field.name}: " in documentation
