"""Sentences about the evaluation of search."""

MESSAGES: dict[str, tuple[str, str]] = {}
