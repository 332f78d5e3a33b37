"""All jobs, by kind; a kind declared twice fails here, at import."""

from jobs import audit, codes, documents, evaluation, mail, maintenance, people, tagging
from jobs.registry import collect

JOBS = collect([mail, maintenance, documents, tagging, evaluation, audit, codes, people])
SCHEDULES = (*maintenance.SCHEDULES, *documents.SCHEDULES, *audit.SCHEDULES)
