"""What the routes of HR sources take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from server.people.hr.field_map import FieldMap

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=190)]
Address = Annotated[str, msgspec.Meta(max_length=2000)]
Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
Word = Annotated[str, msgspec.Meta(min_length=1, max_length=190)]
Query = Annotated[str, msgspec.Meta(max_length=20_000)]
OrganizationId = Annotated[int, msgspec.Meta(ge=1, le=10**15)]
Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=600)]
TotalSeconds = Annotated[float, msgspec.Meta(ge=1, le=7200)]
Days = Annotated[int, msgspec.Meta(ge=0, le=366)]
Headers = Annotated[dict[str, Secret], msgspec.Meta(max_length=20)]
Kind = Literal["rest", "file", "sql"]
Unset = msgspec.UnsetType
UNSET = msgspec.UNSET


class Threshold(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """More changes of a kind than this wait for approval; null is no limit. `percent` is of the people who are active now."""

    count: Annotated[int, msgspec.Meta(ge=0)] | None = None
    percent: Annotated[float, msgspec.Meta(ge=0, le=100)] | None = None


class Thresholds(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """By kind of change; a kind that is left out has the limits of thresholds.py."""

    create: Threshold | None = None
    update: Threshold | None = None
    disable: Threshold | None = None
    revive: Threshold | None = None
    move: Threshold | None = None
    departments: Threshold | None = None

    def given(self) -> dict[str, Threshold]:
        return {kind: threshold for kind, threshold in msgspec.structs.asdict(self).items() if threshold is not None}


class Paging(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How a REST source is read: by numbered pages, by a cursor, or at once. `items`, `total` and `next` are dotted paths in its answer.

    `items` empty: the answer itself is the list. `next` holds the next cursor, or the next page's address; null or missing at the end.
    """

    style: Literal["page", "cursor", "none"] = "page"
    page_param: Word = "page"
    size_param: Annotated[str, msgspec.Meta(max_length=190)] = "page_size"
    page_size: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500
    first_page: Annotated[int, msgspec.Meta(ge=0, le=1)] = 1
    items: Annotated[str, msgspec.Meta(max_length=200)] = "items"
    total: Annotated[str, msgspec.Meta(max_length=200)] = "total"
    cursor_param: Word = "cursor"
    next: Word = "next"


class Watch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`path` is a folder: the newest file of the pattern is taken, once nobody has written to it for `still_s` seconds.

    `done`: only a file is taken beside which there is another one of the same name with `.done` at its end.
    """

    pattern: Word
    departments_pattern: Word | None = None
    still_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 10.0
    done: bool = False


class Reading(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How a source is read; nothing of it is secret. Which fields belong to which kind: READING_FIELDS in source_settings.py."""

    url: Address = ""
    departments_url: Address = ""
    username: Annotated[str, msgspec.Meta(max_length=190)] = ""
    paging: Paging = msgspec.field(default_factory=Paging)
    path: Address = ""
    departments_path: Address = ""
    sheet: Annotated[str, msgspec.Meta(max_length=190)] = ""
    departments_sheet: Annotated[str, msgspec.Meta(max_length=190)] = ""
    encoding: Literal["auto", "utf-8", "gb18030", "utf-16"] = "auto"
    delimiter: Literal["auto", ",", ";", "\t", "|"] = "auto"
    watch: Watch | None = None
    query: Query = ""
    departments_query: Query = ""
    timeout_s: Seconds = 30.0
    total_timeout_s: TotalSeconds = 1800.0


