"""Sentences about our SCIM server."""

MESSAGES: dict[str, tuple[str, str]] = {}
