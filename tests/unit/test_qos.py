import dataclasses
import itertools
import json
import math
import pickle
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar import qos
from lunar.errors import QoSError
from lunar.qos import Incompatibility, Liveliness, QoS, incompatibilities, spin_ns

durations = st.none() | st.floats(1e-9, 1e9) | st.integers(1, 10**9)


@st.composite
def profiles(draw: st.DrawFn) -> QoS:
    liveliness: Liveliness = draw(st.sampled_from(["automatic", "manual_by_topic"]))
    lease_s = draw(durations.filter(lambda lease_s: lease_s is not None or liveliness == "automatic"))
    return QoS(
        reliability=draw(st.sampled_from(["reliable", "best_effort"])),
        durability=draw(st.sampled_from(["volatile", "transient_local"])),
        history=draw(st.sampled_from(["keep_last", "keep_all"])),
        depth=draw(st.none() | st.integers(1, 1_000_000)),
        deadline_s=draw(durations),
        lifespan_s=draw(durations),
        liveliness=liveliness,
        lease_s=lease_s,
        priority=draw(st.integers(0, 7)),
        resources=draw(st.sampled_from(["frugal", "balanced", "greedy"])),
        datapath=draw(st.sampled_from(["auto", "fast", "standard"])),
        transport=draw(st.none() | st.sampled_from(["shm", "zmq", "a-b.c_1"])),
    )


# What a JSON decoder may return; keys and values often those of a profile.
words = st.sampled_from(["reliable", "keep_all", "manual_by_topic", "depth", "greedy", ""])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)
hostile = st.dictionaries(st.sampled_from([f.name for f in dataclasses.fields(QoS)]) | words, json_values) | json_values


def test_defaults_are_those_of_ros_2() -> None:
    assert QoS().to_dict() == {
        "reliability": "reliable",
        "durability": "volatile",
        "history": "keep_last",
        "depth": 10,
        "deadline_s": None,
        "lifespan_s": None,
        "liveliness": "automatic",
        "lease_s": None,
        "priority": 0,
        "resources": "balanced",
        "datapath": "auto",
        "transport": None,
    }
    assert QoS(history="keep_all").depth == 1024
    assert QoS(history="keep_all", depth=3).depth == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reliability", "reliably"),
        ("reliability", "RELIABLE"),
        ("reliability", None),
        ("reliability", 1),
        ("reliability", ["reliable"]),
        ("durability", "persistent"),
        ("history", "keep_some"),
        ("depth", 0),
        ("depth", -1),
        ("depth", 1_000_001),
        ("depth", 10.0),
        ("depth", "10"),
        ("depth", True),
        *itertools.product(
            ["deadline_s", "lifespan_s", "lease_s"],
            [0, -1, 0.0, 1e-10, 1.1e9, 10**400, math.inf, -math.inf, math.nan, "1", True, False, [1]],
        ),
        ("liveliness", "manual"),
        ("priority", -1),
        ("priority", 8),
        ("priority", 1.0),
        ("priority", True),
        ("resources", "lavish"),
        ("datapath", "quick"),
        ("datapath", None),
        *itertools.product(["transport"], ["", "-zmq", "a b", "z" * 64, "\x1b[2J", "zmq\n", 1, True, ["zmq"]]),
    ],
)
def test_refuses_a_value_and_names_field_and_allowed(field: str, value: object) -> None:
    wrong: dict[str, object] = {field: value}
    for build in (partial(QoS, **wrong), partial(QoS.from_dict, wrong)):  # type: ignore[arg-type]
        with pytest.raises(QoSError) as caught:
            build()
        assert caught.value.field == field
        assert caught.value.value is value
        assert caught.value.allowed in str(caught.value)


@pytest.mark.parametrize(
    ("field", "choices"),
    [
        ("reliability", ["best_effort", "reliable"]),
        ("durability", ["volatile", "transient_local"]),
        ("history", ["keep_last", "keep_all"]),
        ("liveliness", ["automatic", "manual_by_topic"]),
        ("resources", ["frugal", "balanced", "greedy"]),
        ("datapath", ["auto", "fast", "standard"]),
    ],
)
def test_the_error_lists_the_choices(field: str, choices: list[str]) -> None:
    with pytest.raises(QoSError) as caught:
        QoS(**{field: "?"})  # type: ignore[arg-type]
    assert caught.value.allowed == ", ".join(repr(choice) for choice in choices)
    for choice in choices:
        assert getattr(QoS.from_dict({field: choice, "lease_s": 1}), field) == choice


