"""The perf tools behind `lunar perf`."""
