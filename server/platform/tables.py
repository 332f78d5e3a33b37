"""Tables of the platform: tasks and queues, schedules, calendars, the fire ledger, the audit log, notifications, answers, files."""

from __future__ import annotations

import sqlalchemy as sa

from server.engines.schema import GOES_WITH_ORGANIZATION, Json, LongText, UtcDateTime, identifier, metadata, serial, short_text

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", identifier(), primary_key=True),
    sa.Column("queue", identifier(40), nullable=False),
    sa.Column("kind", identifier(80), nullable=False),
    sa.Column("payload", Json, nullable=False),
    sa.Column("state", identifier(12), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("run_at", UtcDateTime, nullable=False),
    sa.Column("lease_owner", identifier(64)),
    sa.Column("lease_until", UtcDateTime),
    sa.Column("progress", sa.Integer, nullable=False, default=0),
    sa.Column("progress_message", short_text(500)),
    sa.Column("result", Json),
    sa.Column("error", LongText),
    # Held by the one unfinished task that has it; NULL once the task has ended.
    sa.Column("unique_key", short_text(), unique=True),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, default=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Index(None, "queue", "state", "run_at"),
    sa.Index(None, "state", "ended_at"),
    sa.Index(None, "kind", "created_at"),
)

calendars = sa.Table(
    "calendars",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("name", short_text(), nullable=False, unique=True),
    sa.Column("body", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("kind", identifier(20), nullable=False),
    # The workflow's number, or 0 for a system job.
    sa.Column("target_id", sa.BigInteger, nullable=False, default=0),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("job", identifier(80), nullable=False, default=""),
    sa.Column("queue", identifier(40), nullable=False, default=""),
    sa.Column("kwargs", Json, nullable=False),
    sa.Column("crons", Json, nullable=False),
    sa.Column("timezone", short_text(64), nullable=False),
    sa.Column("calendar", short_text()),
    sa.Column("shift_s", sa.Integer, nullable=False, default=0),
    # Each start is put off by up to this, by a number that is drawn from the instant itself.
    sa.Column("jitter_s", sa.Integer, nullable=False, default=0, server_default="0"),
    sa.Column("misfire", identifier(12), nullable=False),
    sa.Column("misfire_max_age_s", sa.Integer, nullable=False),
    sa.Column("overlap", identifier(20), nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False, default=1),
    # Instants before this were planned, or belong to an earlier version of the row.
    sa.Column("effective_from", UtcDateTime, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index(None, "kind", "target_id"),
    sa.Index(None, "calendar"),
)

fires = sa.Table(
    "fires",
    metadata,
    sa.Column("id", identifier(), primary_key=True),
    sa.Column("schedule_id", sa.BigInteger, nullable=False),
    sa.Column("planned_at", UtcDateTime, nullable=False),
    sa.Column("starts_at", UtcDateTime, nullable=False),
    sa.Column("outcome", identifier(12), nullable=False),
    sa.Column("reason", short_text(500)),
    sa.Column("run_id", identifier()),
    sa.Column("task_id", identifier()),
    sa.Column("lag_ms", sa.Integer, nullable=False),
    # A row may stand for a stretch of instants that all ended alike.
    sa.Column("through", UtcDateTime),
    sa.Column("count", sa.Integer, nullable=False, default=1),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("schedule_id", "planned_at"),
    sa.Index(None, "created_at"),
    sa.Index(None, "through"),
)

# One row: who plans, under which epoch, and up to which start time everything is in the ledger.
planner = sa.Table(
    "planner",
    metadata,
    sa.Column("name", identifier(20), primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("holder", identifier(64), nullable=False),
    sa.Column("planned_until", UtcDateTime, nullable=False),
    # When planning was stopped in good order; NULL while it goes on, and after a crash.
    sa.Column("stopped_at", UtcDateTime),
    # Since when, and by whom, all schedules are paused; NULL while they are not.
    sa.Column("paused_at", UtcDateTime),
    sa.Column("paused_by", short_text()),
)

schedule_changes = sa.Table(
    "schedule_changes",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("schedule_id", sa.BigInteger, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("change", identifier(20), nullable=False),
    sa.Column("actor", short_text(), nullable=False),
    sa.Column("crons", Json, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Index(None, "schedule_id", "at"),
)

audit_log = sa.Table(
    "audit_log",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("user_id", sa.BigInteger),
    sa.Column("actor", short_text(), nullable=False),
    sa.Column("action", identifier(80), nullable=False),
    sa.Column("target", short_text(), nullable=False),
    sa.Column("address", identifier(64), nullable=False),
    sa.Column("request_id", short_text(64), nullable=False),
    sa.Column("detail", Json, nullable=False),
    # A hash of the row and of the hash before it: a row that was removed or changed shows. NULL in rows older than the chain, and until
    # the sealing has come by.
    sa.Column("hash", identifier(64)),
    sa.Index(None, "at"),
    sa.Index(None, "action", "at"),
    sa.Index(None, "target", "at"),
)

kept_answers = sa.Table(
    "kept_answers",
    metadata,
    sa.Column("id", identifier(64), primary_key=True),  # hash of caller, route and key
    sa.Column("request_hash", identifier(64), nullable=False),
    sa.Column("status", sa.Integer),  # NULL while the request is being handled
    sa.Column("body", LongText),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "created_at"),
)

file_references = sa.Table(
    "file_references",
    metadata,
    sa.Column("sha256", identifier(64), primary_key=True),
    sa.Column("owner", short_text(100), primary_key=True),  # such as step:<id>
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("content_type", short_text(100), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "owner"),
)

# What people have set for a queue; a queue without a row has its default.
queue_settings = sa.Table(
    "queue_settings",
    metadata,
    sa.Column("queue", identifier(40), primary_key=True),
    sa.Column("concurrency", sa.Integer, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("event_key", identifier(64), nullable=False),  # a hash of what happened: nobody is told of it twice
    sa.Column("kind", identifier(60), nullable=False),
    sa.Column("params", Json, nullable=False),  # for the sentence of its kind, in the reader's language
    sa.Column("link", short_text(500)),
    sa.Column("organization_id", sa.BigInteger),
    # False for one that goes out by mail alone, as its reader wants it.
    sa.Column("shown", sa.Boolean, nullable=False),
    # When it is told by mail together with others; NULL for one with a mail of its own, or none.
    sa.Column("digest_at", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("read_at", UtcDateTime),
    sa.UniqueConstraint("user_id", "event_key"),
    sa.Index(None, "user_id", "read_at", "created_at"),
    sa.Index(None, "user_id", "digest_at"),
    sa.Index(None, "created_at"),
)

notification_preferences = sa.Table(
    "notification_preferences",
    metadata,
    sa.Column("user_id", sa.BigInteger, primary_key=True),
    sa.Column("kind", identifier(60), primary_key=True),
    sa.Column("channel", identifier(16), primary_key=True),  # app, mail, webhook
    sa.Column("enabled", sa.Boolean, nullable=False),
)

# When people want their mails; without a row at once, and at any time.
notification_settings = sa.Table(
    "notification_settings",
    metadata,
    sa.Column("user_id", sa.BigInteger, primary_key=True),
    sa.Column("mail", identifier(8), nullable=False),  # at_once, daily
    sa.Column("digest_hour", sa.Integer, nullable=False),
    sa.Column("quiet_from", identifier(5)),  # HH:MM in their zone, as the end is
    sa.Column("quiet_to", identifier(5)),
    sa.Column("timezone", short_text(64), nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

# Addresses that are told by a signed POST, of one person or of one organization.
notification_webhooks = sa.Table(
    "notification_webhooks",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("user_id", sa.BigInteger),
    sa.Column("organization_id", sa.BigInteger),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("format", identifier(10), nullable=False),  # signed, dingtalk, wecom
    sa.Column("host", short_text(300), nullable=False),
    sa.Column("sealed", LongText, nullable=False),  # the address, which holds a token, and the secret
    sa.Column("has_secret", sa.Boolean, nullable=False),
    sa.Column("kinds", Json, nullable=False),  # of what an organization's is told; a person's is by their preferences
    sa.Column("locale", identifier(2), nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("quiet_from", identifier(5)),  # of an organization's; a person's waits as their mails do
    sa.Column("quiet_to", identifier(5)),
    sa.Column("timezone", short_text(64)),
    sa.Column("paused_until", UtcDateTime),  # after a failure, and between two messages to a chat
    sa.Column("failures", sa.Integer, nullable=False),  # in a row
    sa.Column("last_error", short_text(500)),
    sa.Column("last_sent_at", UtcDateTime),
    sa.Column("created_by", sa.BigInteger),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index(None, "user_id"),
    sa.Index(None, "organization_id"),
    info=GOES_WITH_ORGANIZATION,
)

# What a webhook is told: once of an event.
webhook_messages = sa.Table(
    "webhook_messages",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("webhook_id", sa.BigInteger, nullable=False),
    sa.Column("event_key", identifier(64), nullable=False),
    sa.Column("kind", identifier(60), nullable=False),
    sa.Column("params", Json, nullable=False),
    sa.Column("link", short_text(500)),
    sa.Column("state", identifier(8), nullable=False),  # waiting, sent, failed
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("claimed_until", UtcDateTime),  # it is being sent
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("sent_at", UtcDateTime),
    sa.UniqueConstraint("webhook_id", "event_key"),
    sa.Index(None, "webhook_id", "state", "id"),
    sa.Index(None, "created_at"),
)
