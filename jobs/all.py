"""All jobs, by kind; a kind declared twice fails here, at import."""

from jobs import documents, evaluation, mail, maintenance, tagging
from jobs.registry import collect

JOBS = collect([mail, maintenance, documents, tagging, evaluation])
SCHEDULES = (*maintenance.SCHEDULES, *documents.SCHEDULES)
