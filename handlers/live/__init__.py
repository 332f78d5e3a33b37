"""Routes of live events."""
