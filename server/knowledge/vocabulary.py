"""The vocabulary of tags of each organization: list, make, change, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict, Forbidden, Invalid
from server.knowledge.access import MANAGE, READ, visible, within
from server.knowledge.errors import TagNotFound
from server.knowledge.schemas import TagName
from server.knowledge.tables import document_tags, documents, refused_tags, tags
from server.paging import Page, PageQuery, page_of
from server.people.organizations import check_organization, home_of
from server.platform import audit
from server.platform.tasks import Queue, TaskQueued, enqueue

APPLY_TAGS = "apply_tags"
# Each tag is compared with each new document.
MOST_TAGS = 500

Description = Annotated[str, msgspec.Meta(max_length=500)]
Keywords = Annotated[list[TagName], msgspec.Meta(max_length=30)]


class TagsApplying(Conflict):
    """The documents of the organization are being looked at already."""

    type = "tags_applying"


class Tag(msgspec.Struct, kw_only=True):
    """A tag. `documents`: how many that the caller may see have it."""

    id: int
    organization_id: int
    name: str
    description: str
    keywords: list[str]
    documents: int
    may_change: bool
    created_at: datetime
    updated_at: datetime


class TagQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    organization_id: int | None = None


class TagBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new tag; without an organization it is the caller's own one's. Keywords are words that tell of it in a text."""

    name: TagName
    description: Description = ""
    keywords: Keywords = []
    organization_id: int | None = None


class TagPatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays."""

    name: TagName | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    keywords: Keywords | msgspec.UnsetType = msgspec.UNSET


class ApplyAnswer(msgspec.Struct):
    """The task that looks at the organization's documents again; its progress is that of the topic task:TASK_ID."""

    task_id: str


def _tags_of(ctx: Context, actor: Actor) -> sa.Select[Any]:
    """The tags that the caller may see, each with the number of documents."""
    on = sa.select(sa.func.count()).select_from(document_tags.join(documents, documents.c.id == document_tags.c.document_id))
    count = on.where(document_tags.c.tag_id == tags.c.id, visible(ctx, actor)).correlate(tags).scalar_subquery()
    return sa.select(tags, count.label("documents")).where(
        sa.or_(within(tags.c.organization_id, actor.organizations(READ)), within(tags.c.organization_id, actor.organizations(MANAGE)))
    )


async def list_tags(ctx: Context, actor: Actor, query: TagQuery) -> Page[Tag]:
    """The tags of the organizations whose documents the caller may read; `q` searches names and descriptions."""
    wanted = _tags_of(ctx, actor)
    if query.organization_id is not None:
        wanted = wanted.where(tags.c.organization_id == query.organization_id)
    sortable = {"id": tags.c.id, "name": tags.c.name, "created_at": tags.c.created_at, "updated_at": tags.c.updated_at}
    return await ctx.sql.read(
        lambda connection: page_of(
            connection,
            wanted,
            query,
            lambda row: _shown(row, actor),
            sortable=sortable,
            searched=(tags.c.name, tags.c.description),
            order="name",
        )
    )


async def get_tag(ctx: Context, actor: Actor, tag_id: int) -> Tag:
    """Raises TagNotFound."""
    return await ctx.sql.read(lambda connection: _access(ctx, connection, actor, tag_id))


async def create_tag(ctx: Context, actor: Actor, body: TagBody) -> Tag:
    """Raises Forbidden, Invalid naming the field."""
    now = ctx.clock.now()
    name, keywords = _checked_name(body.name), _cleaned(body.keywords)

    def transaction(connection: sa.Connection) -> Tag:
        organization_id = body.organization_id if body.organization_id is not None else home_of(connection, actor.user_id)
        if not actor.may(MANAGE, organization_id):
            raise Forbidden(scope=MANAGE)
        check_organization(connection, organization_id)
        _check_free(connection, organization_id, name, None)
        number = sa.select(sa.func.count()).select_from(tags).where(tags.c.organization_id == organization_id)
        if connection.execute(number).scalar_one() >= MOST_TAGS:
            raise Invalid.field("name", "tag.most", limit=MOST_TAGS)
        values = {"organization_id": organization_id, "name": name, "description": body.description.strip(), "keywords": keywords}
        made = connection.execute(tags.insert().values(**values, created_at=now, updated_at=now)).inserted_primary_key
        assert made is not None
        tag_id = int(made[0])
        audit.note(connection, now, actor, "tag.create", f"tag:{tag_id}", name=name, organization_id=organization_id)
        return _access(ctx, connection, actor, tag_id)

    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # made by somebody else at the same moment
        raise Invalid.field("name", "field.taken") from None


