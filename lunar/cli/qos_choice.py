"""Which QoS the command line's own endpoints ask for. Pure.

An observer must see what is there and must not disturb it. So by default it requests exactly what every publisher on
the topic offers, no more, and never keep_all: a terminal that prints slowly may lose samples (and says so), but it
must not make a publisher wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lunar.errors import QoSError
from lunar.qos import PRESETS, QoS, incompatibilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lunar.cli.graph_view import TopicView

_ECHO_DEPTH = 100
_METER_POOL_BYTES = 64 * 2**20
_METER_DEPTHS = (16, 65_536)


def observing_qos(offers: Sequence[QoS], wishes: Mapping[str, object]) -> QoS:
    """Chooses the profile that receives from every publisher with as much guarantee as all of them offer.

    Args:
        offers: What the publishers on the topic offer; without any, the weakest request, which matches everybody.
        wishes: Fields of `QoS` that the user set, which override the choice.

    Raises:
        QoSError: A wish is not valid, or contradicts another.
    """
    reliable = bool(offers) and all(offer.reliability == "reliable" for offer in offers)
    lasting = bool(offers) and all(offer.durability == "transient_local" for offer in offers)
    depth = max((offer.depth for offer in offers if offer.history == "keep_last"), default=0)
    chosen = QoS(
        reliability="reliable" if reliable else "best_effort",
        durability="transient_local" if lasting else "volatile",
        depth=max(depth, _ECHO_DEPTH),
        resources="frugal",
    )
    return chosen.replace(**wishes)


def metering_qos(message_bytes: int, depth: int | None = None) -> QoS:
    """Chooses the profile that counts samples without ever holding up the publisher.

    Args:
        message_bytes: Size of a typical message: the deeper the queue, the later it overflows, but what waits in it
            keeps the publisher's memory in use.
        depth: The depth that the user wants instead.
    """
    if depth is None:
        least, most = _METER_DEPTHS
        depth = min(most, max(least, _METER_POOL_BYTES // max(1, message_bytes)))
    return QoS(reliability="best_effort", depth=depth, resources="frugal")


def publishing_qos(profile: str | None, wishes: Mapping[str, object]) -> QoS:
    """Chooses the profile of a publisher: a preset by name, or ROS 2's default, with the user's wishes.

    Args:
        profile: A name in `lunar.qos.PRESETS`, or None.
        wishes: Fields of `QoS` that the user set.

    Raises:
        QoSError: A wish is not valid, or contradicts another.
    """
    return (QoS() if profile is None else PRESETS[profile]).replace(**wishes)


def parse_qos(text: str) -> QoS:
    """Reads a profile from the command line: presets' names and fields, as `sensor_data,depth=3,transport=zmq`.

    Raises:
        QoSError: There is no such preset or field, or the profile is not valid.
    """
    base, fields = QoS(), {}
    for part in text.split(","):
        name, is_field, value = part.strip().partition("=")
        if is_field:
            fields[name.strip()] = _value(value.strip())
        elif name in PRESETS:
            base = PRESETS[name]
        else:
            raise QoSError("profile", name, f"{', '.join(PRESETS)}, or FIELD=VALUE")
    return base.replace(**fields)


def _value(text: str) -> str | float | None:
    if text.lower() == "none":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def starvation_warnings(topic: TopicView, requested: QoS) -> list[str]:
    """Explains which publishers on a topic will not be heard with this request, and why."""
    warnings = []
    for publisher in topic.publishers:
        problems = incompatibilities(publisher.qos, requested)
        if problems:
            reasons = "; ".join(problem.text for problem in problems)
            warnings.append(f"nothing will come from {publisher.node_name} (pid {publisher.pid}): {reasons}")
    return warnings
