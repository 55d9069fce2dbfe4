"""Quality of service: profiles, ROS 2's presets, and whether an offer meets a request. Pure.

The words and the requested/offered rule (RxO) are those of OMG DDS 1.4, clause 2.2.3. A publisher
offers, a subscription requests; they match when no offered policy is weaker than the requested one.
History, depth, lifespan, priority and resources concern one side only and never prevent a match.
Nor do datapath and transport here: they choose the way of a match, see `lunar.selection`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

from lunar.errors import QoSError
from lunar.names import is_transport_name

__all__ = [
    "ACTION_STATUS_DEFAULT",
    "DEFAULT",
    "PARAMETERS",
    "PARAMETER_EVENTS",
    "PRESETS",
    "ROSOUT_DEFAULT",
    "SENSOR_DATA",
    "SERVICES_DEFAULT",
    "SYSTEM_DEFAULT",
    "Datapath",
    "Durability",
    "History",
    "Incompatibility",
    "Liveliness",
    "QoS",
    "Reliability",
    "Resources",
    "incompatibilities",
    "spin_ns",
]

# Each Literal lists the weaker guarantee first: the order is the one that RxO compares by.
Reliability = Literal["best_effort", "reliable"]
Durability = Literal["volatile", "transient_local"]
Liveliness = Literal["automatic", "manual_by_topic"]
History = Literal["keep_last", "keep_all"]
Resources = Literal["frugal", "balanced", "greedy"]
Datapath = Literal["auto", "fast", "standard"]

_RELIABILITIES: Final[tuple[Reliability, ...]] = get_args(Reliability)
_DURABILITIES: Final[tuple[Durability, ...]] = get_args(Durability)
_LIVELINESSES: Final[tuple[Liveliness, ...]] = get_args(Liveliness)
_HISTORIES: Final[tuple[History, ...]] = get_args(History)
_RESOURCES: Final[tuple[Resources, ...]] = get_args(Resources)
_DATAPATHS: Final[tuple[Datapath, ...]] = get_args(Datapath)

_DEFAULT_DEPTH: Final[Mapping[History, int]] = {"keep_last": 10, "keep_all": 1024}
_MAX_DEPTH: Final = 1_000_000
# About 31 years: in nanoseconds it still fits the signed 64-bit times of the C core.
_MAX_DURATION_S: Final = 1e9
_MIN_DURATION_S: Final = 1e-9
# The range of the priority code point of IEEE 802.1Q, which it becomes on a network.
_MAX_PRIORITY: Final = 7

_SPIN_NS: Final[Mapping[Resources, int]] = {
    "frugal": 0,
    "balanced": 50_000,
    "greedy": 10_000_000,
}

_Choice = TypeVar("_Choice", bound=str)


@dataclass(frozen=True, slots=True, init=False)
class QoS:
    """What a publisher offers or a subscription requests. The defaults are ROS 2's.

    Attributes:
        reliability: "reliable", or "best_effort" where a loss is acceptable.
        durability: "volatile", or "transient_local" to replay history to late joiners.
        history: "keep_last" overwrites the oldest sample not yet taken; "keep_all" keeps each one,
            and with "reliable" on both ends makes the publisher wait.
        depth: Samples kept a match, 1 to 1,000,000. Given as None it becomes 10 for keep_last and
            1024, as a resource limit, for keep_all.
        deadline_s: Longest time between two samples, in seconds; None for no deadline.
        lifespan_s: Age in seconds beyond which a sample is dropped and counted; None for no limit.
        liveliness: "automatic" (the process lives) or "manual_by_topic" (the publisher publishes).
        lease_s: Seconds without a sign of life after which liveliness is lost; None for no limit.
        priority: 0 (lowest) to 7, as in IEEE 802.1Q.
        resources: How long a waiter may spin: "frugal", "balanced" or "greedy" (see `spin_ns`).
        datapath: Between hosts: "auto", "fast" to prefer a way past the kernel's network stack where there is one, or
            "standard" to exclude it.
        transport: Name of the only transport that may serve the matches ("zmq"); None for any.
    """

    reliability: Reliability
    durability: Durability
    history: History
    depth: int
    deadline_s: float | None
    lifespan_s: float | None
    liveliness: Liveliness
    lease_s: float | None
    priority: int
    resources: Resources
    datapath: Datapath
    transport: str | None

    # Written out because `depth` takes None but never holds it.
    def __init__(
        self,
        reliability: Reliability = "reliable",
        durability: Durability = "volatile",
        history: History = "keep_last",
        depth: int | None = None,
        deadline_s: float | None = None,
        lifespan_s: float | None = None,
        liveliness: Liveliness = "automatic",
        lease_s: float | None = None,
        priority: int = 0,
        resources: Resources = "balanced",
        datapath: Datapath = "auto",
        transport: str | None = None,
    ) -> None:
        """Checks and stores the profile.

        Raises:
            QoSError: A value is unknown, out of range, or contradicts another.
        """
        store = object.__setattr__
        store(self, "reliability", _one_of("reliability", reliability, _RELIABILITIES))
        store(self, "durability", _one_of("durability", durability, _DURABILITIES))
        store(self, "history", _one_of("history", history, _HISTORIES))
        if depth is None:
            depth = _DEFAULT_DEPTH[history]
        store(self, "depth", _integer("depth", depth, 1, _MAX_DEPTH))
        store(self, "deadline_s", _duration("deadline_s", deadline_s))
        store(self, "lifespan_s", _duration("lifespan_s", lifespan_s))
        store(self, "liveliness", _one_of("liveliness", liveliness, _LIVELINESSES))
        store(self, "lease_s", _duration("lease_s", lease_s))
        store(self, "priority", _integer("priority", priority, 0, _MAX_PRIORITY))
        store(self, "resources", _one_of("resources", resources, _RESOURCES))
        store(self, "datapath", _one_of("datapath", datapath, _DATAPATHS))
        store(self, "transport", _transport_name("transport", transport))
        # Without a lease nobody could ever notice that a manual publisher went quiet.
        if liveliness == "manual_by_topic" and lease_s is None:
            raise QoSError("lease_s", None, "seconds, since liveliness is 'manual_by_topic'")

    def replace(self, **changes: object) -> QoS:
        """Returns a copy with some fields changed.

        A new `history` without a `depth` takes the default depth of that history, because a depth
        means something else under each: a window under keep_last, a limit under keep_all.

        Args:
            **changes: Fields of the profile and their new values.

        Raises:
            QoSError: There is no such field, or the new profile would not be valid.
        """
        fields = self.to_dict()
        for name, value in changes.items():
            if name not in fields:
                raise QoSError(name, value, f"no such field; there are {', '.join(fields)}")
        if changes.get("history", self.history) != self.history:
            fields["depth"] = None
        return QoS.from_dict(fields | changes)

    def to_dict(self) -> dict[str, object]:
        """Returns the profile as JSON-ready values, in the order of the fields."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, data: object) -> QoS:
        """Rebuilds a profile from `to_dict`'s result, which may come from a hostile peer.

        A field that is missing takes its default and one that is unknown is ignored, so profiles
        of older and newer versions are read alike.

        Raises:
            QoSError: `data` is no mapping, or a value is not valid.
        """
        if not isinstance(data, Mapping):
            raise QoSError("profile", data, "a mapping of fields to values")
        get = data.get
        depth = get("depth")
        return cls(
            reliability=_one_of("reliability", get("reliability", "reliable"), _RELIABILITIES),
            durability=_one_of("durability", get("durability", "volatile"), _DURABILITIES),
            history=_one_of("history", get("history", "keep_last"), _HISTORIES),
            depth=None if depth is None else _integer("depth", depth, 1, _MAX_DEPTH),
            deadline_s=_duration("deadline_s", get("deadline_s")),
            lifespan_s=_duration("lifespan_s", get("lifespan_s")),
            liveliness=_one_of("liveliness", get("liveliness", "automatic"), _LIVELINESSES),
            lease_s=_duration("lease_s", get("lease_s")),
            priority=_integer("priority", get("priority", 0), 0, _MAX_PRIORITY),
            resources=_one_of("resources", get("resources", "balanced"), _RESOURCES),
            datapath=_one_of("datapath", get("datapath", "auto"), _DATAPATHS),
            transport=_transport_name("transport", get("transport")),
        )


