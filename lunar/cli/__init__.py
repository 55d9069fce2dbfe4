"""The `lunar` command: what is on this host's bus, and is it well.

Nothing is imported here, so that a command pays only for the modules that it uses. `main` is the entry point,
`command` knows the commands, and the commands' modules (`topic`, `node`, `doctor`, `perf`) only declare arguments; what
a command does is in a module of its own that is imported when the command runs. What decides (graph views, payload
forms, rates, QoS choice) is pure; `output` is the only module that writes to the terminal.
"""
