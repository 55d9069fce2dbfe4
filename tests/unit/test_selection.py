import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar.abc import Capabilities
from lunar.graph.descriptions import EndpointInfo
from lunar.graph.transports import TransportInfo
from lunar.qos import QoS
from lunar.selection import Match, Selection, select

Make = Callable[..., EndpointInfo]

SHM = TransportInfo("shm", Capabilities(reach="host", zero_copy=True, reliable=True))
PIPE = TransportInfo("pipe", Capabilities(reach="host", reliable=True))
DDS = TransportInfo("dds", Capabilities(reach="network", reliable=True))
ZMQ = TransportInfo("zmq", Capabilities(reach="network", reliable=True, encrypted=True))
XDP = TransportInfo("xdp", Capabilities(reach="network", reliable=True, kernel_bypass=True))
RAW = TransportInfo("raw", Capabilities(reach="network", reliable=True, kernel_bypass=True))
UDP = TransportInfo("udp", Capabilities(reach="network", multicast=True, largest_message_bytes=1400))
ON_ONE_HOST = "the two ends are on one host, and it serves only those on different hosts"
ACROSS = "the two ends are on different hosts, and it reaches only its own"


@pytest.fixture
def local_match(make_endpoint: Make) -> Match:
    return Match(make_endpoint("publisher"), make_endpoint("subscription"))


@pytest.fixture
def across(make_endpoint: Make) -> Callable[..., Match]:
    """``across(offered, requested)``: a match between two hosts."""

    def make(offered: QoS | None = None, requested: QoS | None = None, message_bytes: int | None = None) -> Match:
        ends = make_endpoint("publisher", offered), make_endpoint("subscription", requested)
        return Match(*ends, same_host=False, message_bytes=message_bytes)

    return make


def both(match: Match, *infos: TransportInfo) -> Selection:
    return select(match, infos, infos)


def test_without_transports_there_is_no_choice(local_match: Match) -> None:
    nothing = select(local_match, [], [])
    assert nothing == Selection(None, {})
    assert str(nothing) == "there is none"


def test_on_one_host_the_transport_without_a_copy_wins(local_match: Match) -> None:
    assert both(local_match, PIPE, DDS, SHM) == Selection(
        "shm",
        {
            "dds": ON_ONE_HOST,
            "pipe": "it copies messages, shm does not",
            "shm": "chosen: carries messages without a copy, reach host",
        },
    )


@pytest.mark.parametrize("order", list(itertools.permutations([XDP, ZMQ, DDS, RAW])), ids=str)
def test_between_equals_a_table_decides_and_not_the_order(
    across: Callable[..., Match], order: tuple[TransportInfo, ...]
) -> None:
    fast = across(QoS(datapath="fast"))
    assert list(both(fast, *order).reasons) == ["xdp", "zmq", "dds", "raw"]
    assert [both(fast, *(each for each in order if each not in out)).choice for out in ([], [XDP], [XDP, RAW])] == [
        "xdp",
        "raw",
        "zmq",
    ]


@pytest.mark.parametrize("order", list(itertools.permutations([XDP, ZMQ, DDS])), ids=str)
def test_past_the_kernel_goes_only_who_asks_for_it(
    across: Callable[..., Match], order: tuple[TransportInfo, ...]
) -> None:
    unasked = both(across(), *order)
    assert unasked.choice == "zmq"
    assert "neither end asks for the fast datapath" in unasked.reasons["xdp"]
    assert both(across(None, QoS(datapath="fast")), *order).choice == "xdp"
    assert both(across(QoS(transport="xdp")), *order).choice == "xdp"
    assert both(across(QoS(datapath="fast"), QoS(datapath="standard")), *order).choice == "zmq"


def test_the_reasons_between_equals(across: Callable[..., Match]) -> None:
    assert both(across(), SHM, DDS, ZMQ).reasons == {
        "zmq": "chosen: carries messages with a copy, reach network, encrypted",
        "dds": "zmq is as good and preferred",
        "shm": ACROSS,
    }


