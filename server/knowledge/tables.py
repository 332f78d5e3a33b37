"""Tables of knowledge: documents, their pages and chunks, vector indexes, tags, conversations, evaluations."""

from __future__ import annotations

import sqlalchemy as sa

from server.engines.schema import Json, LongText, UtcDateTime, identifier, metadata, serial, short_text

documents = sa.Table(
    "knowledge_documents",  # `documents` is the embedded document store
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("organization_id", sa.BigInteger, nullable=False),
    sa.Column("project_id", sa.BigInteger),
    sa.Column("owner_id", sa.BigInteger),  # NULL when no person put it in
    sa.Column("visibility", identifier(16), nullable=False),
    sa.Column("title", short_text(300), nullable=False),
    sa.Column("filename", short_text(255), nullable=False),
    sa.Column("sha256", identifier(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("status", identifier(16), nullable=False),
    sa.Column("progress", sa.Integer, nullable=False),
    sa.Column("error", Json),  # a Text: key and parameters of a sentence
    sa.Column("task_id", identifier()),
    sa.Column("language", identifier(8), nullable=False),
    sa.Column("pages", sa.Integer, nullable=False),
    sa.Column("unreadable", sa.Integer, nullable=False),  # pages that could not be read
    sa.Column("ocr", sa.Boolean, nullable=False),
    sa.Column("reader", sa.Integer, nullable=False),  # the version of reading and chunking that made its chunks
    sa.Column("survey", Json),
    # The generation of chunks that is being built; `built` is the one that is served (0: none is complete yet).
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("built", sa.Integer, nullable=False),
    # How often this generation went wrong by a fault, not for an engine that was away.
    sa.Column("faults", sa.Integer, nullable=False, default=0),
    # How far reading has come in this generation, and what the next page needs from the one before.
    sa.Column("pages_read", sa.Integer, nullable=False),
    sa.Column("carry", Json),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("ready_at", UtcDateTime),
    sa.Index(None, "organization_id", "created_at"),
    sa.Index(None, "sha256"),
    sa.Index(None, "owner_id"),
    sa.Index(None, "project_id"),
    sa.Index(None, "status"),
)

document_pages = sa.Table(
    "document_pages",
    metadata,
    sa.Column("document_id", sa.BigInteger, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("width", sa.Float, nullable=False),
    sa.Column("height", sa.Float, nullable=False),
    sa.Column("language", identifier(8), nullable=False),
    sa.Column("blocks", Json, nullable=False),
)

chunks = sa.Table(
    "chunks",
    metadata,
    sa.Column("id", identifier(), primary_key=True),  # a hash of the document, the place and the text
    sa.Column("document_id", sa.BigInteger, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),  # the newest that it belongs to
    sa.Column("state", identifier(12), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("page", sa.Integer, nullable=False),
    sa.Column("language", identifier(8), nullable=False),
    sa.Column("path", Json, nullable=False),
    sa.Column("text", LongText, nullable=False),
    sa.Column("boxes", Json, nullable=False),
    sa.Index(None, "document_id", "state", "number"),
    sa.Index(None, "document_id", "page"),
)

# The collections of vectors: one is served, one may be under construction for another model.
vector_indexes = sa.Table(
    "vector_indexes",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("collection", identifier(64), nullable=False, unique=True),
    sa.Column("model", short_text(), nullable=False),
    sa.Column("url", short_text(300), nullable=False),  # where the model is asked; empty for the bundled one
    sa.Column("dim", sa.Integer, nullable=False),
    sa.Column("state", identifier(12), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("changed_at", UtcDateTime, nullable=False),
)

# Vectors that are to be removed from every collection: written with what removes their chunks, done when Milvus answers.
vector_removals = sa.Table(
    "vector_removals",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("document_id", sa.BigInteger, nullable=False),
    sa.Column("chunk_ids", Json),  # NULL: all of the document
    sa.Column("created_at", UtcDateTime, nullable=False),
)

tags = sa.Table(
    "tags",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("organization_id", sa.BigInteger, nullable=False),
    sa.Column("name", short_text(64), nullable=False),
    sa.Column("description", short_text(500), nullable=False),
    sa.Column("keywords", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("organization_id", "name"),
)

document_tags = sa.Table(
    "document_tags",
    metadata,
    sa.Column("document_id", sa.BigInteger, primary_key=True),
    sa.Column("tag_id", sa.BigInteger, primary_key=True),
    sa.Column("source", identifier(12), nullable=False),  # person or job
    sa.Column("score", sa.Float),
    sa.Column("reason", Json),  # a Text
    sa.Column("user_id", sa.BigInteger),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "tag_id"),
)

# Tags that a person took off a document: the job does not put them on again.
refused_tags = sa.Table(
    "refused_tags",
    metadata,
    sa.Column("document_id", sa.BigInteger, primary_key=True),
    sa.Column("tag_id", sa.BigInteger, primary_key=True),
)

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", identifier(), primary_key=True),
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("title", short_text(300), nullable=False),
    sa.Column("scope", Json, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Index(None, "user_id", "updated_at"),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", identifier(), primary_key=True),
    sa.Column("conversation_id", identifier(), nullable=False),
    sa.Column("role", identifier(12), nullable=False),  # person or assistant
    sa.Column("text", LongText, nullable=False),
    sa.Column("mode", identifier(12)),  # llm, extractive or unknown; NULL for a person's
    sa.Column("state", identifier(12), nullable=False),  # complete, or broken off by the model, the client or a restart
    sa.Column("citations", Json, nullable=False),
    sa.Column("feedback", sa.Integer),  # 1 or -1
    sa.Column("feedback_comment", short_text(1000)),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Index(None, "conversation_id", "created_at"),
)

evaluation_sets = sa.Table(
    "evaluation_sets",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("organization_id", sa.BigInteger, nullable=False),
    sa.Column("name", short_text(), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("organization_id", "name"),
)

evaluation_questions = sa.Table(
    "evaluation_questions",
    metadata,
    sa.Column("id", serial(), primary_key=True),
    sa.Column("set_id", sa.BigInteger, nullable=False),
    sa.Column("question", short_text(1000), nullable=False),
    sa.Column("kind", short_text(64), nullable=False),
    sa.Column("expected", Json, nullable=False),  # [{document_id, pages}]
    sa.Index(None, "set_id"),
)

evaluation_runs = sa.Table(
    "evaluation_runs",
    metadata,
    sa.Column("id", identifier(), primary_key=True),
    sa.Column("set_id", sa.BigInteger, nullable=False),
    sa.Column("task_id", identifier(), nullable=False),
    sa.Column("state", identifier(12), nullable=False),  # queued, running, succeeded, failed
    sa.Column("model", short_text(), nullable=False),
    sa.Column("figures", Json),
    sa.Column("error", Json),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("ended_at", UtcDateTime),
    sa.Index(None, "set_id", "created_at"),
)
