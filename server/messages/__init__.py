"""The message catalogue: every sentence that a user sees, in Chinese and in English."""

from server.messages.catalogue import CATALOGUE, Locale, Text, say, text

__all__ = ["CATALOGUE", "Locale", "Text", "say", "text"]
