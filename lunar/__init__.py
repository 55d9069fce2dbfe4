"""Lunar: publish/subscribe for Python."""
