"""Tables of projects: projects with their people and papers, student projects, audits, scores."""

from __future__ import annotations

import sqlalchemy as sa

from server.engines.schema import GOES_WITH_ORGANIZATION, Json, LongText, UtcDateTime, identifier, metadata, serial, short_text

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("kind", identifier(12), nullable=False),  # research, teaching, student
    sa.Column("title", short_text(300), nullable=False),
    sa.Column("summary", LongText, nullable=False),
    sa.Column("organization_id", sa.BigInteger, nullable=False),
    sa.Column("owner_id", sa.BigInteger),  # who proposes it
    sa.Column("state", identifier(12), nullable=False),
    sa.Column("state_since", UtcDateTime, nullable=False),
    sa.Column("fields", Json, nullable=False),
    sa.Column("budget", Json, nullable=False),  # lines: what, amount in cents
    sa.Column("starts_on", identifier(10)),  # ISO dates
    sa.Column("ends_on", identifier(10)),
    sa.Column("due_at", UtcDateTime),  # by when the present state should be left
    sa.Column("opening_id", sa.BigInteger),  # of a student project that came from an opening
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index(None, "organization_id", "state"),
    sa.Index(None, "kind", "state"),
    sa.Index(None, "owner_id"),
    sa.Index(None, "state", "due_at"),
    sa.Index(None, "created_at"),
)

project_members = sa.Table(
    "project_members",
    metadata,
    sa.Column("project_id", sa.BigInteger, primary_key=True),
    sa.Column("user_id", sa.BigInteger, primary_key=True),
    sa.Column("role", identifier(12), nullable=False),  # lead, member, mentor
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "user_id"),
)

project_links = sa.Table(
    "project_links",
    metadata,
    sa.Column("project_id", sa.BigInteger, primary_key=True),
    sa.Column("other_id", sa.BigInteger, primary_key=True),
    sa.Column("kind", identifier(16), primary_key=True),  # follows, part_of, related
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "other_id"),
)

project_attachments = sa.Table(
    "project_attachments",
    metadata,
    sa.Column("project_id", sa.BigInteger, primary_key=True),
    sa.Column("document_id", sa.BigInteger, primary_key=True),
    sa.Column("purpose", identifier(16), nullable=False),  # proposal, report, delivery, other
    sa.Column("added_by", sa.BigInteger),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "document_id"),
)

project_tags = sa.Table(
    "project_tags",
    metadata,
    sa.Column("project_id", sa.BigInteger, primary_key=True),
    sa.Column("tag_id", sa.BigInteger, primary_key=True),
    sa.Index(None, "tag_id"),
)

# Everything that ever happened to a project, in order; only added to.
project_history = sa.Table(
    "project_history",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("project_id", sa.BigInteger, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("user_id", sa.BigInteger),
    sa.Column("actor", short_text(), nullable=False),
    sa.Column("what", identifier(20), nullable=False),  # created, changed, transition, member, attachment, tag, link, audit, milestone
    sa.Column("action", identifier(20)),
    sa.Column("from_state", identifier(12)),
    sa.Column("to_state", identifier(12)),
    sa.Column("comment", LongText),
    sa.Column("detail", Json, nullable=False),
    sa.Index(None, "project_id", "id"),
    sa.Index(None, "what", "at"),
)

# Reminders that were sent: one a due date and distance.
project_reminders = sa.Table(
    "project_reminders",
    metadata,
    sa.Column("subject", short_text(60), primary_key=True),  # project:ID, audit:ID, milestone:ID, review:ID
    sa.Column("due_at", UtcDateTime, primary_key=True),
    sa.Column("days", sa.Integer, primary_key=True),  # before (positive) or after (negative)
    sa.Column("sent_at", UtcDateTime, nullable=False),
)

# A sheet of projects that somebody put in: the plan of each row by pieces, and what was written of each piece.
project_imports = sa.Table(
    "project_imports",
    metadata,
    sa.Column("id", identifier(), primary_key=True),
    sa.Column("user_id", sa.BigInteger),
    sa.Column("filename", short_text(255), nullable=False),
    sa.Column("state", identifier(12), nullable=False),  # queued, done, undoing, undone, failed
    sa.Column("counts", Json, nullable=False),
    sa.Column("rows", Json, nullable=False),
    sa.Column("written", Json, nullable=False),
    sa.Column("taken_back", sa.Integer, nullable=False),  # pieces
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("undone_at", UtcDateTime),
    sa.Index(None, "user_id", "created_at"),
)

openings = sa.Table(
    "openings",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("title", short_text(300), nullable=False),
    sa.Column("description", LongText, nullable=False),
    sa.Column("organization_id", sa.BigInteger, nullable=False),
    sa.Column("mentor_id", sa.BigInteger, nullable=False),
    sa.Column("places", sa.Integer, nullable=False),  # teams that can be taken
    sa.Column("team_least", sa.Integer, nullable=False),
    sa.Column("team_most", sa.Integer, nullable=False),
    sa.Column("state", identifier(12), nullable=False),  # draft, open, closed
    sa.Column("deadline", UtcDateTime),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index(None, "organization_id", "state"),
    sa.Index(None, "mentor_id"),
)

applications = sa.Table(
    "applications",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("opening_id", sa.BigInteger, nullable=False),
    sa.Column("applicant_id", sa.BigInteger, nullable=False),
    sa.Column("statement", LongText, nullable=False),
    sa.Column("state", identifier(12), nullable=False),  # submitted, accepted, declined, withdrawn
    sa.Column("comment", LongText),
    sa.Column("decided_by", sa.BigInteger),
    sa.Column("decided_at", UtcDateTime),
    sa.Column("project_id", sa.BigInteger),  # what an accepted one became
    sa.Column("live_key", short_text(60), unique=True),  # opening and applicant, while it is not withdrawn
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "opening_id", "state"),
    sa.Index(None, "applicant_id"),
)

