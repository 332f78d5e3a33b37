"""Routes of people and signing in."""
