"""Tables of the dispatch wing: modules, workflows, runs, their steps and earlier attempts."""

from __future__ import annotations

import sqlalchemy as sa

from server.engines.schema import Json, LongText, UtcDateTime, identifier, metadata, serial, short_text

modules = sa.Table(
    "modules",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("hash", identifier(64), nullable=False, unique=True),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("model_hash", short_text(), nullable=False),
    sa.Column("description", LongText, nullable=False),
    sa.Column("input_data", Json, nullable=False),
    sa.Column("output_data", Json, nullable=False),
    sa.Column("organization_id", sa.BigInteger, nullable=False),
    sa.Column("registered_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    # Presence: which instance holds the socket that takes new work; NULL when offline.
    sa.Column("instance", identifier(64)),
    sa.Column("connected_at", UtcDateTime),
    sa.Column("last_seen", UtcDateTime),
    sa.Column("address", identifier(64)),
    sa.UniqueConstraint("name", "model_hash"),
    sa.Index(None, "instance"),
)

workflows = sa.Table(
    "workflows",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("uid", identifier(), nullable=False, unique=True),
    sa.Column("name", short_text(), nullable=False, unique=True),
    sa.Column("description", LongText, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("body", Json, nullable=False),  # the definition as it was given
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("organization_id", sa.BigInteger, nullable=False),
    sa.Column("created_by", short_text(), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", identifier(), primary_key=True),
    sa.Column("workflow_id", sa.BigInteger, nullable=False),
    sa.Column("workflow_name", short_text(), nullable=False),
    sa.Column("kind", identifier(12), nullable=False),  # fired, manual, retry, backfill
    sa.Column("state", identifier(12), nullable=False),
    sa.Column("overlap", identifier(20), nullable=False),
    # False while an earlier run of the workflow holds it back.
    sa.Column("turn", sa.Boolean, nullable=False),
    sa.Column("step_count", sa.Integer, nullable=False),
    sa.Column("execution_time", UtcDateTime, nullable=False),
    sa.Column("timezone", short_text(64), nullable=False),
    sa.Column("offline_grace_s", sa.Integer, nullable=False),
    sa.Column("retry_of", identifier()),
    sa.Column("requested_by", short_text(), nullable=False),
    sa.Column("error", LongText),
    sa.Column("cancel_reason", short_text(500)),
    sa.Column("cancel_requested_at", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("started_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.Index(None, "workflow_id", "state"),
    sa.Index(None, "workflow_id", "created_at"),
    sa.Index(None, "ended_at"),
)

steps = sa.Table(
    "steps",
    metadata,
    sa.Column("id", identifier(), primary_key=True),
    sa.Column("run_id", identifier(), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("module_hash", identifier(64), nullable=False),
    sa.Column("module_name", short_text(), nullable=False),
    sa.Column("state", identifier(12), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, default=1),
    sa.Column("fence", sa.Integer, nullable=False, default=0),
    # What the definition says of this step: args, edges, requirements, timeout, retry.
    sa.Column("plan", Json, nullable=False),
    sa.Column("args", Json),  # what was sent
    sa.Column("output", Json),
    sa.Column("message", LongText),
    sa.Column("error", LongText),
    sa.Column("progress", sa.Integer, nullable=False, default=0),
    sa.Column("progress_message", short_text(500)),
    sa.Column("log_lines", sa.Integer, nullable=False, default=0),
    sa.Column("process", identifier(64)),  # the module's process it was sent to, when that told its name
    sa.Column("cancel_confirmed", sa.Boolean),
    # True until every step before it has succeeded and its run has its turn; from then on `args` is what it gets.
    sa.Column("blocked", sa.Boolean, nullable=False),
    sa.Column("waits_for", identifier(12)),
    # When to look at this step again if nothing happens: a deadline, the end of a grace, the time of a retry.
    sa.Column("wake_at", UtcDateTime),
    sa.Column("deadline", UtcDateTime),
    sa.Column("dispatched_at", UtcDateTime),
    sa.Column("started_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
    sa.UniqueConstraint("run_id", "position"),
    sa.Index(None, "module_hash", "state"),
    sa.Index(None, "wake_at"),
)

step_attempts = sa.Table(
    "step_attempts",
    metadata,
    sa.Column("step_id", identifier(), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("outcome", identifier(12), nullable=False),
    sa.Column("error", LongText),
    sa.Column("dispatched_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime, nullable=False),
)
