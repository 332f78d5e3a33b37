"""Jobs of HR sync: the three inherited rounds, reading and planning a run, applying it."""

from __future__ import annotations

from server.platform.schedules.actions import SystemSchedule

SCHEDULES: tuple[SystemSchedule, ...] = ()