application_team = sa.Table(
    "application_team",
    metadata,
    sa.Column("application_id", sa.BigInteger, primary_key=True),
    sa.Column("user_id", sa.BigInteger, primary_key=True),
    sa.Column("state", identifier(10), nullable=False),  # invited, joined, refused
    sa.Index(None, "user_id"),
)

milestones = sa.Table(
    "milestones",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("project_id", sa.BigInteger, nullable=False),
    sa.Column("title", short_text(300), nullable=False),
    sa.Column("kind", identifier(12), nullable=False),  # delivery, midterm, final
    sa.Column("due_at", UtcDateTime),
    sa.Column("state", identifier(12), nullable=False),  # open, delivered, passed, returned
    sa.Column("document_id", sa.BigInteger),
    sa.Column("note", LongText),
    sa.Column("delivered_at", UtcDateTime),
    sa.Column("checked_by", sa.BigInteger),
    sa.Column("checked_at", UtcDateTime),
    sa.Column("comment", LongText),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "project_id"),
    sa.Index(None, "state", "due_at"),
)

# A chain of review steps of a kind of project in an organization and below; each publication is a version of its own.
audit_chains = sa.Table(
    "audit_chains",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("kind", identifier(12), nullable=False),
    sa.Column("organization_id", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("state", identifier(12), nullable=False),  # draft, published, retired
    sa.Column("steps", Json, nullable=False),
    sa.Column("created_by", sa.BigInteger),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
    sa.Column("replayed_at", UtcDateTime),  # NULL again with each change
    sa.Column("published_at", UtcDateTime),
    sa.UniqueConstraint("kind", "organization_id", "version"),
)

# One step of one project's way through its chain: open until it is decided.
audits = sa.Table(
    "audits",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("project_id", sa.BigInteger, nullable=False),
    sa.Column("chain_id", sa.BigInteger),  # NULL: no chain is set, whoever may audit there decides
    sa.Column("passage", sa.Integer, nullable=False),  # the how-many-th submission
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("mode", identifier(4), nullable=False),  # any, all
    sa.Column("state", identifier(12), nullable=False),  # open, approved, returned, rejected, cancelled
    sa.Column("organization_id", sa.BigInteger, nullable=False),  # where the reviewers of this step are
    sa.Column("due_at", UtcDateTime),
    sa.Column("opened_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Index(None, "project_id", "passage", "step"),
    sa.Index(None, "state", "opened_at"),
)

# Who may decide an audit, and what each of them said.
audit_reviewers = sa.Table(
    "audit_reviewers",
    metadata,
    sa.Column("audit_id", sa.BigInteger, primary_key=True),
    sa.Column("user_id", sa.BigInteger, primary_key=True),
    sa.Column("delegated_by", sa.BigInteger),
    sa.Column("decision", identifier(10)),
    sa.Column("comment", LongText),
    sa.Column("return_to", sa.Integer),
    sa.Column("decided_at", UtcDateTime),
    sa.Index(None, "user_id", "decided_at"),
)

audit_delegations = sa.Table(
    "audit_delegations",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("to_user_id", sa.BigInteger, nullable=False),
    sa.Column("starts_at", UtcDateTime, nullable=False),
    sa.Column("ends_at", UtcDateTime, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "user_id", "ends_at"),
)

rubrics = sa.Table(
    "rubrics",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("organization_id", sa.BigInteger, nullable=False),
    sa.Column("criteria", Json, nullable=False),  # name, weight, max
    sa.Column("formula", short_text(500)),  # of the criteria's names; NULL: the weighted sum
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index(None, "organization_id"),
)

rounds = sa.Table(
    "rounds",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("organization_id", sa.BigInteger, nullable=False),
    sa.Column("rubric_id", sa.BigInteger, nullable=False),
    sa.Column("rubric", Json, nullable=False),  # the rubric as it was when the round was made
    sa.Column("state", identifier(12), nullable=False),  # draft, open, closed
    sa.Column("blind", sa.Boolean, nullable=False),  # reviewers do not see who proposes
    sa.Column("reviews_per_project", sa.Integer, nullable=False),
    sa.Column("load", sa.Integer),  # most reviews of one reviewer; NULL: no limit
    sa.Column("conflict_years", sa.Integer, nullable=False),
    sa.Column("conflict_depth", sa.Integer),  # how far above two organizations may meet and count as one; NULL: they never do
    sa.Column("due_at", UtcDateTime),
    sa.Column("revision", sa.Integer, nullable=False),  # raised with each score, so that results know their age
    sa.Column("pool_version", sa.Integer, nullable=False),  # raised with each change of who may review what, and does
    sa.Column("created_by", sa.BigInteger),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("closed_at", UtcDateTime),
    sa.Index(None, "organization_id"),
)

round_projects = sa.Table(
    "round_projects",
    metadata,
    sa.Column("round_id", sa.BigInteger, primary_key=True),
    sa.Column("project_id", sa.BigInteger, primary_key=True),
    sa.Index(None, "project_id"),
)

round_reviewers = sa.Table(
    "round_reviewers",
    metadata,
    sa.Column("round_id", sa.BigInteger, primary_key=True),
    sa.Column("user_id", sa.BigInteger, primary_key=True),
    sa.Column("load", sa.Integer),  # another one than the round's
)

review_preferences = sa.Table(
    "review_preferences",
    metadata,
    sa.Column("round_id", sa.BigInteger, primary_key=True),
    sa.Column("user_id", sa.BigInteger, primary_key=True),
    sa.Column("project_id", sa.BigInteger, primary_key=True),
    sa.Column("wish", sa.Integer, nullable=False),  # -2 … 2
)

review_conflicts = sa.Table(
    "review_conflicts",
    metadata,
    sa.Column("round_id", sa.BigInteger, primary_key=True),
    sa.Column("user_id", sa.BigInteger, primary_key=True),
    sa.Column("project_id", sa.BigInteger, primary_key=True),
    sa.Column("kind", identifier(20), nullable=False),  # declared
    sa.Column("note", short_text(500)),
    sa.Column("created_at", UtcDateTime, nullable=False),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("round_id", sa.BigInteger, nullable=False),
    sa.Column("project_id", sa.BigInteger, nullable=False),
    sa.Column("reviewer_id", sa.BigInteger, nullable=False),
    sa.Column("state", identifier(12), nullable=False),  # assigned, draft, submitted, declined
    sa.Column("scores", Json, nullable=False),
    sa.Column("total", sa.Double),
    sa.Column("comment", LongText),
    sa.Column("assigned_at", UtcDateTime, nullable=False),
    sa.Column("submitted_at", UtcDateTime),
    sa.Column("others_seen_at", UtcDateTime),
    sa.UniqueConstraint("round_id", "project_id", "reviewer_id"),
    sa.Index(None, "reviewer_id", "state"),
)

round_results = sa.Table(
    "round_results",
    metadata,
    sa.Column("round_id", sa.BigInteger, primary_key=True),
    sa.Column("revision", sa.Integer, nullable=False),  # of the round when they were computed
    sa.Column("results", Json, nullable=False),
    sa.Column("computed_at", UtcDateTime, nullable=False),
)

# Change of states by day, kind and organization, for series without reading all of history.
project_days = sa.Table(
    "project_days",
    metadata,
    sa.Column("day", identifier(10), primary_key=True),
    sa.Column("organization_id", sa.BigInteger, primary_key=True),
    sa.Column("kind", identifier(12), primary_key=True),
    sa.Column("state", identifier(12), primary_key=True),
    sa.Column("entered", sa.Integer, nullable=False),
    sa.Column("left", sa.Integer, nullable=False),
    info=GOES_WITH_ORGANIZATION,
)
