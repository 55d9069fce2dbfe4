"""`lunar topic list`, `topic info`, `node list` and `node info`: what the graph looks like now."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from lunar.cli import exit_codes
from lunar.cli.graph_view import (
    absolute_name,
    absolute_node_name,
    host_name,
    mismatches,
    open_questions,
    summarize_qos,
    view_nodes,
    view_topics,
)
from lunar.cli.output import Table, write_error, write_json, write_line, write_note, write_table, write_warning
from lunar.cli.pairs import transports_in_use
from lunar.cli.quantities import plural
from lunar.cli.snapshots import look_at_graph
from lunar.cli.topic_interfaces import describe_interfaces, interface_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lunar.cli.graph_view import TopicView
    from lunar.graph.descriptions import EndpointInfo, NodeInfo


def list_topics(*, verbose: bool, hidden: bool, as_json: bool) -> int:
    """Prints the topics of the graph; with `verbose` every endpoint of them.

    Returns:
        The exit code: ok, also if there is none.
    """
    topics = view_topics(look_at_graph(), hidden=hidden)
    if as_json:
        write_json([topic.to_dict() for topic in topics])
    elif not topics:
        write_note("no topics")
    elif verbose:
        write_table(_endpoint_table([end for topic in topics for end in (*topic.publishers, *topic.subscriptions)]))
    else:
        rows = [
            (topic.name, ", ".join(topic.type_names), str(len(topic.publishers)), str(len(topic.subscriptions)))
            for topic in topics
        ]
        write_table(Table(("TOPIC", "TYPE", "PUBLISHERS", "SUBSCRIPTIONS"), rows))
    for topic in topics:
        _warn_of_mismatches(topic)
    return exit_codes.OK


def show_topic(name: str, *, verbose: bool, as_json: bool) -> int:
    """Prints the types and endpoints of one topic, and which pairs of them do not match.

    Returns:
        The exit code: not found if nobody publishes or subscribes the topic.
    """
    full_name = absolute_name(name)
    snapshot = look_at_graph((full_name,) if verbose or as_json else ())
    topics = {topic.name: topic for topic in view_topics(snapshot, hidden=True)}
    topic = topics.get(full_name)
    if topic is None:
        write_error(f"nobody publishes or subscribes {full_name}{_similar(full_name, topics)}")
        return exit_codes.NOT_FOUND
    if as_json:
        write_json(
            {
                **topic.to_dict(),
                "mismatches": mismatches(topic),
                "pending": open_questions(topic),
                "transports": transports_in_use(topic),
                "interfaces": describe_interfaces(topic),
            }
        )
    else:
        write_line(f"{topic.name} ({', '.join(topic.type_names)})")
        for line in interface_lines(topic, with_fields=verbose):
            write_line(line)
        for noun, ends in (("publisher", topic.publishers), ("subscription", topic.subscriptions)):
            write_line(plural(len(ends), noun))
            if ends:
                write_table(_end_table(ends, transports_in_use(topic) if verbose else None))
        _warn_of_mismatches(topic)
    return exit_codes.OK


def list_nodes(*, verbose: bool, hidden: bool, as_json: bool) -> int:
    """Prints the nodes of the graph; with `verbose` their endpoints too.

    Returns:
        The exit code: ok, also if there is none.
    """
    nodes = view_nodes(look_at_graph(), hidden=hidden)
    if as_json:
        write_json([node.to_dict() for node in nodes])
    elif not nodes:
        write_note("no nodes")
    elif verbose:
        for node in nodes:
            _print_node(node, verbose=False)
    else:
        rows = [
            (
                node.full_name,
                str(node.pid),
                str(node.uid),
                host_name(node.host),
                *(str(len(ends)) for ends in _ends_of(node)),
            )
            for node in nodes
        ]
        write_table(Table(("NODE", "PID", "UID", "HOST", "PUBLISHERS", "SUBSCRIPTIONS"), rows))
    return exit_codes.OK


def show_node(name: str, *, verbose: bool, as_json: bool) -> int:
    """Prints what the nodes of one name publish and subscribe; several processes may use one name.

    Returns:
        The exit code: not found if there is no such node.
    """
    full_name = absolute_node_name(name)
    everybody = view_nodes(look_at_graph(), hidden=True)
    nodes = [node for node in everybody if node.full_name == full_name]
    if not nodes:
        write_error(f"no node {full_name}{_similar(full_name, (node.full_name for node in everybody))}")
        return exit_codes.NOT_FOUND
    if as_json:
        write_json([node.to_dict() for node in nodes])
    else:
        for node in nodes:
            _print_node(node, verbose)
    return exit_codes.OK


def _print_node(node: NodeInfo, verbose: bool) -> None:
    where = f", on {node.host}" if node.host else ""
    write_line(f"{node.full_name} (pid {node.pid}, uid {node.uid}{where})")
    if verbose:
        for transport in node.transports:
            write_line(f"transport {transport.name}: {transport.missing or 'usable'}")
    for noun, ends in zip(("publisher", "subscription"), _ends_of(node), strict=True):
        write_line(plural(len(ends), noun))
        if ends:
            rows = [(end.topic, end.type_name, summarize_qos(end.qos), *([end.id] if verbose else [])) for end in ends]
            write_table(Table(("TOPIC", "TYPE", "QOS", *(["ID"] if verbose else [])), rows))


def _ends_of(node: NodeInfo) -> tuple[list[EndpointInfo], list[EndpointInfo]]:
    publishers = [end for end in node.endpoints if end.kind == "publisher"]
    subscriptions = [end for end in node.endpoints if end.kind == "subscription"]
    return publishers, subscriptions


def _end_table(ends: Sequence[EndpointInfo], transports: Mapping[str, Sequence[str]] | None) -> Table:
    """The ends of a topic; with `transports`, those that each is matched over by id, all details too."""
    if transports is None:
        brief = [(end.node_name, str(end.pid), host_name(end.host), summarize_qos(end.qos)) for end in ends]
        return Table(("NODE", "PID", "HOST", "QOS"), brief)
    rows = [
        (
            end.node_name,
            str(end.pid),
            host_name(end.host),
            ", ".join(transports[end.id]) or "-",
            summarize_qos(end.qos),
            end.type_hash,
            end.id,
        )
        for end in ends
    ]
    return Table(("NODE", "PID", "HOST", "TRANSPORT", "QOS", "TYPE HASH", "ID"), rows)


def _endpoint_table(ends: Sequence[EndpointInfo]) -> Table:
    rows = [(end.topic, end.kind, end.node_name, str(end.pid), end.type_name, summarize_qos(end.qos)) for end in ends]
    return Table(("TOPIC", "KIND", "NODE", "PID", "TYPE", "QOS"), rows)


def _warn_of_mismatches(topic: TopicView) -> None:
    for explanation in (*mismatches(topic), *open_questions(topic)):
        write_warning(explanation)


def _similar(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(dict.fromkeys(names)), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""
