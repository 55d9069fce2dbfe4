"""The C core's Python face. Private: nothing outside Lunar imports it.

``_control`` (cffi, API mode) is for what is not done once per message; ``_bus`` (CPython types) is for what is.
"""