def test_who_has_set_up_encryption_and_does_not_get_it_is_told(across: Callable[..., Match]) -> None:
    no_key = TransportInfo("zmq", None, "there is no key")
    plain = TransportInfo("zmq", Capabilities(reach="network", reliable=True))
    why = "zmq would be: the subscription's process cannot use it: there is no key"
    chosen = select(across(), [ZMQ, DDS], [no_key, DDS])
    assert (chosen.choice, chosen.not_encrypted) == ("dds", why)
    assert chosen.reasons["dds"].endswith(f"not encrypted although {why}")
    assert select(across(), [no_key, DDS], [ZMQ, DDS]).not_encrypted.startswith("zmq would be: the publisher's")
    # Nobody has set it up, somebody has turned it off, it is there, something else was asked for, nothing serves:
    for publisher_has, subscription_has, qos in (
        ([no_key, DDS], [no_key, DDS], QoS()),
        ([plain, DDS], [no_key, DDS], QoS()),
        ([ZMQ, DDS], [ZMQ, DDS], QoS()),
        ([ZMQ, DDS], [no_key, DDS], QoS(transport="dds")),
        ([ZMQ], [no_key], QoS()),
    ):
        assert select(across(qos, qos), publisher_has, subscription_has).not_encrypted == ""


def test_who_moves_to_plain_text_is_told(across: Callable[..., Match]) -> None:
    cut = {"zmq": "no connection"}
    moved = select(across(), [ZMQ, DDS], [ZMQ, DDS], unreachable=cut)
    assert (moved.choice, moved.not_encrypted) == ("dds", "zmq would be: unreachable: no connection")
    assert moved.reasons["dds"].endswith("not encrypted although zmq would be: unreachable: no connection")
    assert select(across(), [ZMQ], [ZMQ], unreachable=cut).not_encrypted == ""
    assert select(across(), [ZMQ, DDS], [ZMQ, DDS], unreachable={"dds": "lost"}).not_encrypted == ""


def test_what_one_end_lacks_is_out(across: Callable[..., Match]) -> None:
    broken = TransportInfo("zmq", ZMQ.capabilities, "pyzmq is too old; remedy: update it")
    unknown = TransportInfo("dds", None, "lunar_dds:Transport is broken: ImportError: x")
    assert select(across(), [SHM, ZMQ, DDS], [SHM, broken, unknown]).reasons == {
        "zmq": "the subscription's process cannot use it: pyzmq is too old; remedy: update it",
        "dds": "the subscription's process cannot use it: lunar_dds:Transport is broken: ImportError: x",
        "shm": ACROSS,
    }
    assert select(across(), [SHM, DDS], [ZMQ, DDS]) == Selection(
        "dds",
        {
            "zmq": "the publisher's process does not have it",
            "dds": "chosen: carries messages with a copy, reach network, not encrypted although "
            "zmq would be: the publisher's process does not have it",
            "shm": ACROSS,
        },
        "zmq would be: the publisher's process does not have it",
    )
    assert select(across(), [SHM], [SHM, DDS], [ZMQ]).reasons == {
        "zmq": "the publisher's process does not have it (it stays on its host); "
        "the subscription's process does not have it",
        "dds": "the publisher's process does not have it (it stays on its host)",
        "shm": ACROSS,
    }
    assert select(across(), [SHM], [SHM], [ZMQ]).reasons["zmq"] == (
        "each end's process does not have it (it stays on its host)"
    )


def test_a_transport_does_what_it_does_at_both_ends(across: Callable[..., Match]) -> None:
    older = TransportInfo("zmq", Capabilities(reach="network", largest_message_bytes=10))
    for ends in ([older], [ZMQ]), ([ZMQ], [older]):
        assert select(across(), *ends).reasons == {
            "zmq": "the subscription requests reliable delivery, which it does not give"
        }
        careless = QoS(reliability="best_effort")
        assert select(across(careless, careless, 11), *ends).reasons == {
            "zmq": "the messages have 11 bytes and it carries at most 10"
        }


# ---- what the profiles say ------------------------------------------------------------------------------------------


def test_a_reliable_request_needs_a_reliable_transport(across: Callable[..., Match]) -> None:
    refused = both(across(), UDP)
    assert refused == Selection(None, {"udp": "the subscription requests reliable delivery, which it does not give"})
    assert both(across(None, QoS(reliability="best_effort")), UDP).choice == "udp"


