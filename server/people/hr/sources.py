"""HR sources: listed, made, changed and removed, and as jobs read them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from server.actor import Actor
from server.config import Settings as ServerSettings
from server.context import Context
from server.errors import Conflict, Invalid, NotFound
from server.paging import Page, PageQuery, page_of
from server.people.hr.field_map import FieldMap
from server.people.hr.source_schemas import UNSET, HrSource, Kind, Reading, Secrets, SourceBody, SourcePatch, Threshold
from server.people.hr.source_settings import changed_settings, new_settings
from server.people.hr.source_targets import Target, known_secrets, parse_targets, read_targets, shown, write_targets
from server.people.hr.tables import hr_departments, hr_persons, hr_runs, hr_sources, hr_targets
from server.people.organizations import check_organization, root_id
from server.platform import audit, sealing
from server.platform.tasks import Queue, TaskQueued

# Fields of a patch that are columns of their own, taken as they are.
PLAIN = ("organization_id", "enabled")


class HrSourceNotFound(NotFound):
    type = "hr_source_not_found"


class HrSourceInUse(Conflict):
    """People came from it; it can be switched off, but not forgotten."""

    type = "hr_source_in_use"


class HrSourceChanged(Conflict):
    """Somebody else changed it at the same moment."""

    type = "hr_source_changed"


class Stored(msgspec.Struct, kw_only=True):
    """What the column `settings` holds. `thresholds_by` and `thresholds_at`: who changed the thresholds last, and when."""

    reading: Reading
    early_days: int = 0
    thresholds_by: int | None = None
    thresholds_at: datetime | None = None


class Source(msgspec.Struct, kw_only=True):
    """A source as jobs read it; its secrets stay sealed until they are needed."""

    id: int
    name: str
    kind: Kind
    organization_id: int
    enabled: bool
    reading: Reading
    field_map: FieldMap
    thresholds: dict[str, Threshold]
    early_days: int
    version: int
    updated_by: int | None
    thresholds_by: int | None
    thresholds_at: datetime | None
    sealed: str | None


def get_source(connection: sa.Connection, source_id: int) -> Source:
    """Raises HrSourceNotFound."""
    return _source(_row(connection, source_id))


def find_source(connection: sa.Connection, ref: int | str) -> Source:
    """The source of that name, else of that number. Raises HrSourceNotFound."""
    named = connection.execute(sa.select(hr_sources).where(hr_sources.c.name == str(ref).strip())).one_or_none()
    if isinstance(ref, str) and named is not None:
        return _source(named)
    if isinstance(ref, int) or (ref.isascii() and ref.isdigit() and len(ref) < 16):
        return get_source(connection, int(ref))
    raise HrSourceNotFound()


def enabled_source_ids(connection: sa.Connection) -> list[int]:
    return list(connection.execute(sa.select(hr_sources.c.id).where(hr_sources.c.enabled).order_by(hr_sources.c.id)).scalars())


def source_names(connection: sa.Connection, ids: Iterable[int]) -> dict[int, str]:
    """The names of at most some hundreds of sources, by number."""
    found = connection.execute(sa.select(hr_sources.c.id, hr_sources.c.name).where(hr_sources.c.id.in_(sorted(set(ids)))))
    return {row.id: row.name for row in found}


def secrets_of(ctx: Context, source: Source) -> Secrets:
    """Raises SealBroken."""
    return msgspec.convert(sealing.unseal(ctx, source.sealed), Secrets)


def files_folder(settings: ServerSettings) -> Path:
    """Below which files and SQLite databases of HR may be."""
    return settings.hr_files


async def list_sources(ctx: Context, query: PageQuery) -> Page[HrSource]:
    """All sources, by page; `q` searches names."""
    sortable = {name: hr_sources.c[name] for name in ("id", "name", "kind", "enabled", "created_at", "updated_at")}

    def transaction(connection: sa.Connection) -> Page[HrSource]:
        page = page_of(
            connection, sa.select(hr_sources), query, lambda row: row, sortable=sortable, searched=(hr_sources.c.name,), order="id"
        )
        return Page([_shown(ctx, connection, row) for row in page.items], page.total, page.page, page.page_size)

    return await ctx.sql.read(transaction)


async def show_source(ctx: Context, source_id: int) -> HrSource:
    """Raises HrSourceNotFound."""
    return await ctx.sql.read(lambda connection: _shown(ctx, connection, _row(connection, source_id)))


async def create_source(ctx: Context, actor: Actor, body: SourceBody) -> HrSource:
    """Raises Invalid naming the fields."""
    now = ctx.clock.now()
    name = _cleaned(body.name)
    reading, secrets, _ = new_settings(body)
    targets = parse_targets(body.targets, {})
    stored = Stored(reading=reading, early_days=body.early_days, thresholds_by=actor.user_id, thresholds_at=now)
    values: dict[str, Any] = {
        "name": name,
        "kind": body.kind,
        "enabled": body.enabled,
        "settings": msgspec.to_builtins(stored),
        "sealed": sealing.seal(ctx, msgspec.to_builtins(secrets)),
        "field_map": msgspec.to_builtins(body.field_map),
        "thresholds": msgspec.to_builtins(body.thresholds.given()),
        "version": 1,
    }

    def transaction(connection: sa.Connection) -> HrSource:
        organization_id = body.organization_id or root_id(connection)
        check_organization(connection, organization_id)
        _check_free(connection, name, None)
        times = {"created_at": now, "updated_at": now, "updated_by": actor.user_id}
        made = connection.execute(hr_sources.insert().values(**values, organization_id=organization_id, **times))
        assert made.inserted_primary_key is not None
        source_id = int(made.inserted_primary_key[0])
        write_targets(ctx, connection, now, source_id, targets)
        detail = {"name": name, "kind": body.kind, "where": _where(reading), "targets": [target.name for target in targets]}
        audit.note(connection, now, actor, "hr_source.create", f"hr_source:{source_id}", **detail, thresholds=values["thresholds"])
        return _shown(ctx, connection, _row(connection, source_id))

    try:
        return await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:  # made by somebody else at the same moment
        raise Invalid.field("name", "field.taken") from None


async def change_source(ctx: Context, actor: Actor, source_id: int, patch: SourcePatch) -> HrSource:
    """What is left out stays. A new `url` makes us forget the secrets that are not given anew; the answer's `dropped` names them.

    Raises HrSourceNotFound, HrSourceChanged, TargetInUse and Invalid naming the fields.
    """
    now = ctx.clock.now()
    given = sorted(name for name, value in msgspec.structs.asdict(patch).items() if value is not UNSET)

    def transaction(connection: sa.Connection) -> HrSource:
        row = _row(connection, source_id)
        source = _source(row)
        secrets = msgspec.convert(known_secrets(ctx, row.sealed), Secrets)
        reading, secrets, dropped = changed_settings(source.kind, source.reading, secrets, patch)
        stored = msgspec.convert(row.settings, Stored)
        stored.reading = reading
        stored.early_days = stored.early_days if patch.early_days is UNSET else patch.early_days
        values: dict[str, Any] = {name: value for name in PLAIN if (value := getattr(patch, name)) is not UNSET}
        if patch.name is not UNSET:
            values["name"] = _cleaned(patch.name)
            _check_free(connection, values["name"], source_id)
        if patch.organization_id is not UNSET:
            check_organization(connection, patch.organization_id)
        if patch.field_map is not UNSET:
            values["field_map"] = msgspec.to_builtins(patch.field_map)
        detail: dict[str, Any] = {"fields": given, "where": _where(reading)}
        if patch.thresholds is not UNSET and patch.thresholds.given() != source.thresholds:
            values["thresholds"] = msgspec.to_builtins(patch.thresholds.given())
            stored.thresholds_by, stored.thresholds_at = actor.user_id, now
            detail.update(before=row.thresholds, thresholds=values["thresholds"])
        if patch.targets is not UNSET:
            before = read_targets(ctx, connection, source_id)
            targets = parse_targets(patch.targets, {target.name: target for target in before})
            if targets != before:
                write_targets(ctx, connection, now, source_id, targets)
            detail["targets"] = [target.name for target in targets]
        values["settings"] = msgspec.to_builtins(stored)
        values["sealed"] = sealing.seal(ctx, msgspec.to_builtins(secrets))
        values |= {"version": source.version + 1, "updated_at": now, "updated_by": actor.user_id}
        unchanged = (hr_sources.c.id == source_id, hr_sources.c.version == source.version)
        if connection.execute(hr_sources.update().where(*unchanged).values(**values)).rowcount != 1:
            raise HrSourceChanged()
        audit.note(connection, now, actor, "hr_source.change", f"hr_source:{source_id}", **detail, dropped=dropped)
        made = _shown(ctx, connection, _row(connection, source_id))
        return msgspec.structs.replace(made, dropped=dropped)

    try:
        changed = await ctx.sql.write(transaction)
    except sa.exc.IntegrityError:
        raise Invalid.field("name", "field.taken") from None
    await ctx.events.publish(TaskQueued(Queue.ACCOUNT_TASKS.value))
    return changed


async def remove_source(ctx: Context, actor: Actor, source_id: int) -> None:
    """Remove a source from which nothing came. Raises HrSourceNotFound, HrSourceInUse."""
    now = ctx.clock.now()

    def transaction(connection: sa.Connection) -> None:
        row = _row(connection, source_id)
        for table in (hr_persons, hr_departments, hr_runs):
            if connection.execute(sa.select(table.c.id).where(table.c.source_id == source_id).limit(1)).first():
                raise HrSourceInUse(name=row.name)
        connection.execute(hr_targets.delete().where(hr_targets.c.source_id == source_id))
        connection.execute(hr_sources.delete().where(hr_sources.c.id == source_id))
        audit.note(connection, now, actor, "hr_source.delete", f"hr_source:{source_id}", name=row.name, kind=row.kind)

    await ctx.sql.write(transaction)


def _row(connection: sa.Connection, source_id: int) -> Any:
    row = connection.execute(sa.select(hr_sources).where(hr_sources.c.id == source_id)).one_or_none()
    if row is None:
        raise HrSourceNotFound()
    return row


def _source(row: Any) -> Source:
    stored = msgspec.convert(row.settings, Stored)
    return Source(
        id=row.id,
        name=row.name,
        kind=cast(Kind, row.kind),
        organization_id=row.organization_id,
        enabled=row.enabled,
        reading=stored.reading,
        field_map=msgspec.convert(row.field_map, FieldMap),
        thresholds=msgspec.convert(row.thresholds, dict[str, Threshold]),
        early_days=stored.early_days,
        version=row.version,
        updated_by=row.updated_by,
        thresholds_by=stored.thresholds_by,
        thresholds_at=stored.thresholds_at,
        sealed=row.sealed,
    )


def _shown(ctx: Context, connection: sa.Connection, row: Any) -> HrSource:
    source = _source(row)
    secrets = msgspec.convert(known_secrets(ctx, row.sealed), Secrets)
    targets: list[Target] = read_targets(ctx, connection, row.id)
    return HrSource(
        **msgspec.structs.asdict(source.reading),
        id=source.id,
        name=source.name,
        kind=source.kind,
        organization_id=source.organization_id,
        enabled=source.enabled,
        token="set" if secrets.token else None,
        password="set" if secrets.password else None,
        dsn="set" if secrets.dsn else None,
        headers=dict.fromkeys(secrets.headers, "set"),
        field_map=source.field_map,
        thresholds=source.thresholds,
        early_days=source.early_days,
        targets=[shown(target) for target in targets],
        version=source.version,
        created_at=row.created_at,
        updated_at=row.updated_at,
        updated_by=source.updated_by,
    )


def _where(reading: Reading) -> str:
    """Where it reads, for the audit log; what stands behind the question mark may be a key."""
    return reading.url.partition("?")[0] or reading.path or reading.query[:200]


def _cleaned(name: str) -> str:
    cleaned = name.strip()
    if not cleaned:
        raise Invalid.field("name", "field.empty")
    if not cleaned.isprintable():
        raise Invalid.field("name", "organization.unprintable")
    return cleaned


def _check_free(connection: sa.Connection, name: str, but: int | None) -> None:
    taken = connection.execute(sa.select(hr_sources.c.id).where(hr_sources.c.name == name)).scalar()
    if taken is not None and taken != but:
        raise Invalid.field("name", "field.taken")
