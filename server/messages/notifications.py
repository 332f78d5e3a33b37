"""Sentences about notifications, and who is told of what."""

MESSAGES: dict[str, tuple[str, str]] = {}
