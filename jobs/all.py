"""All jobs, by kind; a kind declared twice fails here, at import."""

from jobs import mail, maintenance
from jobs.registry import collect

JOBS = collect([mail, maintenance])