def spin_ns(resources: Resources) -> int:
    """Returns how long a waiter may spin before it sleeps, in nanoseconds."""
    return _SPIN_NS[resources]


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """One policy on which an offer falls short of a request.

    Attributes:
        policy: The field of `QoS`.
        offered: The publisher's value.
        requested: The subscription's value.
        text: The same as a sentence, without naming the ends.
    """

    policy: str
    offered: str | float | None
    requested: str | float | None
    text: str


def incompatibilities(offered: QoS, requested: QoS) -> tuple[Incompatibility, ...]:
    """Compares a publisher's offer with a subscription's request (DDS 1.4, clause 2.2.3).

    Returns:
        Every policy that is offered weaker than requested, in the order of `QoS`'s fields;
        empty if the two are compatible.
    """
    found: list[Incompatibility] = []
    _compare_rank(found, "reliability", offered.reliability, requested.reliability, _RELIABILITIES)
    _compare_rank(found, "durability", offered.durability, requested.durability, _DURABILITIES)
    _compare_period(found, "deadline_s", offered.deadline_s, requested.deadline_s)
    _compare_rank(found, "liveliness", offered.liveliness, requested.liveliness, _LIVELINESSES)
    _compare_period(found, "lease_s", offered.lease_s, requested.lease_s)
    return tuple(found)


