"""All jobs, by kind; a kind declared twice fails here, at import."""

from jobs import documents, mail, maintenance
from jobs.registry import collect

JOBS = collect([mail, maintenance, documents])
SCHEDULES = (*maintenance.SCHEDULES, *documents.SCHEDULES)
