"""Schedules: when something is due, as pure functions of time, and the ledger of what fired."""
