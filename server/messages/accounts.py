"""Sentences about accounts in other systems and the tasks that bring them about."""

MESSAGES: dict[str, tuple[str, str]] = {}
