"""Sentences about schedules as rows and queues."""

MESSAGES: dict[str, tuple[str, str]] = {}
