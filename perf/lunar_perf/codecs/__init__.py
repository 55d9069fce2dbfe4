"""One module a library: each has `open_codec()`, which gives a `lunar_perf.codec_peer.Codec`."""
