"""The targets of a source: read from a body, matched by name with those that are there, their secrets kept or forgotten."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.errors import Conflict, Fields, Invalid
from server.messages import Text, text
from server.people.hr.account_tasks import derive_anew
from server.people.hr.source_schemas import HrTarget
from server.people.hr.tables import account_tasks, hr_accounts, hr_targets
from server.people.hr.targets.settings import SECRET_FIELDS, TARGET_KINDS, wrong_settings
from server.platform import sealing

# Settings that say where a target is; a secret is not sent to another place than it was given for.
PLACES = ("url",)
_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_NAMED = re.compile(r"(?:missing required|contains unknown) field `(?P<name>[^`]+)`")


class TargetInUse(Conflict):
    """Accounts were made in it; it can be switched off, but not forgotten."""

    type = "hr_target_in_use"


class Target(msgspec.Struct, kw_only=True):
    """A target as it is kept; `id` None when it is new."""

    id: int | None
    name: str
    kind: str
    enabled: bool
    settings: dict[str, Any]
    secrets: dict[str, Any]


def known_secrets(ctx: Context, sealed: str | None) -> dict[str, Any]:
    """The secrets as far as they can be opened: after SECRET_KEY was changed there are none, and they must be given again."""
    try:
        return sealing.unseal(ctx, sealed)
    except sealing.SealBroken:
        return {}


def read_targets(ctx: Context, connection: sa.Connection, source_id: int) -> list[Target]:
    """A source's targets with their secrets."""
    return [
        Target(id=row.id, name=row.name, kind=row.kind, enabled=row.enabled, settings=row.settings, secrets=known_secrets(ctx, row.sealed))
        for row in connection.execute(sa.select(hr_targets).where(hr_targets.c.source_id == source_id).order_by(hr_targets.c.id))
    ]


def shown(target: Target) -> HrTarget:
    """A target as it is shown."""
    assert target.id is not None
    secrets = {name: "set" if name in target.secrets else None for name in SECRET_FIELDS[target.kind]}
    return HrTarget(id=target.id, name=target.name, kind=target.kind, enabled=target.enabled, settings={**target.settings, **secrets})


def parse_targets(given: list[str | dict[str, Any]], kept: Mapping[str, Target]) -> list[Target]:
    """The targets of a body; `kept` are those that are there, by name. Raises Invalid naming the fields, such as `targets[0].url`."""
    found: list[Target] = []
    wrong: Fields = {}
    for number, one in enumerate(given):
        try:
            target = _parse(one, kept)
            if any(target.name == other.name for other in found):
                raise Invalid.field("name", "field.taken")
            found.append(target)
        except Invalid as invalid:
            wrong.update({f"targets[{number}].{name}" if name else f"targets[{number}]": why for name, why in invalid.fields.items()})
    if wrong:
        raise Invalid(fields=wrong)
    return found


def write_targets(ctx: Context, connection: sa.Connection, now: datetime, source_id: int, targets: list[Target]) -> None:
    """Make these the targets of the source, and have everybody looked at in their light. Raises TargetInUse."""
    ids = {target.id for target in targets if target.id is not None}
    there = sa.select(hr_targets.c.id, hr_targets.c.name).where(hr_targets.c.source_id == source_id)
    for row in connection.execute(there).all():
        if row.id not in ids:
            _check_unused(connection, row.id, row.name)
            connection.execute(hr_targets.delete().where(hr_targets.c.id == row.id))
    for target in targets:
        values = {"enabled": target.enabled, "settings": target.settings, "sealed": sealing.seal(ctx, target.secrets), "updated_at": now}
        if target.id is None:
            made = {"source_id": source_id, "name": target.name, "kind": target.kind, "created_at": now}
            connection.execute(hr_targets.insert().values(**made, **values))
        else:
            connection.execute(hr_targets.update().where(hr_targets.c.id == target.id).values(**values))
    derive_anew(connection, now, source_id)


def _check_unused(connection: sa.Connection, target_id: int, name: str) -> None:
    for table in (hr_accounts, account_tasks):
        if connection.execute(sa.select(table.c.id).where(table.c.target_id == target_id).limit(1)).first():
            raise TargetInUse(name=name)


def _parse(given: str | dict[str, Any], kept: Mapping[str, Target]) -> Target:
    """Raises Invalid; a field "" stands for the whole."""
    body = {"kind": given} if isinstance(given, str) else dict(given)
    kind = body.pop("kind", None)
    if not isinstance(kind, str) or kind not in TARGET_KINDS:
        raise Invalid(fields={"" if isinstance(given, str) else "kind": [text("field.choice", choices=", ".join(TARGET_KINDS))]})
    name = body.pop("name", kind)
    if not isinstance(name, str) or not 0 < len(name.strip()) <= 190 or not name.isprintable():
        raise Invalid.field("name", "field.value", detail="1–190")
    enabled = body.pop("enabled", True)
    if not isinstance(enabled, bool):
        raise Invalid.field("enabled", "field.type", expected="bool", got=type(enabled).__name__)
    before = kept.get(name.strip())
    if before is not None and before.kind != kind:
        raise Invalid.field("kind", "hr.source.target_kind", kind=before.kind)
    return _merged(kind, name.strip(), enabled, body, before)


def _merged(kind: str, name: str, enabled: bool, body: dict[str, Any], before: Target | None) -> Target:
    secret = SECRET_FIELDS[kind]
    if before is not None and all(body.get(place) == before.settings.get(place) for place in PLACES):
        body = {**before.secrets, **body}
    try:
        converted = msgspec.convert(body, TARGET_KINDS[kind])
    except msgspec.ValidationError as error:
        raise Invalid(fields=_fields_of(error)) from None
    if wrong := wrong_settings(converted):
        raise Invalid(fields=wrong)
    values: dict[str, Any] = msgspec.to_builtins(converted)
    secrets = {field: values.pop(field, None) for field in secret}
    return Target(
        id=before.id if before else None,
        name=name,
        kind=kind,
        enabled=enabled,
        settings=values,
        secrets={field: value for field, value in secrets.items() if value is not None},
    )


def _fields_of(error: msgspec.ValidationError) -> Fields:
    what = str(error)
    at = _AT.search(what)
    path = at["path"] if at else ""
    reason: Text = text("field.value", detail=_AT.sub("", what))
    if named := _NAMED.search(what):
        path = f"{path}.{named['name']}" if path else named["name"]
        reason = text("field.unknown" if "unknown" in what else "field.required")
    return {path: [reason]}