async def change_tag(ctx: Context, actor: Actor, tag_id: int, patch: TagPatch) -> Tag:
    """Raises TagNotFound, Forbidden, Invalid naming the field. Documents keep the tag; `apply_tags` looks at them again."""
    now = ctx.clock.now()
    changes = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not msgspec.UNSET}
    if "name" in changes:
        changes["name"] = _checked_name(changes["name"])
    if "keywords" in changes:
        changes["keywords"] = _cleaned(changes["keywords"])

    def transaction(connection: sa.Connection) -> Tag:
        tag = _access(ctx, connection, actor, tag_id, to_change=True)
        if changes:
            if "name" in changes:
                _check_free(connection, tag.organization_id, changes["name"], tag_id)
            connection.execute(tags.update().where(tags.c.id == tag_id).values(updated_at=now, **changes))
            audit.note(connection, now, actor, "tag.change", f"tag:{tag_id}", **changes)
        return _access(ctx, connection, actor, tag_id)

    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:
        raise Invalid.field("name", "field.taken") from None


async def remove_tag(ctx: Context, actor: Actor, tag_id: int) -> None:
    """Remove a tag, from all documents too. Raises TagNotFound, Forbidden."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        tag = _access(ctx, connection, actor, tag_id, to_change=True)
        for table in (document_tags, refused_tags):
            connection.execute(table.delete().where(table.c.tag_id == tag_id))
        connection.execute(tags.delete().where(tags.c.id == tag_id))
        audit.note(connection, now, actor, "tag.delete", f"tag:{tag_id}", name=tag.name, organization_id=tag.organization_id)

    await ctx.sql.write(transaction)


async def apply_tags(ctx: Context, actor: Actor, tag_id: int) -> ApplyAnswer:
    """Have the documents of the tag's organization looked at again, for all tags. Raises TagNotFound, Forbidden, TagsApplying."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> str:
        tag = _access(ctx, connection, actor, tag_id, to_change=True)
        payload, key = {"organization_id": tag.organization_id}, f"{APPLY_TAGS}:{tag.organization_id}"
        task_id = enqueue(connection, Queue.MAINTENANCE, APPLY_TAGS, payload, now=now, max_attempts=20, unique_key=key)
        if task_id is None:
            raise TagsApplying()
        audit.note(connection, now, actor, "tag.apply", f"tag:{tag_id}", organization_id=tag.organization_id)
        return task_id

    task_id = await ctx.sql.write(transaction)
    await ctx.events.publish(TaskQueued(Queue.MAINTENANCE.value))
    return ApplyAnswer(task_id)


def _access(ctx: Context, connection: sa.Connection, actor: Actor, tag_id: int, *, to_change: bool = False) -> Tag:
    row = connection.execute(_tags_of(ctx, actor).where(tags.c.id == tag_id)).one_or_none()
    if row is None:
        raise TagNotFound()
    if to_change and not actor.may(MANAGE, row.organization_id):
        raise Forbidden(scope=MANAGE)
    return _shown(row, actor)


def _shown(row: Any, actor: Actor) -> Tag:
    plain = {name: getattr(row, name) for name in Tag.__struct_fields__ if name != "may_change"}
    return Tag(**plain, may_change=actor.may(MANAGE, row.organization_id))


def _checked_name(name: str) -> str:
    """Names are listed with commas where documents are uploaded and searched."""
    name = " ".join(name.split())
    if not name or "," in name or "，" in name or "\x00" in name:
        raise Invalid.field("name", "tag.comma")
    return name


def _cleaned(keywords: list[str]) -> list[str]:
    cleaned = (" ".join(word.replace("\x00", " ").split()) for word in keywords)
    return list(dict.fromkeys(word for word in cleaned if word))


def _check_free(connection: sa.Connection, organization_id: int, name: str, own: int | None) -> None:
    taken = connection.execute(sa.select(tags.c.id).where(tags.c.organization_id == organization_id, tags.c.name == name)).scalar()
    if taken is not None and taken != own:
        raise Invalid.field("name", "field.taken")
