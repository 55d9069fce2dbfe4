import itertools
from collections.abc import Callable

import pytest

from lunar.graph.descriptions import EndpointInfo
from lunar.graph.matching import Compatible, IncompatibleQoS, NoRelation, TypeMismatch, match
from lunar.qos import QoS, incompatibilities

Make = Callable[..., EndpointInfo]

OTHER_HASH = "cd" * 16
RELIABILITIES = ["reliable", "best_effort"]
HISTORIES = ["keep_last", "keep_all"]


@pytest.mark.parametrize(
    "ends", list(itertools.product(itertools.product(RELIABILITIES, HISTORIES), repeat=2)), ids=str
)
def test_the_publisher_waits_only_if_both_are_reliable_and_keep_all(
    make_endpoint: Make, ends: tuple[tuple[str, str], tuple[str, str]]
) -> None:
    offered, requested = (QoS.from_dict({"reliability": r, "history": h, "depth": 3}) for r, h in ends)
    decision = match(make_endpoint("publisher", offered), make_endpoint("subscription", requested))
    if ends[0][0] == "best_effort" and ends[1][0] == "reliable":
        assert isinstance(decision, IncompatibleQoS)
    else:
        assert decision == Compatible(queue_depth=3, waits=ends == (("reliable", "keep_all"),) * 2)


@pytest.mark.parametrize(("offered_depth", "requested_depth"), [(1, 100), (100, 1), (7, 7)])
@pytest.mark.parametrize("history", HISTORIES)
def test_the_queue_has_the_subscriptions_depth(
    make_endpoint: Make, history: str, offered_depth: int, requested_depth: int
) -> None:
    base = QoS.from_dict({"history": history})
    decision = match(
        make_endpoint("publisher", base.replace(depth=offered_depth)),
        make_endpoint("subscription", base.replace(depth=requested_depth)),
    )
    assert isinstance(decision, Compatible)
    assert decision.queue_depth == requested_depth


def test_ends_on_different_topics_have_nothing_to_do_with_each_other(make_endpoint: Make) -> None:
    publisher = make_endpoint("publisher", QoS(reliability="best_effort"), topic="/a", type_hash=OTHER_HASH)
    assert match(publisher, make_endpoint("subscription", topic="/b")) == NoRelation()


def test_other_types_do_not_match_whatever_their_qos(make_endpoint: Make) -> None:
    publisher = make_endpoint("publisher", QoS(reliability="best_effort"))
    subscription = make_endpoint("subscription", type_hash=OTHER_HASH)
    assert match(publisher, subscription) == TypeMismatch(publisher, subscription)


def test_the_hash_and_not_the_name_is_the_type(make_endpoint: Make) -> None:
    publisher = make_endpoint("publisher", type_name="bytes")
    assert match(publisher, make_endpoint("subscription", type_name="octets")) == Compatible(10, waits=False)


def test_incompatible_qos_carries_every_reason(make_endpoint: Make) -> None:
    offered, requested = QoS(reliability="best_effort"), QoS(durability="transient_local")
    publisher, subscription = make_endpoint("publisher", offered), make_endpoint("subscription", requested)
    decision = match(publisher, subscription)
    assert decision == IncompatibleQoS(publisher, subscription, incompatibilities(offered, requested))


def test_the_texts_name_both_ends_and_what_differs(make_endpoint: Make) -> None:
    publisher = make_endpoint("publisher", QoS(reliability="best_effort"), node_name="/r/talker", pid=1)
    subscription = make_endpoint("subscription", node_name="/r/listener", pid=2)
    decision = match(publisher, subscription)
    assert isinstance(decision, IncompatibleQoS)
    assert decision.text == (
        "incompatible QoS between publisher of /chatter in node /r/talker (pid 1) and "
        "subscription of /chatter in node /r/listener (pid 2): "
        "reliability is offered as best_effort but requested as reliable"
    )
    decision = match(publisher, make_endpoint("subscription", type_name="Image", type_hash=OTHER_HASH, pid=2))
    assert isinstance(decision, TypeMismatch)
    assert decision.text == (
        "type mismatch between publisher of /chatter in node /r/talker (pid 1) and "
        "subscription of /chatter in node /talker (pid 2): bytes (abababab) published, Image (cdcdcdcd) subscribed"
    )


@pytest.mark.parametrize(
    "kinds", [("publisher", "publisher"), ("subscription", "subscription"), ("subscription", "publisher")]
)
def test_refuses_ends_of_the_wrong_kind(make_endpoint: Make, kinds: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=f"not {kinds[0]} and {kinds[1]}"):
        match(make_endpoint(kinds[0]), make_endpoint(kinds[1]))
