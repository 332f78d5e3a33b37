"""All jobs, by kind; a kind declared twice fails here, at import."""

from jobs import accounts, audit, codes, documents, evaluation, hr, mail, maintenance, notifications, people, tagging
from jobs.registry import collect

JOBS = collect([mail, maintenance, documents, tagging, evaluation, audit, codes, people, hr, accounts, notifications])
SCHEDULES = (*maintenance.SCHEDULES, *documents.SCHEDULES, *audit.SCHEDULES, *hr.SCHEDULES, *accounts.SCHEDULES, *notifications.SCHEDULES)
