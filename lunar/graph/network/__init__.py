"""Between hosts: who is there, and streams that carry samples for matches.

A process tells what it has on a board that all see (`lunar.abc.Discovery`); so each knows all endpoints, and both ends
of a pair judge it by themselves, as on one host. What a publisher sends to another process is one stream, whichever of
its subscriptions there take it.

On the publisher's side the stream takes from a queue of its own, as a subscription of this host would: so history,
depth and waiting are the queue's. On the other side a writer of its own lays what comes into the queues of that
process's subscriptions.
"""
