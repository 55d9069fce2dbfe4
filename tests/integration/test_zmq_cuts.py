"""The connection is cut: nothing reliable is lost or comes twice, and what else is lost is counted."""

import random

import pytest
from lunar_zmq import receiving

from tests.integration.zmq_ends import LISTENER, TALKER, pair
from tests.integration.zmq_proxy import Proxy


@pytest.mark.parametrize("reliable", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_cut_again_and_again_in_the_middle(reliable: bool, seed: int):
    chance = random.Random(seed)
    with Proxy() as proxy, pair(reliable, via=proxy.endpoint) as both:
        sent: list[bytes] = []
        while proxy.cuts < 5 or len(sent) < 2000:
            if len(sent) % 400 == 0:
                proxy.cut_after(chance.randrange(1, 200_000))
            payload = chance.randbytes(chance.choice([0, 8, 64, 3000, 70_000]))
            both.send_all(iter([payload]))
            sent.append(payload)
        proxy.cut_after(1 << 60)
        both.driver.until(lambda: len(both.listener.numbers) + both.listener.lost_count == len(sent))
        numbers = both.listener.numbers
        assert numbers == sorted(set(numbers))
        assert both.listener.payloads == [sent[number - 1] for number in numbers]
        if reliable:
            assert both.listener.lost_count == 0
            both.driver.until(lambda: both.talker.end.unacknowledged == 0)
        assert both.talker.reasons == both.listener.reasons == []


def test_cut_in_the_middle_of_a_large_one():
    with Proxy() as proxy, pair(via=proxy.endpoint) as both:
        payload = random.Random(1).randbytes(16 << 20)
        proxy.cut_after(5 << 20)
        both.send_all(iter([payload]))
        both.arrived(1)
        assert proxy.cuts == 1
        assert both.listener.payloads == [payload]
        assert both.talker.reasons == both.listener.reasons == []


def test_a_cable_that_is_out_is_noticed_and_nothing_reliable_is_lost():
    with Proxy() as proxy, pair(via=proxy.endpoint) as both:
        both.send_all(iter([b"before"]))
        both.arrived(1)
        proxy.be_silent(True)
        both.send_all(iter([b"on its way"] * 10))
        both.driver.until(lambda: not both.talker.up and not both.listener.running, timeout_s=6)
        assert both.talker.reasons == both.listener.reasons == ["the connection was lost"]
        assert not both.talker.send(b"nobody there")
        proxy.be_silent(False)
        proxy.cut()
        both.driver.until(lambda: both.talker.up and both.listener.running)
        both.send_all(iter([b"after"]))
        both.arrived(12)
        assert both.listener.numbers == list(range(1, 13))


def test_where_nobody_listens_any_more_no_connection_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(receiving, "GRACE_S", 3600.0)
    with Proxy() as proxy, pair(via=proxy.endpoint) as both:
        both.send_all(iter([b"before"]))
        both.arrived(1)
        assert (both.listening.cut_off_s(TALKER), both.talking.cut_off_s(LISTENER)) == (0.0, 0.0)
        proxy.leave()
        both.driver.until(lambda: both.listener.reasons)
        assert both.listener.reasons == ["the connection was lost"]
        assert 0 < both.listening.cut_off_s(TALKER) < 15
        both.driver.until(lambda: both.talker.reasons)
        assert both.talking.cut_off_s(LISTENER) > 0
        both.listening.forget(TALKER)
        both.talking.forget(LISTENER)
        assert (both.listening.cut_off_s(TALKER), both.talking.cut_off_s(LISTENER)) == (0.0, 0.0)
