"""Sentences about HR sources, snapshots and plans."""

MESSAGES: dict[str, tuple[str, str]] = {}
