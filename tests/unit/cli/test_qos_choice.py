from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lunar.qos
from lunar.cli.graph_view import TopicView
from lunar.cli.options import Datapath, Durability, History, Profile, Reliability, qos_wishes
from lunar.cli.qos_choice import metering_qos, observing_qos, parse_qos, publishing_qos, starvation_warnings
from lunar.errors import QoSError
from lunar.graph.descriptions import EndpointInfo
from lunar.qos import PRESETS, SENSOR_DATA, QoS, incompatibilities

offers = st.builds(
    QoS,
    reliability=st.sampled_from(["reliable", "best_effort"]),
    durability=st.sampled_from(["volatile", "transient_local"]),
    history=st.sampled_from(["keep_last", "keep_all"]),
    deadline_s=st.none() | st.floats(0.001, 10),
    lease_s=st.none() | st.floats(0.001, 10),
)


@given(st.lists(offers))
def test_an_observer_matches_every_publisher_and_holds_up_none(offered: list[QoS]) -> None:
    requested = observing_qos(offered, {})
    assert [problem for offer in offered for problem in incompatibilities(offer, requested)] == []
    assert requested.history == "keep_last"


def test_an_observer_takes_all_the_guarantee_that_is_offered_by_all() -> None:
    strong = QoS(durability="transient_local", depth=5000)
    assert observing_qos([strong], {}).durability == "transient_local"
    assert observing_qos([strong], {}).reliability == "reliable"
    assert observing_qos([strong], {}).depth == 5000
    assert observing_qos([strong, QoS(reliability="best_effort")], {}).reliability == "best_effort"
    assert observing_qos([strong, QoS()], {}).durability == "volatile"


def test_wishes_win_and_are_checked() -> None:
    assert observing_qos([QoS()], {"reliability": "best_effort", "depth": 3}).depth == 3
    assert observing_qos([], {"history": "keep_all"}).depth == QoS(history="keep_all").depth
    with pytest.raises(QoSError, match="depth"):
        observing_qos([], {"depth": 10_000_000})


def test_a_wish_that_starves_is_explained(
    make_endpoint: Callable[..., EndpointInfo],
) -> None:
    deaf = make_endpoint("publisher", QoS(reliability="best_effort"), node_name="/deaf")
    topic = TopicView("/chatter", (deaf, make_endpoint("publisher")), ())
    (warning,) = starvation_warnings(topic, QoS())
    assert "/deaf" in warning
    assert "reliability" in warning
    assert starvation_warnings(topic, observing_qos([end.qos for end in topic.publishers], {})) == []


@pytest.mark.parametrize(
    ("message_bytes", "depth"), [(0, 65_536), (64, 65_536), (2**20, 64), (2**30, 16)], ids=["empty", "64", "1M", "1G"]
)
def test_a_meter_queues_little_memory(message_bytes: int, depth: int) -> None:
    qos = metering_qos(message_bytes)
    assert (qos.reliability, qos.history, qos.depth) == ("best_effort", "keep_last", depth)
    assert metering_qos(message_bytes, depth=7).depth == 7


def test_a_publisher_begins_with_a_preset() -> None:
    assert publishing_qos(None, {}) == QoS()
    assert publishing_qos("sensor_data", {}) == SENSOR_DATA
    assert publishing_qos("sensor_data", {"depth": 9}) == SENSOR_DATA.replace(depth=9)


def test_the_options_offer_what_lunar_knows() -> None:
    assert {profile.value for profile in Profile} == set(PRESETS)
    for field, choices in (("reliability", Reliability), ("durability", Durability), ("history", History)):
        with pytest.raises(QoSError) as caught:
            QoS().replace(**{field: "nonsense"})
        assert {repr(choice.value) for choice in choices} == set(caught.value.allowed.split(", "))


def test_only_options_that_were_given_are_wishes() -> None:
    assert qos_wishes(None, None, None, None) == {}
    assert qos_wishes(Reliability.RELIABLE, None, History.KEEP_ALL, 5) == {
        "reliability": "reliable",
        "history": "keep_all",
        "depth": 5,
    }


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("default", QoS()),
        ("sensor_data", SENSOR_DATA),
        ("sensor_data, depth=3", SENSOR_DATA.replace(depth=3)),
        ("depth=3,sensor_data", SENSOR_DATA.replace(depth=3)),
        ("transport=zmq,datapath=fast", QoS(transport="zmq", datapath="fast")),
        ("transport=none,deadline_s=0.5,lease_s=2", QoS(deadline_s=0.5, lease_s=2)),
    ],
)
def test_a_profile_is_read_from_the_command_line(text: str, profile: QoS) -> None:
    assert parse_qos(text) == profile


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "sensor_data, .* or FIELD=VALUE"),
        ("sensor", "sensor_data, .* or FIELD=VALUE"),
        ("depht=3", "no such field; there are"),
        ("depth=three", "a whole number"),
        ("depth=", "a whole number"),
        ("datapath=quick", "'auto', 'fast', 'standard'"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(text: str, reason: str) -> None:
    with pytest.raises(QoSError, match=reason):
        parse_qos(text)


def test_the_options_choose_the_way_of_a_match() -> None:
    wishes = qos_wishes(None, None, None, None, Datapath.FAST, "zmq")
    assert publishing_qos(None, wishes) == QoS(datapath="fast", transport="zmq")
    assert [each.value for each in Datapath] == list(get_args(lunar.qos.Datapath))
