"""`lunar explain`: which transport serves whom, and why not another."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import TYPE_CHECKING

from lunar.cli import exit_codes
from lunar.cli.graph_view import absolute_name, host_name, summarize_qos, view_topics
from lunar.cli.installed import installed_transports
from lunar.cli.output import write_error, write_json, write_line, write_note, write_warning
from lunar.cli.pairs import imagine, pairs_of
from lunar.cli.places import PLACES, find_place, like_here, what_is_here
from lunar.cli.qos_choice import parse_qos
from lunar.cli.snapshots import look_at_graph
from lunar.config import Config
from lunar.qos import QoS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lunar.cli.pairs import Pair
    from lunar.cli.places import Place
    from lunar.graph.descriptions import EndpointInfo
    from lunar.graph.routes import Route
    from lunar.graph.transports import TransportInfo


def explain_topic(name: str, *, message_bytes: int | None, as_json: bool) -> int:
    """Explains each pair of ends that a topic has.

    Returns:
        The exit code: not found if nobody publishes or subscribes the topic.
    """
    full_name = absolute_name(name)
    topics = {topic.name: topic for topic in view_topics(look_at_graph(), hidden=True)}
    topic = topics.get(full_name)
    if topic is None:
        near = difflib.get_close_matches(full_name, topics, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; imagine its ends with --qos and --between"
        write_error(f"nobody publishes or subscribes {full_name}{hint}")
        return exit_codes.NOT_FOUND
    installed = installed_transports(Config.from_environment().transport_settings)
    pairs = pairs_of(topic, installed, message_bytes)
    if not pairs:
        write_note(f"nobody {'subscribes' if topic.publishers else 'publishes'} {full_name}: there is nothing to match")
    _report(full_name, pairs, installed, imagined=False, as_json=as_json)
    return exit_codes.OK


def explain_imagined(
    name: str, profiles: Sequence[str], between: Sequence[str], *, message_bytes: int | None, as_json: bool
) -> int:
    """Explains what would be between ends that do not exist.

    Args:
        name: The topic; it need not exist.
        profiles: Up to two: the offer, and the request if it is another one. Without any those of the topic's first
            ends, if it has some.
        between: Two hosts, or "host", or "network"; without any both of these.
        message_bytes: Size of the messages, if it is known.
        as_json: Print JSON.

    Returns:
        The exit code: ok, whatever the outcome.

    Raises:
        QoSError: A profile is not valid.
        LunarError: There is no such host.
    """
    full_name = absolute_name(name)
    read = [parse_qos(text) for text in profiles]
    installed = installed_transports(Config.from_environment().transport_settings)
    snapshot = look_at_graph()
    here = what_is_here(snapshot.transports, installed)
    if read:
        offered, requested = read[0], read[-1]
    else:
        ends = [end for end in snapshot.endpoints if end.topic == full_name]
        offered, requested = (_first_profile(ends, kind) for kind in ("publisher", "subscription"))
    places: list[tuple[Place, Place]]
    if len(between) == 2:
        sends, receives = (find_place(host, snapshot.nodes, here) for host in between)
        places = [(sends, receives)]
    else:
        places = [like_here(place, here) for place in between or PLACES]
    pairs = [imagine(full_name, offered, requested, each, message_bytes) for each in places]
    _report(full_name, pairs, installed, imagined=True, as_json=as_json)
    return exit_codes.OK


def _first_profile(ends: Sequence[EndpointInfo], kind: str) -> QoS:
    return next((end.qos for end in ends if end.kind == kind), QoS())


def _report(
    name: str, pairs: Sequence[Pair], installed: Sequence[TransportInfo], *, imagined: bool, as_json: bool
) -> None:
    for info in installed:
        if info.capabilities is None:
            write_warning(f"the transport {info.name} is installed, but {info.missing}")
    if as_json:
        write_json(
            {
                "topic": name,
                "imagined": imagined,
                "pairs": [pair.to_dict() for pair in pairs],
                "installed": [info.to_dict() for info in installed],
            }
        )
        return
    for number, pair in enumerate(pairs):
        if number:
            write_line()
        _print(pair, imagined=imagined)


def _print(pair: Pair, *, imagined: bool) -> None:
    write_line(f"{_describe(pair.publisher, imagined)} -> {_describe(pair.subscription, imagined)}")
    write_line(f"  offered    {summarize_qos(pair.publisher.qos)}")
    write_line(f"  requested  {summarize_qos(pair.subscription.qos)}")
    if pair.disagreement:
        write_line(f"  no match: {pair.disagreement}")
    elif pair.pending:
        write_line(f"  pending: {pair.pending}")
    elif pair.transport is None:
        write_line("  no match: no transport can serve them")
    else:
        write_line(f"  match over {pair.transport}")
    for end, remark in zip((pair.publisher, pair.subscription), pair.remarks, strict=True):
        if remark:
            write_line(f"  on {host_name(end.host)}: {remark}")
    if pair.route is not None and pair.route.before:
        write_line(f"  {_describe_change(pair.route)}")
    reasons = sorted(pair.selection.reasons.items(), key=lambda each: each[0] != pair.selection.choice)
    width = max((len(transport) for transport, _ in reasons), default=0)
    for transport, reason in reasons:
        write_line(f"    {transport.ljust(width)}  {reason}")


def _describe_change(route: Route) -> str:
    at = datetime.fromtimestamp(route.changed_at_ns / 1e9).astimezone()
    change = f"changed from {route.before} at {at:%H:%M:%S}, {route.gap_s:.3f} s without service"
    return f"{change}: {route.before}: {route.reason}"


def _describe(end: EndpointInfo, imagined: bool) -> str:
    if imagined:
        return f"a {end.kind} on {host_name(end.host)}"
    return f"{end.node_name} (pid {end.pid}, {host_name(end.host)})"
