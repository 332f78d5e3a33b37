"""What every wing stands on: tasks, schedules, calendars, the audit log."""
