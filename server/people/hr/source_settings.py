"""Checks how a source is to be read, and puts together what was and what a patch changes, the secrets apart."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa

from server.errors import Fields, Invalid
from server.messages import Text, text
from server.people.hr.reading.opening import names_departments
from server.people.hr.reading.rest import origin_of
from server.people.hr.reading.sql_rows import SCHEMES
from server.people.hr.reading.sql_statement import wrong_statement
from server.people.hr.reading.watched import is_inside
from server.people.hr.source_schemas import UNSET, Kind, Paging, Reading, Secrets, SourceBody, SourcePatch

# What means something to one kind of source alone.
READING_FIELDS: dict[Kind, frozenset[str]] = {
    "rest": frozenset({"url", "departments_url", "token", "username", "password", "headers", "paging", "encoding"}),
    "file": frozenset({"path", "departments_path", "sheet", "departments_sheet", "encoding", "delimiter", "watch"}),
    "sql": frozenset({"dsn", "query", "departments_query"}),
}
SECRETS = ("token", "password", "dsn", "headers")
# Forgotten when the address changes, so that nobody can have them sent elsewhere.
BOUND_TO_URL = ("token", "password", "headers")
OUR_HEADERS = frozenset(
    {"accept", "accept-encoding", "authorization", "connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"}
)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]+")


class Settings(NamedTuple):
    """How a source is read. `dropped`: secrets that were forgotten because the address is another one now."""

    reading: Reading
    secrets: Secrets
    dropped: list[str]


def new_settings(body: SourceBody) -> Settings:
    """Raises Invalid naming the fields."""
    reading = Reading(**{name: getattr(body, name) for name in Reading.__struct_fields__})
    secrets = Secrets(token=body.token, password=body.password, dsn=body.dsn, headers=body.headers)
    _check(body.kind, reading, secrets)
    return Settings(reading, secrets, [])


def changed_settings(kind: Kind, reading: Reading, secrets: Secrets, patch: SourcePatch) -> Settings:
    """Raises Invalid naming the fields."""
    given = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not UNSET}
    changed = msgspec.structs.replace(reading, **{name: given[name] for name in Reading.__struct_fields__ if name in given})
    kept = msgspec.structs.asdict(secrets)
    dropped = []
    if changed.url != reading.url:
        for name in BOUND_TO_URL:
            if name not in given and kept[name]:
                kept[name] = {} if name == "headers" else None
                dropped.append(name)
    kept.update({name: given[name] for name in SECRETS if name in given})
    made = Secrets(**kept)
    _check(kind, changed, made)
    return Settings(changed, made, dropped)


def _check(kind: Kind, reading: Reading, secrets: Secrets) -> None:
    found = _misplaced(kind, reading, secrets)
    found.update({"rest": _wrong_rest, "file": _wrong_file, "sql": _wrong_sql}[kind](reading, secrets))
    wrong: Fields = {name: [why] for name, why in found.items() if why is not None}
    if wrong:
        raise Invalid(fields=wrong)


def _misplaced(kind: Kind, reading: Reading, secrets: Secrets) -> dict[str, Text | None]:
    given: dict[str, Any] = {**msgspec.structs.asdict(reading), **msgspec.structs.asdict(secrets)}
    plain = {**msgspec.structs.asdict(Reading()), **msgspec.structs.asdict(Secrets())}
    elsewhere = frozenset().union(*READING_FIELDS.values()) - READING_FIELDS[kind]
    return {name: text("hr.source.not_of_kind", kind=kind) for name in sorted(elsewhere) if given[name] != plain[name]}


def _wrong_rest(reading: Reading, secrets: Secrets) -> dict[str, Text | None]:
    wrong: dict[str, Text | None] = {"url": _wrong_url(reading.url)}
    if reading.departments_url:
        wrong["departments_url"] = _wrong_url(reading.departments_url)
        if not any(wrong.values()) and origin_of(reading.departments_url) != origin_of(reading.url):
            wrong["departments_url"] = text("hr.source.other_origin")
    if secrets.token and (reading.username or secrets.password):
        wrong["token"] = text("hr.source.one_login")
    if secrets.token and not _HEADER_VALUE.fullmatch(secrets.token):
        wrong["token"] = text("organization.unprintable")
    if secrets.password and not reading.username:
        wrong["username"] = text("field.required")
    if ":" in reading.username:
        wrong["username"] = text("field.value", detail=":")
    for name, value in secrets.headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in OUR_HEADERS or not _HEADER_VALUE.fullmatch(value):
            wrong[f"headers.{name[:100]}"] = text("hr.source.header")
    wrong.update(_wrong_paging(reading.paging))
    return wrong


def _wrong_paging(paging: Paging) -> dict[str, Text | None]:
    names = {"page": paging.page_param, "cursor": paging.cursor_param}.get(paging.style)
    return {"paging.size_param": text("field.taken") if names is not None and names == paging.size_param else None}


def _wrong_url(url: str) -> Text | None:
    if not url:
        return text("field.required")
    try:
        parts = urlsplit(url)
        host, known = parts.hostname, parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        return text("hr.source.address")
    if not host or not known or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        return text("hr.source.address")
    if parts.username is not None or parts.password is not None:
        return text("hr.source.login_in_address")
    return text("hr.source.address") if _is_link_local(host) else None


def _is_link_local(host: str) -> bool:
    """Where clouds keep the keys of their machines; no HR system is there."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_link_local
    except ValueError:
        return False


def _wrong_file(reading: Reading, _secrets: Secrets) -> dict[str, Text | None]:
    wrong: dict[str, Text | None] = {"path": None}
    for name in ("path", "departments_path"):
        given = getattr(reading, name)
        if given and not is_inside(given):
            wrong[name] = text("hr.source.outside")
    if reading.watch is None:
        if not reading.path:
            wrong["path"] = text("field.required")
        return wrong
    if reading.departments_path:
        wrong["departments_path"] = text("hr.source.watch_departments")
    for name in ("pattern", "departments_pattern"):
        if "/" in (getattr(reading.watch, name) or ""):
            wrong[f"watch.{name}"] = text("hr.source.pattern")
    return wrong


def _wrong_sql(reading: Reading, secrets: Secrets) -> dict[str, Text | None]:
    wrong: dict[str, Text | None] = {"dsn": _wrong_dsn(secrets.dsn)}
    wrong["query"] = wrong_statement(reading.query) if reading.query else text("field.required")
    if names_departments("sql", reading):
        wrong["departments_query"] = wrong_statement(reading.departments_query)
    return wrong


def _wrong_dsn(dsn: str | None) -> Text | None:
    if not dsn:
        return text("field.required")
    try:
        address = sa.engine.make_url(dsn)
    except (sa.exc.ArgumentError, ValueError):
        return text("hr.source.dsn")
    if address.drivername not in SCHEMES or not address.database or address.query:
        return text("hr.source.dsn")
    if address.drivername == "sqlite":
        return None if address.host is None and is_inside(address.database) else text("hr.source.outside")
    return None if address.host and not _is_link_local(address.host) else text("hr.source.dsn")
