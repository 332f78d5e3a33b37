"""The tables of the first release."""

import sqlalchemy as sa
from alembic import op

from server.engines import schema
from server.engines.documents_sql import ExactText
from server.engines.schema import Json, LongText, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", schema.serial(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("name", schema.short_text(190), nullable=False),
        sa.Column("prefix", schema.identifier(16), nullable=False),
        sa.Column("secret_hash", schema.identifier(64), nullable=False),
        sa.Column("scopes", Json(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("revoked_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_api_keys_user_id"), ["user_id"], unique=False)

    op.create_table(
        "audit_log",
        sa.Column("id", schema.serial(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("actor", schema.short_text(190), nullable=False),
        sa.Column("action", schema.identifier(80), nullable=False),
        sa.Column("target", schema.short_text(190), nullable=False),
        sa.Column("address", schema.identifier(64), nullable=False),
        sa.Column("request_id", schema.short_text(64), nullable=False),
        sa.Column("detail", Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_log_action_at"), ["action", "at"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_log_at"), ["at"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_log_target_at"), ["target", "at"], unique=False)

    op.create_table(
        "calendars",
        sa.Column("id", schema.serial(), nullable=False),
        sa.Column("name", schema.short_text(190), nullable=False),
        sa.Column("body", Json(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calendars")),
        sa.UniqueConstraint("name", name=op.f("uq_calendars_name")),
    )
    op.create_table(
        "document_keys",
        sa.Column("collection", schema.identifier(64), nullable=False),
        sa.Column("field", schema.identifier(64), nullable=False),
        sa.Column("id", ExactText(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("string", ExactText(), nullable=True),
        sa.PrimaryKeyConstraint("collection", "field", "id", name=op.f("pk_document_keys")),
    )
    with op.batch_alter_table("document_keys", schema=None) as batch_op:
        batch_op.create_index("ix_document_keys_value", ["collection", "field", "kind", "number", "string", "id"], unique=False)

    op.create_table(
        "document_unique",
        sa.Column("collection", schema.identifier(64), nullable=False),
        sa.Column("field", schema.identifier(64), nullable=False),
        sa.Column("id", ExactText(), nullable=False),
        sa.Column("value_hash", schema.identifier(64), nullable=False),
        sa.PrimaryKeyConstraint("collection", "field", "id", name=op.f("pk_document_unique")),
        sa.UniqueConstraint("collection", "field", "value_hash", name=op.f("uq_document_unique_collection_field_value_hash")),
    )
    op.create_table(
        "documents",
        sa.Column("collection", schema.identifier(64), nullable=False),
        sa.Column("id", ExactText(), nullable=False),
        sa.Column("body", LongText(), nullable=False),
        sa.PrimaryKeyConstraint("collection", "id", name=op.f("pk_documents")),
    )
    op.create_table(
        "file_references",
        sa.Column("sha256", schema.identifier(64), nullable=False),
        sa.Column("owner", schema.short_text(100), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content_type", schema.short_text(100), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", "owner", name=op.f("pk_file_references")),
    )
    with op.batch_alter_table("file_references", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_file_references_owner"), ["owner"], unique=False)

    op.create_table(
        "fires",
        sa.Column("id", schema.identifier(32), nullable=False),
        sa.Column("schedule_id", sa.BigInteger(), nullable=False),
        sa.Column("planned_at", UtcDateTime(), nullable=False),
        sa.Column("starts_at", UtcDateTime(), nullable=False),
        sa.Column("outcome", schema.identifier(12), nullable=False),
        sa.Column("reason", schema.short_text(500), nullable=True),
        sa.Column("run_id", schema.identifier(32), nullable=True),
        sa.Column("task_id", schema.identifier(32), nullable=True),
        sa.Column("lag_ms", sa.Integer(), nullable=False),
        sa.Column("through", UtcDateTime(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fires")),
        sa.UniqueConstraint("schedule_id", "planned_at", name=op.f("uq_fires_schedule_id_planned_at")),
    )
    with op.batch_alter_table("fires", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_fires_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_fires_through"), ["through"], unique=False)

    op.create_table(
        "kept_answers",
        sa.Column("id", schema.identifier(64), nullable=False),
        sa.Column("request_hash", schema.identifier(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", LongText(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kept_answers")),
    )
    with op.batch_alter_table("kept_answers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_kept_answers_created_at"), ["created_at"], unique=False)

    op.create_table(
        "modules",
        sa.Column("id", schema.serial(), nullable=False),
        sa.Column("hash", schema.identifier(64), nullable=False),
        sa.Column("name", schema.short_text(190), nullable=False),
        sa.Column("model_hash", schema.short_text(190), nullable=False),
        sa.Column("description", LongText(), nullable=False),
        sa.Column("input_data", Json(), nullable=False),
        sa.Column("output_data", Json(), nullable=False),
        sa.Column("organization_id", sa.BigInteger(), nullable=False),
        sa.Column("registered_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("instance", schema.identifier(64), nullable=True),
        sa.Column("connected_at", UtcDateTime(), nullable=True),
        sa.Column("last_seen", UtcDateTime(), nullable=True),
        sa.Column("address", schema.identifier(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_modules")),
        sa.UniqueConstraint("hash", name=op.f("uq_modules_hash")),
        sa.UniqueConstraint("name", "model_hash", name=op.f("uq_modules_name_model_hash")),
    )
    with op.batch_alter_table("modules", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_modules_instance"), ["instance"], unique=False)

    op.create_table(
        "organizations",
        sa.Column("id", schema.serial(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("name", schema.short_text(190), nullable=False),
        sa.Column("code", schema.short_text(64), nullable=False),
        sa.Column("kind", schema.identifier(32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_organizations")),
        sa.UniqueConstraint("code", name=op.f("uq_organizations_code")),
    )
    with op.batch_alter_table("organizations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_organizations_parent_id"), ["parent_id"], unique=False)

    op.create_table(
        "planner",
        sa.Column("name", schema.identifier(20), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("holder", schema.identifier(64), nullable=False),
        sa.Column("planned_until", UtcDateTime(), nullable=False),
        sa.Column("stopped_at", UtcDateTime(), nullable=True),
        sa.Column("paused_at", UtcDateTime(), nullable=True),
        sa.Column("paused_by", schema.short_text(190), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_planner")),
    )
    op.create_table(
        "role_grants",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("role_id", sa.BigInteger(), nullable=False),
        sa.Column("organization_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user_id", "role_id", "organization_id", name=op.f("pk_role_grants")),
    )
    op.create_table(
        "roles",
        sa.Column("id", schema.serial(), nullable=False),
        sa.Column("name", schema.short_text(64), nullable=False),
        sa.Column("system", sa.Boolean(), nullable=False),
        sa.Column("scopes", Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roles")),
        sa.UniqueConstraint("name", name=op.f("uq_roles_name")),
    )
    op.create_table(
        "runs",
        sa.Column("id", schema.identifier(32), nullable=False),
        sa.Column("workflow_id", sa.BigInteger(), nullable=False),
        sa.Column("workflow_name", schema.short_text(190), nullable=False),
        sa.Column("kind", schema.identifier(12), nullable=False),
        sa.Column("state", schema.identifier(12), nullable=False),
        sa.Column("overlap", schema.identifier(20), nullable=False),
        sa.Column("turn", sa.Boolean(), nullable=False),
        sa.Column("step_count", sa.Integer(), nullable=False),
        sa.Column("execution_time", UtcDateTime(), nullable=False),
        sa.Column("timezone", schema.short_text(64), nullable=False),
        sa.Column("offline_grace_s", sa.Integer(), nullable=False),
        sa.Column("retry_of", schema.identifier(32), nullable=True),
        sa.Column("requested_by", schema.short_text(190), nullable=False),
        sa.Column("error", LongText(), nullable=True),
        sa.Column("cancel_reason", schema.short_text(500), nullable=True),
        sa.Column("cancel_requested_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_runs_ended_at"), ["ended_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_workflow_id_created_at"), ["workflow_id", "created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_workflow_id_state"), ["workflow_id", "state"], unique=False)

    op.create_table(
        "schedule_changes",
        sa.Column("id", schema.serial(), nullable=False),
        sa.Column("schedule_id", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("change", schema.identifier(20), nullable=False),
        sa.Column("actor", schema.short_text(190), nullable=False),
        sa.Column("crons", Json(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_changes")),
    )
    with op.batch_alter_table("schedule_changes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_schedule_changes_schedule_id_at"), ["schedule_id", "at"], unique=False)

    op.create_table(
        "schedules",
        sa.Column("id", schema.serial(), nullable=False),
        sa.Column("kind", schema.identifier(20), nullable=False),
        sa.Column("target_id", sa.BigInteger(), nullable=False),
        sa.Column("name", schema.short_text(190), nullable=False),
        sa.Column("job", schema.identifier(80), nullable=False),
        sa.Column("queue", schema.identifier(40), nullable=False),
        sa.Column("kwargs", Json(), nullable=False),
        sa.Column("crons", Json(), nullable=False),
        sa.Column("timezone", schema.short_text(64), nullable=False),
        sa.Column("calendar", schema.short_text(190), nullable=True),
        sa.Column("shift_s", sa.Integer(), nullable=False),
        sa.Column("misfire", schema.identifier(12), nullable=False),
        sa.Column("misfire_max_age_s", sa.Integer(), nullable=False),
        sa.Column("overlap", schema.identifier(20), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("effective_from", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    with op.batch_alter_table("schedules", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_schedules_calendar"), ["calendar"], unique=False)
        batch_op.create_index(batch_op.f("ix_schedules_kind_target_id"), ["kind", "target_id"], unique=False)

    op.create_table(
        "sessions",
        sa.Column("id", schema.identifier(32), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("method", schema.identifier(16), nullable=False),
        sa.Column("address", schema.identifier(64), nullable=False),
        sa.Column("agent", schema.short_text(300), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("end_reason", schema.identifier(24), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sessions_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_sessions_user_id_ended_at"), ["user_id", "ended_at"], unique=False)

    op.create_table(
        "step_attempts",
        sa.Column("step_id", schema.identifier(32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("outcome", schema.identifier(12), nullable=False),
        sa.Column("error", LongText(), nullable=True),
        sa.Column("dispatched_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("step_id", "attempt", name=op.f("pk_step_attempts")),
    )
    op.create_table(
        "steps",
        sa.Column("id", schema.identifier(32), nullable=False),
        sa.Column("run_id", schema.identifier(32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", schema.short_text(190), nullable=False),
        sa.Column("module_hash", schema.identifier(64), nullable=False),
        sa.Column("module_name", schema.short_text(190), nullable=False),
        sa.Column("state", schema.identifier(12), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("plan", Json(), nullable=False),
        sa.Column("args", Json(), nullable=True),
        sa.Column("output", Json(), nullable=True),
        sa.Column("message", LongText(), nullable=True),
        sa.Column("error", LongText(), nullable=True),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("progress_message", schema.short_text(500), nullable=True),
        sa.Column("log_lines", sa.Integer(), nullable=False),
        sa.Column("process", schema.identifier(64), nullable=True),
        sa.Column("cancel_confirmed", sa.Boolean(), nullable=True),
        sa.Column("blocked", sa.Boolean(), nullable=False),
        sa.Column("waits_for", schema.identifier(12), nullable=True),
        sa.Column("wake_at", UtcDateTime(), nullable=True),
        sa.Column("deadline", UtcDateTime(), nullable=True),
        sa.Column("dispatched_at", UtcDateTime(), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steps")),
        sa.UniqueConstraint("run_id", "position", name=op.f("uq_steps_run_id_position")),
    )
    with op.batch_alter_table("steps", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_steps_module_hash_state"), ["module_hash", "state"], unique=False)
        batch_op.create_index(batch_op.f("ix_steps_wake_at"), ["wake_at"], unique=False)

    op.create_table(
        "tasks",
        sa.Column("id", schema.identifier(32), nullable=False),
        sa.Column("queue", schema.identifier(40), nullable=False),
        sa.Column("kind", schema.identifier(80), nullable=False),
        sa.Column("payload", Json(), nullable=False),
        sa.Column("state", schema.identifier(12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("run_at", UtcDateTime(), nullable=False),
        sa.Column("lease_owner", schema.identifier(64), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("progress_message", schema.short_text(500), nullable=True),
        sa.Column("result", Json(), nullable=True),
        sa.Column("error", LongText(), nullable=True),
        sa.Column("unique_key", schema.short_text(190), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("unique_key", name=op.f("uq_tasks_unique_key")),
    )
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tasks_kind_created_at"), ["kind", "created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_tasks_queue_state_run_at"), ["queue", "state", "run_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_tasks_state_ended_at"), ["state", "ended_at"], unique=False)

    op.create_table(
        "users",
        sa.Column("id", schema.serial(), nullable=False),
        sa.Column("username", schema.short_text(150), nullable=False),
        sa.Column("username_key", schema.short_text(150), nullable=False),
        sa.Column("email", schema.short_text(254), nullable=True),
        sa.Column("email_key", schema.short_text(254), nullable=True),
        sa.Column("name", schema.short_text(190), nullable=False),
        sa.Column("kind", schema.identifier(16), nullable=False),
        sa.Column("state", schema.identifier(16), nullable=False),
        sa.Column("password_hash", LongText(), nullable=True),
        sa.Column("organization_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("last_login_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email_key", name=op.f("uq_users_email_key")),
        sa.UniqueConstraint("username_key", name=op.f("uq_users_username_key")),
    )
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_users_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_users_organization_id"), ["organization_id"], unique=False)

    op.create_table(
        "workflows",
        sa.Column("id", schema.serial(), nullable=False),
        sa.Column("uid", schema.identifier(32), nullable=False),
        sa.Column("name", schema.short_text(190), nullable=False),
        sa.Column("description", LongText(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("body", Json(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("organization_id", sa.BigInteger(), nullable=False),
        sa.Column("created_by", schema.short_text(190), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflows")),
        sa.UniqueConstraint("name", name=op.f("uq_workflows_name")),
        sa.UniqueConstraint("uid", name=op.f("uq_workflows_uid")),
    )


def downgrade() -> None:
    op.drop_table("workflows")
    with op.batch_alter_table("users", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_users_organization_id"))
        batch_op.drop_index(batch_op.f("ix_users_created_at"))

    op.drop_table("users")
    with op.batch_alter_table("tasks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_tasks_state_ended_at"))
        batch_op.drop_index(batch_op.f("ix_tasks_queue_state_run_at"))
        batch_op.drop_index(batch_op.f("ix_tasks_kind_created_at"))

    op.drop_table("tasks")
    with op.batch_alter_table("steps", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_steps_wake_at"))
        batch_op.drop_index(batch_op.f("ix_steps_module_hash_state"))

    op.drop_table("steps")
    op.drop_table("step_attempts")
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_sessions_user_id_ended_at"))
        batch_op.drop_index(batch_op.f("ix_sessions_expires_at"))

    op.drop_table("sessions")
    with op.batch_alter_table("schedules", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_schedules_kind_target_id"))
        batch_op.drop_index(batch_op.f("ix_schedules_calendar"))

    op.drop_table("schedules")
    with op.batch_alter_table("schedule_changes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_schedule_changes_schedule_id_at"))

    op.drop_table("schedule_changes")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_runs_workflow_id_state"))
        batch_op.drop_index(batch_op.f("ix_runs_workflow_id_created_at"))
        batch_op.drop_index(batch_op.f("ix_runs_ended_at"))

    op.drop_table("runs")
    op.drop_table("roles")
    op.drop_table("role_grants")
    op.drop_table("planner")
    with op.batch_alter_table("organizations", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_organizations_parent_id"))

    op.drop_table("organizations")
    with op.batch_alter_table("modules", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_modules_instance"))

    op.drop_table("modules")
    with op.batch_alter_table("kept_answers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_kept_answers_created_at"))

    op.drop_table("kept_answers")
    with op.batch_alter_table("fires", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_fires_through"))
        batch_op.drop_index(batch_op.f("ix_fires_created_at"))

    op.drop_table("fires")
    with op.batch_alter_table("file_references", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_file_references_owner"))

    op.drop_table("file_references")
    op.drop_table("documents")
    op.drop_table("document_unique")
    with op.batch_alter_table("document_keys", schema=None) as batch_op:
        batch_op.drop_index("ix_document_keys_value")

    op.drop_table("document_keys")
    op.drop_table("calendars")
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_log_target_at"))
        batch_op.drop_index(batch_op.f("ix_audit_log_at"))
        batch_op.drop_index(batch_op.f("ix_audit_log_action_at"))

    op.drop_table("audit_log")
    with op.batch_alter_table("api_keys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_api_keys_user_id"))

    op.drop_table("api_keys")
