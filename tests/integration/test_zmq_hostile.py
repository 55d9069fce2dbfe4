"""Strangers at the socket: raw ones that send junk, and those without a key."""

import functools
import random
import socket
import struct
from pathlib import Path

import pytest
import zmq
from lunar_zmq import wire
from lunar_zmq.keys import make_keys

from tests.integration.zmq_ends import PUBLISHER, TALKER, Driver, Listener, pair, stream

pytestmark = pytest.mark.hostile


def junk(chance: random.Random) -> bytes:
    hello = wire.Hello(wire.VERSION, chance.randrange(4), chance.randbytes(16), 1).pack()
    opening = wire.Open(True, chance.random() < 0.5, 1, bytes.fromhex(PUBLISHER), 0, 0, 99, 99).pack()
    frame = bytearray(chance.choice([hello, hello + opening, opening, wire.READY, chance.randbytes(50), b""]))
    if frame and chance.random() < 0.5:
        frame[chance.randrange(len(frame))] = chance.randrange(256)
    return bytes(frame)


def test_junk_from_a_raw_socket_disturbs_nobody():
    chance = random.Random(7)
    with pair() as both, zmq.Context() as context:
        endpoint = both.endpoint
        for _ in range(20):
            with context.socket(zmq.DEALER) as stranger:
                stranger.setsockopt(zmq.LINGER, 100)
                stranger.connect(endpoint)
                for _ in range(20):
                    stranger.send_multipart([junk(chance) for _ in range(chance.choice([1, 1, 1, 2, 3]))])
                both.send_all(iter([b"honest"]))
                both.arrived(both.talker.sequence)
        both.driver.pass_time(0.1)
        assert both.talker.reasons == both.listener.faults == []


def test_bytes_that_are_not_even_zeromq_disturb_nobody():
    with pair() as both:
        endpoint = both.endpoint
        port = int(endpoint.rpartition(":")[2])
        for content in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" + bytes(8) + b"\x7f\x03" + bytes(60), bytes(1000)):
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(content)
                both.send_all(iter([b"honest"]))
                both.arrived(both.talker.sequence)
        assert both.talker.reasons == both.listener.faults == []


def test_a_publisher_that_sends_junk_is_faulty_and_left():
    with pair() as both, zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.RCVTIMEO, 100)
        port = router.bind_to_random_port("tcp://127.0.0.1")
        address = {"version": 1, "endpoints": [f"tcp://127.0.0.1:{port}"], "key": "", "epoch": f"{9:016x}"}
        listener = Listener()
        listener.end = both.listening.open_incoming(stream("d4" * 16, address), listener)
        driver = Driver(both.talking, both.listening)
        driver.until(lambda: router.poll(10))
        routing_id = router.recv_multipart()[0]
        welcome = struct.pack("<I", 1) + wire.Welcome(wire.VERSION, bytes.fromhex("d4" * 16), 9).pack()
        router.send_multipart([routing_id, welcome])
        driver.until(lambda: router.poll(10))
        router.send_multipart([routing_id, struct.pack("<I", 1) + b"\xee" * 40])
        both.driver.until(lambda: listener.faults)
        both.send_all(iter([b"honest"]))
        both.arrived(1)


def test_without_a_listed_key_a_stranger_learns_nothing(tmp_path: Path):
    own = tmp_path / "own"
    make_keys(own)
    with pair(settings={"keys": str(own)}) as both, zmq.Context() as context:
        endpoint = both.endpoint
        public, secret = zmq.curve_keypair()
        for with_curve in (True, False):
            with context.socket(zmq.DEALER) as stranger:
                stranger.setsockopt(zmq.LINGER, 0)
                if with_curve:
                    stranger.setsockopt(zmq.CURVE_SERVERKEY, str(both.talking.address["key"]).encode())
                    stranger.setsockopt(zmq.CURVE_PUBLICKEY, public)
                    stranger.setsockopt(zmq.CURVE_SECRETKEY, secret)
                refused = stranger.get_monitor_socket(
                    zmq.EVENT_HANDSHAKE_FAILED_AUTH
                    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
                    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
                    | zmq.EVENT_DISCONNECTED
                )
                stranger.connect(endpoint)
                stranger.send(b"")
                both.driver.until(functools.partial(refused.poll, 10))
                assert not stranger.poll(100)
                stranger.disable_monitor()
                refused.close(0)
        both.send_all(iter([b"honest"]))
        both.arrived(1)


def test_a_port_that_another_process_has_now_is_not_mistaken():
    with pair() as both:
        listener = Listener()
        stale = dict(both.talking.address) | {"epoch": f"{1:016x}"}
        listener.end = both.listening.open_incoming(stream(TALKER, stale), listener)
        both.driver.pass_time(0.3)
        assert not listener.running
        assert listener.faults == []
