"""Jobs of accounts: working on the account tasks of a target, and the proof of an end."""

from __future__ import annotations

from server.platform.schedules.actions import SystemSchedule

SCHEDULES: tuple[SystemSchedule, ...] = ()