@pytest.mark.parametrize(("message_bytes", "choice"), [(None, "udp"), (1, "udp"), (1400, "udp"), (1401, None)], ids=str)
def test_messages_must_fit(across: Callable[..., Match], message_bytes: int | None, choice: str | None) -> None:
    selection = both(across(None, QoS(reliability="best_effort"), message_bytes), UDP)
    assert selection.choice == choice
    if choice is None:
        assert selection.reasons == {"udp": "the messages have 1401 bytes and it carries at most 1400"}


@pytest.mark.parametrize(
    ("offered", "requested", "who"),
    [
        ("zmq", None, "the publisher asks for zmq"),
        (None, "zmq", "the subscription asks for zmq"),
        ("zmq", "zmq", "both ends ask for zmq"),
    ],
)
def test_one_that_is_named_is_the_only_one(
    across: Callable[..., Match], offered: str | None, requested: str | None, who: str
) -> None:
    match = across(QoS(transport=offered), QoS(transport=requested))
    assert both(match, XDP, ZMQ).reasons == {
        "xdp": who,
        "zmq": "chosen: carries messages with a copy, reach network, encrypted",
    }
    assert both(match, DDS) == Selection(None, {"zmq": "each end's process does not have it", "dds": who})


def test_ends_that_name_different_ones_have_none(across: Callable[..., Match], make_endpoint: Make) -> None:
    offered, requested = QoS(transport="zmq"), QoS(transport="dds")
    local = Match(make_endpoint("publisher", offered), make_endpoint("subscription", requested))
    for match in (across(offered, requested), local):
        selection = both(match, SHM, ZMQ, DDS)
        assert selection.choice is None
        assert str(selection) == "zmq, dds, shm: the publisher asks for zmq and the subscription for dds"


def test_a_named_one_does_not_reach_further_than_it_does(across: Callable[..., Match], make_endpoint: Make) -> None:
    assert both(across(QoS(transport="shm")), SHM, ZMQ).reasons == {"zmq": "the publisher asks for shm", "shm": ACROSS}
    local = Match(make_endpoint("publisher", QoS(transport="zmq")), make_endpoint("subscription"))
    assert both(local, SHM, ZMQ) == Selection(None, {"zmq": ON_ONE_HOST, "shm": "the publisher asks for zmq"})


def test_the_fast_datapath_is_preferred(across: Callable[..., Match]) -> None:
    match = across(QoS(datapath="fast"))
    assert both(match, ZMQ, RAW).reasons == {
        "zmq": "the publisher wants the fast datapath, and raw is one",
        "raw": "chosen: carries messages with a copy, reach network, past the kernel's network stack",
    }
    assert both(across(), ZMQ, RAW).choice == "zmq"
    assert both(match, ZMQ) == Selection(
        "zmq",
        {
            "zmq": "chosen: carries messages with a copy, reach network, encrypted; "
            "the publisher wants the fast datapath, but none that fits is one"
        },
    )


@pytest.mark.parametrize("datapath", ["auto", "fast", "standard"])
def test_within_a_host_the_datapath_has_no_effect(make_endpoint: Make, datapath: str) -> None:
    qos = QoS().replace(datapath=datapath)
    match = Match(make_endpoint("publisher", qos), make_endpoint("subscription", qos))
    assert both(match, SHM, XDP).reasons["shm"] == "chosen: carries messages without a copy, reach host"


@pytest.mark.parametrize("other", ["auto", "fast"])
def test_the_standard_datapath_excludes_whatever_the_other_end_prefers(
    across: Callable[..., Match], other: str
) -> None:
    match = across(QoS(datapath="standard"), QoS().replace(datapath=other))
    selection = both(match, XDP, DDS)
    assert selection.choice == "dds"
    assert selection.reasons["xdp"] == (
        "the publisher wants the standard datapath, and it goes past the kernel's network stack"
    )


# ---- for any announcements ------------------------------------------------------------------------------------------

