"""Tables of HR sync: sources and targets, what HR says of whom, runs with their plans, accounts and the tasks that bring them about."""

from __future__ import annotations

import sqlalchemy as sa

from server.engines.schema import Json, LongText, UtcDateTime, identifier, metadata, serial, short_text

hr_sources = sa.Table(
    "hr_sources",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("name", short_text(), nullable=False, unique=True),
    sa.Column("kind", identifier(8), nullable=False),  # rest, file, sql
    sa.Column("organization_id", sa.BigInteger, nullable=False),  # under which its departments are
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("settings", Json, nullable=False),  # url, path, query, paging …: nothing secret
    sa.Column("sealed", LongText),  # the secrets among the settings, encrypted
    sa.Column("field_map", Json, nullable=False),
    sa.Column("thresholds", Json, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("updated_by", sa.BigInteger),
)

# Where the accounts of a source's people are made.
hr_targets = sa.Table(
    "hr_targets",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("source_id", sa.BigInteger, nullable=False),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("kind", identifier(8), nullable=False),  # local, ldap, scim, webhook
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("settings", Json, nullable=False),
    sa.Column("sealed", LongText),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("source_id", "name"),
)

hr_departments = sa.Table(
    "hr_departments",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("source_id", sa.BigInteger, nullable=False),
    sa.Column("code", short_text(64), nullable=False),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("parent_code", short_text(64)),
    sa.Column("organization_id", sa.BigInteger),
    sa.Column("hash", identifier(64), nullable=False),
    sa.Column("gone_at", UtcDateTime),
    sa.UniqueConstraint("source_id", "code"),
)

# A person as HR last said it; one that HR no longer names stays as a tombstone, so that it comes back as the same.
hr_persons = sa.Table(
    "hr_persons",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("source_id", sa.BigInteger, nullable=False),
    sa.Column("employee_no", short_text(64), nullable=False),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("email_key", short_text(254)),  # case folded
    sa.Column("department_code", short_text(64)),
    sa.Column("state", identifier(8), nullable=False),  # active, left, gone
    sa.Column("row", Json, nullable=False),  # the whole row, in our field names
    sa.Column("hash", identifier(64), nullable=False),
    sa.Column("adopted_user_id", sa.BigInteger),  # the account that was there before HR named the person
    sa.Column("first_seen_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Column("gone_at", UtcDateTime),
    sa.Column("run_id", identifier()),  # which run last changed it
    # Raised with each change; the tasks have been derived up to `tasked`.
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("tasked", sa.Integer, nullable=False),
    sa.UniqueConstraint("source_id", "employee_no"),
    sa.Index(None, "adopted_user_id"),
    sa.Index(None, "email_key"),
    sa.Index(None, "source_id", "department_code"),
    sa.Index(None, "source_id", "state"),
)

hr_runs = sa.Table(
    "hr_runs",
    metadata,
    sa.Column("id", identifier(), primary_key=True),
    sa.Column("source_id", sa.BigInteger, nullable=False),
    sa.Column("kind", identifier(8), nullable=False),  # sync, undo
    sa.Column("state", identifier(20), nullable=False),
    sa.Column("dry_run", sa.Boolean, nullable=False),
    sa.Column("undo_of", identifier()),
    sa.Column("requested_by", sa.BigInteger),  # NULL: the schedule
    sa.Column("requested_name", short_text(), nullable=False),
    sa.Column("approved_by", sa.BigInteger),
    sa.Column("approved_name", short_text()),
    sa.Column("approved_at", UtcDateTime),
    sa.Column("counts", Json, nullable=False),
    sa.Column("exceeded", Json, nullable=False),  # which thresholds, with figures
    sa.Column("snapshot", Json, nullable=False),  # persons, departments, pages, hash
    sa.Column("error_type", identifier(60)),
    sa.Column("error", LongText),
    sa.Column("progress", sa.Integer, nullable=False),
    sa.Column("task_id", identifier()),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("planned_at", UtcDateTime),
    sa.Column("applied_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Index(None, "source_id", "created_at"),
    sa.Index(None, "state"),
)

# The snapshot of a run while it is read and planned; gone when the run has ended.
hr_rows = sa.Table(
    "hr_rows",
    metadata,
    sa.Column("run_id", identifier(), primary_key=True),
    sa.Column("what", identifier(12), primary_key=True),  # person, department
    sa.Column("key", short_text(64), primary_key=True),  # employee_no, code
    sa.Column("email_key", short_text(254)),
    sa.Column("hash", identifier(64), nullable=False),
    sa.Column("row", Json, nullable=False),
    sa.Index(None, "run_id", "email_key"),
)

hr_changes = sa.Table(
    "hr_changes",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("run_id", identifier(), nullable=False),
    sa.Column("what", identifier(12), nullable=False),  # person, department
    sa.Column("kind", identifier(12), nullable=False),  # create, update, disable, revive, move
    sa.Column("state", identifier(12), nullable=False),
    sa.Column("key", short_text(64), nullable=False),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("person_id", sa.BigInteger),
    sa.Column("rule", identifier(40), nullable=False),  # why: the rule of the plan that said so
    sa.Column("strange", Json, nullable=False),  # what a reader should look at first
    sa.Column("before", Json),
    sa.Column("after", Json),
    sa.Column("candidates", Json, nullable=False),  # user ids, of an ambiguous match
    sa.Column("decided_by", sa.BigInteger),
    sa.Column("decision", Json),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("applied_at", UtcDateTime),
    sa.Index(None, "run_id", "state", "id"),
    sa.Index(None, "run_id", "kind"),
    sa.Index(None, "person_id", "applied_at"),
)

hr_accounts = sa.Table(
    "hr_accounts",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("person_id", sa.BigInteger, nullable=False),
    sa.Column("target_id", sa.BigInteger, nullable=False),
    sa.Column("external_id", short_text()),  # what the target calls it: a DN, a SCIM id, our user's number
    sa.Column("user_id", sa.BigInteger),  # of a local account
    sa.Column("state", identifier(10), nullable=False),  # active, disabled
    sa.Column("hash", identifier(64), nullable=False),  # of the desired state that was last read back
    sa.Column("verified_at", UtcDateTime, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("person_id", "target_id"),
    sa.Index(None, "user_id"),
    sa.Index(None, "target_id", "state"),
)

account_tasks = sa.Table(
    "account_tasks",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("person_id", sa.BigInteger, nullable=False),
    sa.Column("target_id", sa.BigInteger, nullable=False),
    sa.Column("operation", identifier(10), nullable=False),  # create, update, disable, revive
    sa.Column("desired", Json, nullable=False),
    sa.Column("hash", identifier(64), nullable=False),
    sa.Column("state", identifier(12), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("run_at", UtcDateTime, nullable=False),
    sa.Column("lease_owner", identifier(64)),
    sa.Column("lease_until", UtcDateTime),
    sa.Column("error_class", identifier(24)),
    sa.Column("error", LongText),
    sa.Column("run_id", identifier()),  # the HR run that caused it
    # Person and target, while unfinished: one at a time for an account.
    sa.Column("unique_key", short_text(), unique=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Index(None, "target_id", "state", "operation", "run_at"),
    sa.Index(None, "person_id", "created_at"),
    sa.Index(None, "state", "ended_at"),
)

account_attempts = sa.Table(
    "account_attempts",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("account_task_id", sa.BigInteger, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("outcome", identifier(16), nullable=False),  # done, already, adopted, failed
    sa.Column("error_class", identifier(24)),
    sa.Column("detail", LongText),
    sa.Column("before", Json),  # what the target had
    sa.Column("after", Json),  # what was read back
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime, nullable=False),
    sa.Index(None, "account_task_id", "attempt"),
)

# After a disable: every door that was tried, until none opens any more.
deprovisionings = sa.Table(
    "deprovisionings",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("person_id", sa.BigInteger, nullable=False),
    sa.Column("user_id", sa.BigInteger),
    sa.Column("run_id", identifier()),
    sa.Column("state", identifier(10), nullable=False),  # checking, proven, open
    sa.Column("ordered_at", UtcDateTime, nullable=False),  # when HR's word was accepted
    sa.Column("zero_at", UtcDateTime),  # when the last door was found closed
    sa.Column("checks", Json, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Index(None, "person_id", "ordered_at"),
    sa.Index(None, "state"),
)