@pytest.mark.parametrize("value", [1e-9, 0.5, 1, 1e9, 10**9])
def test_accepts_the_ends_of_the_range_of_durations(value: float) -> None:
    profile = QoS(deadline_s=value, lifespan_s=value, lease_s=value)
    assert profile.deadline_s == profile.lifespan_s == profile.lease_s == value
    assert isinstance(profile.deadline_s, float)


@pytest.mark.parametrize("depth", [1, 1_000_000])
def test_accepts_the_ends_of_the_range_of_depths(depth: int) -> None:
    assert QoS(depth=depth).depth == depth


def test_manual_liveliness_needs_a_lease() -> None:
    with pytest.raises(QoSError, match="lease_s=None is not valid; allowed: seconds, since liveliness"):
        QoS(liveliness="manual_by_topic")
    assert QoS(liveliness="manual_by_topic", lease_s=1).lease_s == 1
    assert QoS(liveliness="automatic", lease_s=1).lease_s == 1


def test_is_frozen_hashable_and_survives_pickling() -> None:
    profile = QoS(depth=3, deadline_s=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.depth = 4  # type: ignore[misc]
    assert {profile: 1}[QoS(depth=3, deadline_s=1.0)] == 1
    assert pickle.loads(pickle.dumps(profile)) == profile


def test_replace_changes_only_what_it_is_given() -> None:
    profile = QoS(depth=3, deadline_s=1)
    changed = profile.replace(reliability="best_effort", deadline_s=None)
    assert changed == QoS(reliability="best_effort", depth=3)
    assert profile == QoS(depth=3, deadline_s=1)
    assert profile.replace() == profile


def test_replace_of_the_history_chooses_the_depth_anew() -> None:
    assert QoS(depth=3).replace(history="keep_all").depth == 1024
    assert QoS(depth=3).replace(history="keep_all", depth=4).depth == 4
    assert QoS(depth=3).replace(history="keep_last").depth == 3


def test_replace_refuses_what_the_constructor_refuses() -> None:
    with pytest.raises(QoSError, match="depht=1 is not valid; allowed: no such field; there are reliability"):
        QoS().replace(depht=1)
    with pytest.raises(QoSError, match="lease_s"):
        QoS().replace(liveliness="manual_by_topic")
    with pytest.raises(QoSError, match="depth"):
        QoS().replace(depth=0)


@settings(deadline=None)
@given(profiles())
def test_the_wire_form_reads_back(profile: QoS) -> None:
    assert QoS.from_dict(json.loads(json.dumps(profile.to_dict()))) == profile


def test_reading_ignores_unknown_keys_and_defaults_missing_ones() -> None:
    assert QoS.from_dict({"depth": 7, "colour": "blue"}) == QoS(depth=7)
    assert QoS.from_dict({}) == QoS()


@settings(deadline=None)
@given(hostile)
def test_hostile_input_is_read_or_refused(data: object) -> None:
    try:
        profile = QoS.from_dict(data)
    except QoSError as error:
        str(error)
    else:
        assert QoS.from_dict(profile.to_dict()) == profile


# RxO: for each policy the values from weak to strong; an offer must not be weaker than the request.
ORDERS: dict[str, list[str | float | None]] = {
    "reliability": ["best_effort", "reliable"],
    "durability": ["volatile", "transient_local"],
    "deadline_s": [None, 2.0, 1.0],
    "liveliness": ["automatic", "manual_by_topic"],
    "lease_s": [None, 2.0, 1.0],
}


@pytest.mark.parametrize(
    ("policy", "offered", "requested"),
    [(policy, *pair) for policy, order in ORDERS.items() for pair in itertools.product(order, order)],
)
def test_an_offer_meets_a_request_that_is_not_stronger(
    policy: str, offered: str | float | None, requested: str | float | None
) -> None:
    # A lease, so that manual liveliness is valid; the weakest offer of the others meets the weakest request.
    base = {"reliability": "best_effort", "lease_s": 1.0}
    found = incompatibilities(QoS.from_dict(base | {policy: offered}), QoS.from_dict(base | {policy: requested}))
    order = ORDERS[policy]
    if order.index(offered) >= order.index(requested):
        assert found == ()
    else:
        assert [(one.policy, one.offered, one.requested) for one in found] == [(policy, offered, requested)]
        assert found[0].text.startswith(f"{policy} is offered as ")


@pytest.mark.parametrize(
    ("offered", "requested", "text"),
    [
        (
            QoS(reliability="best_effort"),
            QoS(),
            "reliability is offered as best_effort but requested as reliable",
        ),
        (QoS(), QoS(deadline_s=0.5), "deadline_s is offered as no limit but requested as at most 0.5"),
        (QoS(lease_s=3), QoS(lease_s=2), "lease_s is offered as 3 but requested as at most 2"),
        (QoS(lease_s=1 + 1e-9), QoS(lease_s=1), "lease_s is offered as 1.000000001 but requested as at most 1"),
    ],
)
def test_the_text_tells_both_values(offered: QoS, requested: QoS, text: str) -> None:
    assert [found.text for found in incompatibilities(offered, requested)] == [text]


def test_every_policy_that_falls_short_is_told() -> None:
    offered = QoS(reliability="best_effort")
    requested = QoS(durability="transient_local", deadline_s=1, liveliness="manual_by_topic", lease_s=1)
    found = incompatibilities(offered, requested)
    assert [one.policy for one in found] == ["reliability", "durability", "deadline_s", "liveliness", "lease_s"]
    assert all(isinstance(one, Incompatibility) for one in found)


@settings(deadline=None)
@given(profiles(), profiles())
def test_what_is_no_promise_never_prevents_a_match(offered: QoS, requested: QoS) -> None:
    indifferent = {
        field: getattr(requested, field)
        for field in ("history", "depth", "lifespan_s", "priority", "resources", "datapath", "transport")
    }
    assert incompatibilities(offered.replace(**indifferent), requested) == incompatibilities(offered, requested)


@settings(deadline=None)
@given(profiles(), profiles(), profiles())
def test_compatibility_is_a_preorder(one: QoS, two: QoS, three: QoS) -> None:
    assert incompatibilities(one, one) == ()
    if not incompatibilities(one, two) and not incompatibilities(two, three):
        assert incompatibilities(one, three) == ()


@settings(deadline=None)
@given(profiles(), profiles())
def test_two_that_meet_each_other_promise_the_same(one: QoS, two: QoS) -> None:
    both_ways = not incompatibilities(one, two) and not incompatibilities(two, one)
    same = all(getattr(one, policy) == getattr(two, policy) for policy in ORDERS)
    assert both_ways == same


# Name, history, depth, reliability, durability, lifespan: as in rmw/qos_profiles.h, rcl_action/default_qos.h
# (ACTION_STATUS_DEFAULT) and rcl/logging_rosout.h (ROSOUT_DEFAULT).
ROS_PRESETS = [
    ("SENSOR_DATA", "keep_last", 5, "best_effort", "volatile", None),
    ("PARAMETERS", "keep_last", 1000, "reliable", "volatile", None),
    ("DEFAULT", "keep_last", 10, "reliable", "volatile", None),
    ("SERVICES_DEFAULT", "keep_last", 10, "reliable", "volatile", None),
    ("PARAMETER_EVENTS", "keep_last", 1000, "reliable", "volatile", None),
    ("ACTION_STATUS_DEFAULT", "keep_last", 1, "reliable", "transient_local", None),
    ("ROSOUT_DEFAULT", "keep_last", 1000, "reliable", "transient_local", 10.0),
]


@pytest.mark.parametrize(("name", "history", "depth", "reliability", "durability", "lifespan_s"), ROS_PRESETS)
def test_a_preset_has_the_values_of_ros_2(
    name: str, history: str, depth: int, reliability: str, durability: str, lifespan_s: float | None
) -> None:
    expected = QoS.from_dict(
        {
            "history": history,
            "depth": depth,
            "reliability": reliability,
            "durability": durability,
            "lifespan_s": lifespan_s,
        }
    )
    assert getattr(qos, name) == expected
    assert qos.PRESETS[name.lower()] == expected


def test_the_system_default_is_lunars_own() -> None:
    assert qos.SYSTEM_DEFAULT == qos.DEFAULT == QoS()
    assert set(qos.PRESETS) == {name.lower() for name, *_ in ROS_PRESETS} | {"system_default"}


def test_spinning_is_bounded_by_the_resources() -> None:
    assert [spin_ns(one) for one in ("frugal", "balanced", "greedy")] == [0, 50_000, 10_000_000]