def _compare_rank(
    found: list[Incompatibility],
    policy: str,
    offered: str,
    requested: str,
    weakest_first: tuple[str, ...],
) -> None:
    if weakest_first.index(offered) < weakest_first.index(requested):
        text = f"{policy} is offered as {offered} but requested as {requested}"
        found.append(Incompatibility(policy, offered, requested, text))


def _compare_period(found: list[Incompatibility], policy: str, offered: float | None, requested: float | None) -> None:
    # None is DDS's infinite duration: it meets no finite request, and requests nothing itself.
    if requested is not None and (offered is None or offered > requested):
        promise = "no limit" if offered is None else f"{offered:.15g}"
        text = f"{policy} is offered as {promise} but requested as at most {requested:.15g}"
        found.append(Incompatibility(policy, offered, requested, text))


def _one_of(field: str, value: object, allowed: tuple[_Choice, ...]) -> _Choice:
    if isinstance(value, str):
        for choice in allowed:
            if value == choice:
                return choice
    raise QoSError(field, value, ", ".join(repr(choice) for choice in allowed))


def _integer(field: str, value: object, low: int, high: int) -> int:
    # bool is an int to Python, but a yes or no is no count.
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise QoSError(field, value, f"a whole number from {low} to {high}")
    return value


def _duration(field: str, value: object) -> float | None:
    if value is None:
        return None
    # NaN is in no range. bool is an int to Python, but a yes or no is no duration.
    if isinstance(value, bool) or not isinstance(value, int | float) or not _MIN_DURATION_S <= value <= _MAX_DURATION_S:
        raise QoSError(field, value, "seconds from 1e-09 to 1e+09, or None for no limit")
    return float(value)


def _transport_name(field: str, value: object) -> str | None:
    if value is None or (isinstance(value, str) and is_transport_name(value)):
        return value
    raise QoSError(field, value, "the name of a transport, such as 'zmq', or None for any")


# Presets: the values of rmw/qos_profiles.h, rcl_action's default_qos.h and rcl's logging_rosout.h.

DEFAULT: Final = QoS()
"""ROS 2's default for topics: reliable, volatile, the last 10."""

SENSOR_DATA: Final = QoS(reliability="best_effort", depth=5)
"""Fresh readings matter more than complete ones."""

PARAMETERS: Final = QoS(depth=1000)
"""Requests to a node's parameters must not be lost in a burst."""

SERVICES_DEFAULT: Final = QoS(depth=10)
"""Reliable, and volatile so that a restarted server sees no outdated request."""

PARAMETER_EVENTS: Final = QoS(depth=1000)
"""Changes of parameters, announced to everybody."""

ACTION_STATUS_DEFAULT: Final = QoS(durability="transient_local", depth=1)
"""The status of an action: the newest one, also for late joiners."""

ROSOUT_DEFAULT: Final = QoS(durability="transient_local", depth=1000, lifespan_s=10.0)
"""Log messages: the last 10 seconds, also for late joiners."""

SYSTEM_DEFAULT: Final = QoS()
"""Leaves every choice to the middleware; Lunar chooses what `DEFAULT` says."""

# ROS 2's BEST_AVAILABLE is left out on purpose: it copies what the endpoints discovered so far
# happen to use, so the profile would depend on who started first.

PRESETS: Final[Mapping[str, QoS]] = {
    "default": DEFAULT,
    "sensor_data": SENSOR_DATA,
    "parameters": PARAMETERS,
    "services_default": SERVICES_DEFAULT,
    "parameter_events": PARAMETER_EVENTS,
    "action_status_default": ACTION_STATUS_DEFAULT,
    "rosout_default": ROSOUT_DEFAULT,
    "system_default": SYSTEM_DEFAULT,
}
"""The presets by name, for command lines."""