class Secrets(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What of a source is kept sealed. `dsn` holds a password, and header values are often keys."""

    token: str | None = None
    password: str | None = None
    dsn: str | None = None
    headers: dict[str, str] = {}


class SourceBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new source. `targets`: "local", or `{"kind", "name", …}` with the settings of that kind of target; without them the local one.

    `early_days`: accounts are made so many days before the first day of work.
    """

    name: Name
    kind: Kind
    organization_id: OrganizationId | None = None
    enabled: bool = True
    url: Address = ""
    departments_url: Address = ""
    token: Secret | None = None
    username: Annotated[str, msgspec.Meta(max_length=190)] = ""
    password: Secret | None = None
    headers: Headers = {}
    paging: Paging = msgspec.field(default_factory=Paging)
    timeout_s: Seconds = 30.0
    total_timeout_s: TotalSeconds = 1800.0
    path: Address = ""
    departments_path: Address = ""
    sheet: Annotated[str, msgspec.Meta(max_length=190)] = ""
    departments_sheet: Annotated[str, msgspec.Meta(max_length=190)] = ""
    encoding: Literal["auto", "utf-8", "gb18030", "utf-16"] = "auto"
    delimiter: Literal["auto", ",", ";", "\t", "|"] = "auto"
    watch: Watch | None = None
    dsn: Secret | None = None
    query: Query = ""
    departments_query: Query = ""
    field_map: FieldMap = msgspec.field(default_factory=FieldMap)
    thresholds: Thresholds = msgspec.field(default_factory=Thresholds)
    early_days: Days = 0
    targets: Annotated[list[str | dict[str, Any]], msgspec.Meta(min_length=1, max_length=20)] = msgspec.field(
        default_factory=lambda: ["local"]
    )


class SourcePatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is left out stays, secrets too; null removes one. `targets` are matched by name, and the list is the whole."""

    name: Name | Unset = UNSET
    organization_id: OrganizationId | Unset = UNSET
    enabled: bool | Unset = UNSET
    url: Address | Unset = UNSET
    departments_url: Address | Unset = UNSET
    token: Secret | Unset | None = UNSET
    username: Annotated[str, msgspec.Meta(max_length=190)] | Unset = UNSET
    password: Secret | Unset | None = UNSET
    headers: Headers | Unset = UNSET
    paging: Paging | Unset = UNSET
    timeout_s: Seconds | Unset = UNSET
    total_timeout_s: TotalSeconds | Unset = UNSET
    path: Address | Unset = UNSET
    departments_path: Address | Unset = UNSET
    sheet: Annotated[str, msgspec.Meta(max_length=190)] | Unset = UNSET
    departments_sheet: Annotated[str, msgspec.Meta(max_length=190)] | Unset = UNSET
    encoding: Literal["auto", "utf-8", "gb18030", "utf-16"] | Unset = UNSET
    delimiter: Literal["auto", ",", ";", "\t", "|"] | Unset = UNSET
    watch: Watch | Unset | None = UNSET
    dsn: Secret | Unset | None = UNSET
    query: Query | Unset = UNSET
    departments_query: Query | Unset = UNSET
    field_map: FieldMap | Unset = UNSET
    thresholds: Thresholds | Unset = UNSET
    early_days: Days | Unset = UNSET
    targets: Annotated[list[str | dict[str, Any]], msgspec.Meta(min_length=1, max_length=20)] | Unset = UNSET


class HrTarget(msgspec.Struct, kw_only=True):
    """A target of a source; its secrets are "set" or null."""

    id: int
    name: str
    kind: str
    enabled: bool
    settings: dict[str, Any]


class HrSource(msgspec.Struct, kw_only=True):
    """A source; its secrets, and the values of its headers, are "set" or null. `dropped`: secrets that a new address made us forget."""

    id: int
    name: str
    kind: Kind
    organization_id: int
    enabled: bool
    url: str
    departments_url: str
    token: Literal["set"] | None
    username: str
    password: Literal["set"] | None
    headers: dict[str, Literal["set"]]
    paging: Paging
    timeout_s: float
    total_timeout_s: float
    path: str
    departments_path: str
    sheet: str
    departments_sheet: str
    encoding: str
    delimiter: str
    watch: Watch | None
    dsn: Literal["set"] | None
    query: str
    departments_query: str
    field_map: FieldMap
    thresholds: dict[str, Threshold]
    early_days: int
    targets: list[HrTarget]
    version: int
    created_at: datetime
    updated_at: datetime
    updated_by: int | None
    dropped: list[str] = []


class FirstPage(msgspec.Struct, kw_only=True):
    """What the first page of a kind of rows looks like: how many there are, their columns, and the first five in our field names."""

    rows: int
    total: int | None
    columns: list[str]
    first: list[dict[str, Any]]


class SourceTest(msgspec.Struct, kw_only=True):
    """`problems`: what a sync would stumble over, in words; `ok` when there is nothing that would end it."""

    ok: bool
    persons: FirstPage | None
    departments: FirstPage | None
    problems: list[str]
