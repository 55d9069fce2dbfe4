"""The ZeroMQ transport, `zmq`: streams between hosts over TCP, where multicast does not reach.

`Transport` is what the entry point finds; importing it does not import pyzmq. What decides is pure and tested without
sockets: `wire` (the records), `sending` and `receiving` (one stream's two ends), `publishing` and `subscribing` (one
process's two sides). `engine` moves their frames through the sockets.
"""

from lunar_zmq.transport import Transport

__all__ = ["Transport"]
