"""A directory as a target: found by its employee number, ended by a lock, an attribute or a move, and proved by a bind."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

from server.people.hr.desired import Desired
from server.people.hr.targets.deciding import differences
from server.people.hr.targets.errors import ErrorClass, TargetError
from server.people.hr.targets.ldap_connections import LdapConnections
from server.people.hr.targets.settings import LdapSettings
from server.people.hr.targets.target import Found, Operation, Order, Sought

LOCK = "pwdAccountLockedTime"
# Locked until somebody unlocks it (ppolicy); any other value is a lock for too many wrong passwords, which passes.
FOR_GOOD = "000001010000Z"
T = TypeVar("T")


class LdapTarget:
    kind = "ldap"
    can_read = True

    def __init__(self, settings: LdapSettings) -> None:
        self.concurrency = settings.concurrency
        self._settings = settings
        self._connections = LdapConnections(settings)

    async def find(self, sought: Sought) -> Found | None:
        return await self._run(lambda connection: self._find(connection, sought))

    async def write(self, operation: Operation, order: Order, found: Found | None) -> Found | None:
        if operation is Operation.CREATE:
            await self._run(lambda connection: self._add(connection, order.desired))
        elif found is None:
            raise TargetError(ErrorClass.BROKEN, f"{operation} of an account that was not found")
        elif operation is Operation.DISABLE:
            await self._run(lambda connection: self._set_disabled(connection, found.external_id))
        else:
            await self._run(lambda connection: self._bring_to(connection, order.desired, found))
        return None

    async def can_enter(self, sought: Sought) -> bool | None:
        """Give a disabled account a password that nobody knows, and try to bind with it. One that is active keeps its password."""
        probe = secrets.token_urlsafe(24)

        def prepare(connection: Any) -> str | bool | None:
            found = self._find(connection, sought)
            if found is None or found.employee_no != sought.employee_no:
                return False
            if found.active:
                return True
            if not self._settings.proves:
                return None
            connection.modify(found.external_id, {"userPassword": [("MODIFY_REPLACE", [probe])]})
            # A new password unlocks the account: locked again before it is tried.
            return self._set_disabled(connection, found.external_id)

        prepared = await self._run(prepare)
        if not isinstance(prepared, str):
            return prepared
        return await asyncio.to_thread(self._connections.binds, prepared, probe)

    async def close(self) -> None:
        await asyncio.to_thread(self._connections.close)

    async def _run(self, work: Callable[[Any], T]) -> T:
        return await asyncio.to_thread(self._connections.run, work)

    def _find(self, connection: Any, sought: Sought) -> Found | None:
        settings = self._settings
        for attribute, value in ((settings.id_attribute, sought.employee_no), (settings.user_attribute, sought.username)):
            entries = self._search(connection, attribute, value)
            if len(entries) > 1:
                raise TargetError(ErrorClass.CONFLICT, f"{len(entries)} entries have {attribute} {value}")
            if entries:
                return self._found(entries[0])
        return None

    def _search(self, connection: Any, attribute: str, value: str) -> list[Any]:
        from ldap3 import SUBTREE
        from ldap3.utils.conv import escape_filter_chars

        settings = self._settings
        asked = {settings.id_attribute, settings.user_attribute, *settings.attributes.values()}
        asked |= {LOCK} if settings.disable == "lock" else {settings.disable_attribute or "cn"}
        found: dict[str, Any] = {}
        for base in dict.fromkeys([settings.base, settings.disabled_base or settings.base]):
            connection.search(base, f"({attribute}={escape_filter_chars(value)})", SUBTREE, attributes=sorted(asked), size_limit=3)
            found |= {entry["dn"]: entry for entry in connection.response if entry["type"] == "searchResEntry"}
        return list(found.values())

    def _found(self, entry: Any) -> Found:
        settings, attributes = self._settings, _lowered(entry["attributes"])
        return Found(
            external_id=entry["dn"],
            employee_no=attributes.get(settings.id_attribute.lower()),
            username=attributes.get(settings.user_attribute.lower()),
            active=not self._is_disabled(entry["dn"], attributes),
            fields={field: attributes.get(attribute.lower()) for field, attribute in settings.attributes.items()},
        )

    def _is_disabled(self, dn: str, attributes: dict[str, str]) -> bool:
        settings = self._settings
        if settings.disable == "lock":
            return attributes.get(LOCK.lower()) == FOR_GOOD
        if settings.disable == "attribute":
            return attributes.get((settings.disable_attribute or "").lower()) == settings.disabled_value
        return _normal(dn).endswith("," + _normal(settings.disabled_base or ""))

    def _add(self, connection: Any, desired: Desired) -> None:
        from ldap3.utils.dn import escape_rdn

        settings = self._settings
        attributes: dict[str, Any] = {
            "sn": desired.name or desired.username,
            "cn": desired.name or desired.username,
            settings.user_attribute: desired.username,
            settings.id_attribute: desired.employee_no,
        }
        attributes |= {settings.attributes[field]: value for field, value in desired.fields.items() if value}  # type: ignore[index]
        if settings.disable == "attribute" and settings.enabled_value is not None:
            attributes[settings.disable_attribute or ""] = settings.enabled_value
        dn = f"{settings.user_attribute}={escape_rdn(desired.username)},{settings.base}"
        connection.add(dn, list(settings.object_classes), attributes)

    def _bring_to(self, connection: Any, desired: Desired, found: Found) -> None:
        """Active, with the fields that differ."""
        dn = found.external_id if found.active else self._set_enabled(connection, found.external_id)
        settings, wrong = self._settings, differences(desired, found)
        fields = desired.fields
        changed = {settings.attributes[field]: [fields[field]] if fields[field] else [] for field in wrong}  # type: ignore[index]
        if "cn" in changed:
            changed["sn"] = changed["cn"]
        if changed:
            connection.modify(dn, {attribute: [("MODIFY_REPLACE", values)] for attribute, values in changed.items()})

    def _set_disabled(self, connection: Any, dn: str) -> str:
        """The entry's name afterwards."""
        settings = self._settings
        if settings.disable == "move":
            return self._move(connection, dn, settings.disabled_base or "")
        attribute, value = (LOCK, FOR_GOOD) if settings.disable == "lock" else (settings.disable_attribute, settings.disabled_value)
        connection.modify(dn, {attribute: [("MODIFY_REPLACE", [value])]})
        return dn

    def _set_enabled(self, connection: Any, dn: str) -> str:
        settings = self._settings
        if settings.disable == "move":
            return self._move(connection, dn, settings.base)
        attribute = LOCK if settings.disable == "lock" else settings.disable_attribute
        value = None if settings.disable == "lock" else settings.enabled_value
        connection.modify(dn, {attribute: [("MODIFY_REPLACE", [value] if value is not None else [])]})
        return dn

    def _move(self, connection: Any, dn: str, base: str) -> str:
        from ldap3.utils.dn import safe_rdn

        rdn = "+".join(safe_rdn(dn))
        moved = f"{rdn},{base}"
        if _normal(moved) != _normal(dn):
            connection.modify_dn(dn, rdn, new_superior=base)
        return moved


def _lowered(attributes: Any) -> dict[str, str]:
    """The first value of each attribute that has one, by its name in small letters."""
    found = {}
    for name, values in attributes.items():
        given = values if isinstance(values, list) else [values]
        if given and given[0] not in (None, ""):
            found[name.lower()] = given[0].decode(errors="replace") if isinstance(given[0], bytes) else str(given[0])
    return found


def _normal(dn: str) -> str:
    return ",".join(part.strip() for part in dn.casefold().split(","))
