"""Routes of tasks, calendars and files."""
