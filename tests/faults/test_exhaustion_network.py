"""No more descriptors for taking part in a network: the right error, nothing left open, and later it works."""

from pathlib import Path

import pytest

from tests.faults.conftest import Start

pytestmark = pytest.mark.faults

OPEN = """
    import faulthandler
    import lunar_dds, lunar_zmq
    from lunar import abc

    faulthandler.enable()

    def site(settings):
        return abc.Site("0a" * 16, 77, ("127.0.0.1",), ("lo",), settings)

    def held():
        return sorted(os.listdir("/proc/self/fd"))

    def open_one():
        ({opened}).close()

    open_one()  # what a library opens once, it keeps
    before = held()
    outcomes = []
    for spare in range(70):
        leave_descriptors(spare)
        outcome = attempt(open_one)
        lift_limit()
        outcomes.append([outcome, held() == before])
    say(outcomes)
    say(attempt(open_one))
"""


@pytest.mark.parametrize(
    "opened",
    [
        "lunar_zmq.Transport().open(site({'curve': False}))",
        "lunar_dds.Transport().open(site({}))",
        "lunar_dds.Bulletin(site({}))",
        "lunar.Node('limited', range='network')",
    ],
    ids=["zmq", "dds", "discovery", "node"],
)
def test_it_opens_or_says_what_is_exhausted(start: Start, opened: str, tmp_path: Path) -> None:
    settings = tmp_path / "lunar.toml"
    settings.write_text('domain = 77\ninterfaces = ["lo"]\n[transport.zmq]\ncurve = false\n')
    program = start(OPEN.format(opened=opened), LUNAR_CONFIG=str(settings), LUNAR_DOMAIN="")
    outcomes = program.hear()
    print(outcomes)
    assert isinstance(outcomes, list)
    assert {outcome.partition(":")[0] for outcome, _ in outcomes} == {"ResourceExhausted", "None"}
    assert outcomes[-1][0] == "None"
    assert all(clean for _, clean in outcomes)
    assert program.hear() == "None"
    assert program.end() == (0, "")


CONNECT = """
    import faulthandler, time
    from lunar import abc, QoS
    from lunar_zmq import Transport

    faulthandler.enable()

    class Handler(abc.IncomingHandler):
        def started(self, last_sequence, newest_sequence): pass
        def deliver(self, parcel): return True
        def stopped(self, reason): pass
        def lost(self, count): pass
        def faulty(self, reason): pass

    def engine(identity):
        return Transport().open(abc.Site(identity, 77, ("127.0.0.1",), ("lo",), {"curve": False}))

    here, there = "0a" * 16, "0b" * 16
    ours, theirs = engine(here), engine(there)
    outcomes = []
    for spare in range(30):
        stream = abc.Stream("0c" * 16, "/topic", QoS(), True, there, theirs.address)
        leave_descriptors(spare)
        outcomes.append(attempt(lambda: ours.open_incoming(stream, Handler()).close()))
        for _ in range(10):
            ours.work()
            theirs.work()
            time.sleep(0.005)
        ours.forget(there)
        lift_limit()
    say(outcomes)
    ours.close()
    theirs.close()
"""


def test_zmq_connects_or_says_what_is_exhausted(start: Start) -> None:
    program = start(CONNECT)
    outcomes = program.hear()
    assert isinstance(outcomes, list)
    assert {outcome.partition(":")[0] for outcome in outcomes} == {"ResourceExhausted", "None"}
    assert program.end() == (0, "")
