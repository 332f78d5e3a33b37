"""Jobs of notifications: telling by mail."""

from __future__ import annotations

from server.platform.schedules.actions import SystemSchedule

SCHEDULES: tuple[SystemSchedule, ...] = ()
