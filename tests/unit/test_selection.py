import itertools
from collections.abc import Callable

import pytest

from lunar.abc import Capabilities, Probe
from lunar.graph.descriptions import EndpointInfo
from lunar.qos import QoS
from lunar.selection import Candidate, Match, Selection, select

Make = Callable[..., EndpointInfo]

YES = Probe(ok=True)
NO = Probe(ok=False, reason="no memfd", remedy="use Linux 3.17")
SHM = Candidate("shm", Capabilities(reach="host", zero_copy=True, reliable=True), YES)
PIPE = Candidate("pipe", Capabilities(reach="host", reliable=True), YES)
DDS = Candidate("dds", Capabilities(reach="network", reliable=True), YES)
ZMQ = Candidate("zmq", Capabilities(reach="network", reliable=True), YES)
UDP = Candidate("udp", Capabilities(reach="network", multicast=True, largest_message_bytes=1400), YES)


@pytest.fixture
def local_match(make_endpoint: Make) -> Match:
    return Match(make_endpoint("publisher"), make_endpoint("subscription"))


@pytest.fixture
def remote_match(make_endpoint: Make) -> Match:
    return Match(make_endpoint("publisher"), make_endpoint("subscription"), same_host=False)


@pytest.fixture
def lossy_match(make_endpoint: Make) -> Match:
    return Match(make_endpoint("publisher"), make_endpoint("subscription", QoS(reliability="best_effort")))


def test_without_candidates_there_is_no_choice(local_match: Match) -> None:
    assert select(local_match, []) == Selection(None, {})


@pytest.mark.parametrize("candidates", list(itertools.permutations([SHM, PIPE, DDS])), ids=str)
def test_on_one_host_the_order_does_not_matter(local_match: Match, candidates: tuple[Candidate, ...]) -> None:
    selection = select(local_match, candidates)
    assert selection == Selection(
        "shm",
        {
            "shm": "chosen: carries messages without a copy, reach host",
            "pipe": "it copies messages, shm does not",
            "dds": "it copies messages, shm does not",
        },
    )
    assert list(selection.reasons) == [candidate.name for candidate in candidates]


def test_what_stays_on_the_host_is_better_than_what_need_not(local_match: Match) -> None:
    assert select(local_match, [DDS, PIPE]) == Selection(
        "pipe", {"dds": "pipe stays on this host", "pipe": "chosen: carries messages with a copy, reach host"}
    )


def test_the_order_breaks_a_tie(local_match: Match) -> None:
    assert select(local_match, [DDS, ZMQ]).choice == "dds"
    assert select(local_match, [ZMQ, DDS]) == Selection(
        "zmq", {"zmq": "chosen: carries messages with a copy, reach network", "dds": "zmq is as good and preferred"}
    )


def test_across_hosts_a_host_transport_is_out(remote_match: Match) -> None:
    assert select(remote_match, [SHM, DDS]) == Selection(
        "dds",
        {
            "shm": "the two ends are on different hosts and it reaches only its own",
            "dds": "chosen: carries messages with a copy, reach network",
        },
    )


def test_one_that_cannot_run_is_out_with_its_remedy(local_match: Match) -> None:
    candidate = Candidate("shm", SHM.capabilities, NO)
    assert select(local_match, [candidate]) == Selection(None, {"shm": "unavailable: no memfd; remedy: use Linux 3.17"})
    assert select(local_match, [candidate, DDS]).choice == "dds"


def test_a_reliable_request_needs_a_reliable_transport(local_match: Match, lossy_match: Match) -> None:
    refused = select(local_match, [UDP])
    assert refused.choice is None
    assert refused.reasons == {"udp": "the subscription requests reliable delivery, which it does not give"}
    assert select(lossy_match, [UDP]).choice == "udp"


@pytest.mark.parametrize(("message_bytes", "choice"), [(None, "udp"), (1, "udp"), (1400, "udp"), (1401, None)], ids=str)
def test_messages_must_fit(make_endpoint: Make, message_bytes: int | None, choice: str | None) -> None:
    subscription = make_endpoint("subscription", QoS(reliability="best_effort"))
    match = Match(make_endpoint("publisher"), subscription, message_bytes=message_bytes)
    selection = select(match, [UDP])
    assert selection.choice == choice
    if choice is None:
        assert selection.reasons == {"udp": "the messages have 1401 bytes and it carries at most 1400"}


@pytest.mark.parametrize(
    ("same_host", "reliability", "size", "probe"),
    list(itertools.product([True, False], ["reliable", "best_effort"], [None, 64, 10**6], [YES, NO])),
    ids=str,
)
def test_every_candidate_gets_a_reason_and_the_chosen_one_is_fit(
    make_endpoint: Make, same_host: bool, reliability: str, size: int | None, probe: Probe
) -> None:
    qos = QoS.from_dict({"reliability": reliability})
    match = Match(make_endpoint("publisher", qos), make_endpoint("subscription", qos), same_host, size)
    candidates = [Candidate(one.name, one.capabilities, probe) for one in (UDP, ZMQ, PIPE)]
    selection = select(match, candidates)
    assert all(selection.reasons[one.name] for one in candidates)
    chosen = [name for name, reason in selection.reasons.items() if reason.startswith("chosen")]
    assert chosen == ([] if selection.choice is None else [selection.choice])
    # ZeroMQ meets every requirement here, so that only a failing probe leaves no choice.
    assert (selection.choice is None) == (not probe.ok)
    if not same_host:
        assert selection.choice != "pipe"
