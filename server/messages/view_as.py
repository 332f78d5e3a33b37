"""Sentences about looking with another user's eyes, captchas and other additions to sign-in."""

MESSAGES: dict[str, tuple[str, str]] = {}
