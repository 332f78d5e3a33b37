"""Opens a target from its row: settings and sealed secrets together."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from server.context import Context
from server.people.hr.protected import break_glass
from server.people.hr.tables import hr_departments
from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.ldap import LdapTarget
from server.people.hr.targets.local import LocalTarget
from server.people.hr.targets.scim import ScimTarget
from server.people.hr.targets.settings import (
    TARGET_KINDS,
    LdapSettings,
    LocalSettings,
    ScimSettings,
    TargetSettings,
    WebhookSettings,
    wrong_settings,
)
from server.people.hr.targets.target import Target
from server.people.hr.targets.webhook import WebhookTarget
from server.platform.sealing import unseal


async def open_target(ctx: Context, row: Any) -> Target:
    """The target of a row of hr_targets; to be closed. Raises SealBroken, and TargetError when its settings are no longer whole."""
    settings = settings_of(ctx, row)
    if isinstance(settings, LocalSettings):
        managed = sa.select(hr_departments.c.organization_id).where(
            hr_departments.c.source_id == row.source_id, hr_departments.c.organization_id.is_not(None)
        )
        places = await ctx.sql.read(lambda connection: set(connection.execute(managed).scalars()))
        return LocalTarget(ctx, settings, places, break_glass(ctx.settings))
    if isinstance(settings, LdapSettings):
        return LdapTarget(settings)
    if isinstance(settings, ScimSettings):
        return ScimTarget(settings, ctx.clock.now)
    if isinstance(settings, WebhookSettings):
        return WebhookTarget(settings, ctx.clock.now)
    raise TargetError(ErrorClass.INVALID, f"no target is of the kind {row.kind}")


def settings_of(ctx: Context, row: Any) -> TargetSettings:
    """With the secrets."""
    try:
        settings = msgspec.convert({**row.settings, **unseal(ctx, row.sealed)}, TARGET_KINDS[row.kind])
    except (msgspec.ValidationError, KeyError) as error:
        raise TargetError(ErrorClass.INVALID, f"its settings are wrong: {error}") from error
    if wrong := wrong_settings(settings):
        raise TargetError(ErrorClass.INVALID, f"its settings are wrong: {', '.join(sorted(wrong))}")
    return settings
