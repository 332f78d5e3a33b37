"""Accounts, sessions, roles, API keys."""
