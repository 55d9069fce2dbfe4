"""One module a library: each implements `lunar_perf.peer.Peer` in the idiom that is fastest for that library."""