names = st.sampled_from(["xdp", "zmq", "dds", "shm", "abc", "raw"])
capabilities = st.builds(
    Capabilities,
    reach=st.sampled_from(["host", "network"]),
    zero_copy=st.booleans(),
    reliable=st.booleans(),
    largest_message_bytes=st.none() | st.integers(0, 2000),
    encrypted=st.booleans(),
    kernel_bypass=st.booleans(),
)
infos = st.builds(TransportInfo, names, capabilities, st.sampled_from(["", "", "no cable"])) | st.builds(
    TransportInfo, names, st.none(), st.just("broken")
)
announced = st.lists(infos, max_size=6, unique_by=lambda info: info.name)
profiles = st.builds(
    QoS,
    reliability=st.sampled_from(["reliable", "best_effort"]),
    datapath=st.sampled_from(["auto", "fast", "standard"]),
    transport=st.none() | st.none() | names,
)


@settings(deadline=None)
@given(st.data(), announced, announced, announced, profiles, profiles, st.booleans(), st.none() | st.integers(0, 3000))
def test_any_announcements_give_the_same_choice_at_both_ends_and_a_reason_for_each(
    make_endpoint: Make,
    data: st.DataObject,
    sends: list[TransportInfo],
    receives: list[TransportInfo],
    others: list[TransportInfo],
    offered: QoS,
    requested: QoS,
    same_host: bool,
    message_bytes: int | None,
) -> None:
    ends = make_endpoint("publisher", offered), make_endpoint("subscription", requested)
    match = Match(*ends, same_host, message_bytes)
    selection = select(match, sends, receives, others)
    # The other end knows the same in another order, and may know of other transports.
    shuffled = data.draw(st.permutations(sends)), data.draw(st.permutations(receives))
    assert select(match, *shuffled).choice == selection.choice
    assert select(match, *shuffled, others) == selection

    told = {info.name for info in (*sends, *receives, *others)}
    assert set(selection.reasons) == told | {qos.transport for qos in (offered, requested) if qos.transport}
    assert all(selection.reasons.values())
    chosen = [name for name, reason in selection.reasons.items() if reason.startswith("chosen: ")]
    assert chosen == ([] if selection.choice is None else [selection.choice])

    if selection.choice is not None:
        at_both = [{info.name: info for info in own}[selection.choice] for own in (sends, receives)]
        for info in at_both:
            assert not info.missing
            assert info.capabilities is not None
            assert info.capabilities.reach == ("host" if same_host else "network")
            assert info.capabilities.reliable or requested.reliability == "best_effort"
            assert not info.capabilities.kernel_bypass or "standard" not in (offered.datapath, requested.datapath)
        assert {offered.transport, requested.transport} <= {None, selection.choice}


@settings(deadline=None)
@given(announced, announced, profiles, profiles, st.booleans())
def test_it_does_not_matter_which_end_has_what(
    make_endpoint: Make,
    one: list[TransportInfo],
    two: list[TransportInfo],
    offered: QoS,
    requested: QoS,
    same_host: bool,
) -> None:
    match = Match(make_endpoint("publisher", offered), make_endpoint("subscription", requested), same_host)
    assert select(match, one, two).choice == select(match, two, one).choice


def test_what_does_not_reach_the_other_end_is_not_chosen(across: Callable[..., Match]) -> None:
    cut = {"zmq": "the connection was lost"}
    assert select(across(), [DDS, ZMQ], [ZMQ, DDS], unreachable=cut) == Selection(
        "dds",
        {
            "zmq": "unreachable: the connection was lost",
            "dds": "chosen: carries messages with a copy, reach network, not encrypted although "
            "zmq would be: unreachable: the connection was lost",
        },
        "zmq would be: unreachable: the connection was lost",
    )


def test_where_nothing_else_serves_it_is_chosen_all_the_same(across: Callable[..., Match]) -> None:
    cut = {"zmq": "the connection was lost", "raw": "not there at all"}
    only = across(QoS(transport="zmq"))
    for match, infos in ((across(), [ZMQ]), (only, [ZMQ, DDS])):
        chosen = select(match, infos, infos, unreachable=cut)
        assert chosen.choice == "zmq"
        assert chosen.reasons["zmq"].endswith("encrypted; unreachable at present: the connection was lost")
    all_cut = select(across(), [ZMQ, DDS], [ZMQ, DDS], unreachable={"zmq": "a", "dds": "b"})
    assert (all_cut.choice, all_cut.reasons["dds"]) == ("zmq", "unreachable: b")
