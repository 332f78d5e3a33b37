"""Title and summary of each project as a vector, so that projects are found by what they mean."""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa

from server.context import Context
from server.engines.embedding import EmbeddingModel, Passage
from server.engines.vectors import Row
from server.knowledge.words import language
from server.platform.tasks import Queue, TaskQueued, enqueue
from server.projects.effects import Effects
from server.projects.states import ProjectState
from server.projects.tables import projects

INDEX_PROJECT = "projects.index"
# What a model reads of a summary, in characters; what follows it would be cut.
READ = 1000
PIECE = 500


def collection_name(model: EmbeddingModel) -> str:
    """The collection of a model."""
    return "projects_" + hashlib.sha256(f"{model.url}\n{model.name}\n{model.dim}".encode()).hexdigest()[:24]


async def prepared(ctx: Context) -> str:
    """The collection of the present model, there and loaded. Raises EngineAway."""
    model = await ctx.embedding.model()
    collection = collection_name(model)
    await ctx.vectors.prepare(collection, model.dim)
    return collection


def row_id(project: Any) -> str:
    """The id of a project's row, another one for another text."""
    said = hashlib.sha256(_text(project).encode()).hexdigest()[:16]
    return f"{project.id:x}{said}"


def queue(connection: sa.Connection, effects: Effects, project_id: int, version: int) -> None:
    """Have the text of a project's version read, in the transaction that makes it. Drafts are not read: few may see them."""
    key = f"{INDEX_PROJECT}:{project_id}:{version}"
    enqueue(connection, Queue.DOCUMENTS, INDEX_PROJECT, {"project_id": project_id}, now=effects.now, unique_key=key, max_attempts=30)
    effects.events.append(TaskQueued(Queue.DOCUMENTS.value))


async def index(ctx: Context, project_id: int) -> bool:
    """Bring the vector of a project up to date; whether anything was to be done. Raises EngineAway."""
    project = await ctx.sql.read(
        lambda connection: connection.execute(sa.select(projects).where(projects.c.id == project_id)).one_or_none()
    )
    collection = await prepared(ctx)
    held = await ctx.vectors.ids(collection, project_id)
    wanted = set() if project is None else {row_id(project)}
    if project is not None and wanted - held:
        said = _text(project)
        [vector] = await ctx.embedding.passages([Passage(said, project.title, language(said))])
        row = Row(row_id(project), project.id, project.organization_id, language(said), said, vector)
        await ctx.vectors.put(collection, [row])
    if held - wanted:
        await ctx.vectors.remove(collection, ids=sorted(held - wanted))
    return held != wanted


async def index_missing(ctx: Context) -> int:
    """Have every project read that has no vector of the present model; how many. Raises EngineAway."""
    collection = await prepared(ctx)
    held = await ctx.vectors.document_ids(collection)
    queued, after = 0, 0
    proposed = projects.c.state != ProjectState.DRAFT.value
    while True:
        some = sa.select(projects.c.id).where(projects.c.id > after, proposed).order_by(projects.c.id).limit(PIECE)
        ids = list(await ctx.sql.read(lambda connection, some=some: connection.execute(some).scalars().all()))  # type: ignore[misc]
        if not ids:
            return queued
        after = ids[-1]
        missing = [project_id for project_id in ids if project_id not in held]

        def put(connection: sa.Connection, missing: list[int] = missing) -> None:
            effects = Effects(ctx)
            for project_id in missing:
                queue(connection, effects, project_id, 0)

        if missing:
            await ctx.sql.write(put)
            await ctx.events.publish(TaskQueued(Queue.DOCUMENTS.value))
            queued += len(missing)


def _text(project: Any) -> str:
    return f"{project.title}\n{project.summary[:READ]}".strip()
