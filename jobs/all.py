"""All jobs, by kind; a kind declared twice fails here, at import."""

from jobs import (
    accounts,
    audit,
    codes,
    documents,
    evaluation,
    hr,
    mail,
    maintenance,
    notifications,
    people,
    projects,
    proofs,
    scores,
    tagging,
)
from jobs.registry import collect

JOBS = collect(
    [mail, maintenance, documents, tagging, evaluation, audit, codes, people, hr, accounts, proofs, notifications, projects, scores]
)
SCHEDULES = (
    *maintenance.SCHEDULES,
    *documents.SCHEDULES,
    *audit.SCHEDULES,
    *hr.SCHEDULES,
    *accounts.SCHEDULES,
    *proofs.SCHEDULES,
    *notifications.SCHEDULES,
    *projects.SCHEDULES,
    *scores.SCHEDULES,
)
