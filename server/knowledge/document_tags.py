"""The tags on documents: who put them there and why; set by people, written by the job above a threshold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Invalid
from server.knowledge.access import access_document
from server.knowledge.schemas import TagName, TagRef
from server.knowledge.tables import document_tags, refused_tags, tags
from server.knowledge.wording import sentence
from server.messages import Locale
from server.platform import audit


class TagsPut(msgspec.Struct, forbid_unknown_fields=True):
    """The tags that a document is to have, by name; all others are taken off."""

    tags: Annotated[list[TagName], msgspec.Meta(max_length=50)]


def tags_named(connection: sa.Connection, organization_id: int, names: Sequence[str]) -> list[int]:
    """The ids of an organization's tags by name. Raises Invalid for a name that its vocabulary does not have."""
    if not names:
        return []
    known = sa.select(tags.c.name, tags.c.id).where(tags.c.organization_id == organization_id, tags.c.name.in_(list(names)))
    found = {row.name: row.id for row in connection.execute(known)}
    missing = [name for name in names if name not in found]
    if missing:
        raise Invalid.field("tags", "knowledge.no_tag", names=", ".join(missing))
    return list(dict.fromkeys(found[name] for name in names))


def tags_of(connection: sa.Connection, document_ids: Collection[int], locale: Locale) -> dict[int, list[TagRef]]:
    """The tags of documents, by document."""
    found: dict[int, list[TagRef]] = {}
    if not document_ids:
        return found
    wanted = (
        sa.select(document_tags, tags.c.name)
        .join(tags, tags.c.id == document_tags.c.tag_id)
        .where(document_tags.c.document_id.in_(list(document_ids)))
        .order_by(document_tags.c.document_id, tags.c.name)
    )
    for row in connection.execute(wanted):
        ref = TagRef(row.tag_id, row.name, row.source, row.score, sentence(row.reason, locale))
        found.setdefault(row.document_id, []).append(ref)
    return found


async def put_tags(ctx: Context, actor: Actor, document_id: int, names: Sequence[str]) -> list[TagRef]:
    """Set a document's tags. What the job had written and is kept is the person's from now on; what is taken off the job does not write
    again. Raises Invalid, Forbidden.
    """
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> list[TagRef]:
        row = access_document(ctx, connection, actor, document_id, to_change=True)
        wanted = set(tags_named(connection, row.organization_id, names))
        held = set(connection.execute(sa.select(document_tags.c.tag_id).where(document_tags.c.document_id == document_id)).scalars())
        take_off(connection, document_id, held - wanted)
        kept = document_tags.update().where(document_tags.c.document_id == document_id, document_tags.c.source == "job")
        connection.execute(kept.values(source="person", user_id=actor.user_id))
        for tag_id in sorted(wanted - held):
            connection.execute(
                document_tags.insert().values(
                    document_id=document_id, tag_id=tag_id, source="person", user_id=actor.user_id, created_at=now
                )
            )
        refused = refused_tags.delete().where(refused_tags.c.document_id == document_id, refused_tags.c.tag_id.in_(sorted(wanted)))
        connection.execute(refused)
        audit.note(connection, now, actor, "document.tags", f"document:{document_id}", tags=list(names))
        return tags_of(connection, [document_id], actor.locale).get(document_id, [])

    return await ctx.sql.write(transaction)


def take_off(connection: sa.Connection, document_id: int, tag_ids: Iterable[int]) -> None:
    """Take tags off a document, and remember that a person did not want them there."""
    for tag_id in sorted(tag_ids):
        connection.execute(document_tags.delete().where(document_tags.c.document_id == document_id, document_tags.c.tag_id == tag_id))
        connection.execute(refused_tags.insert().values(document_id=document_id, tag_id=tag_id))
