"""What a SCIM client is told when a request fails; `scim_type` is RFC 7644's word for it (3.12, table 9)."""

from __future__ import annotations

from typing import ClassVar

from server.errors import Conflict, DomainError, Forbidden, Malformed, NotFound


class ScimRefused(Malformed):
    """A request that cannot be done as it is; `detail` is the reason, a text of the catalogue."""

    type = "scim_refused"
    scim_type: ClassVar[str] = "invalidSyntax"


class InvalidFilter(ScimRefused):
    type = "scim_filter"
    scim_type = "invalidFilter"


class InvalidPath(ScimRefused):
    type = "scim_path"
    scim_type = "invalidPath"


class InvalidValue(ScimRefused):
    type = "scim_value"
    scim_type = "invalidValue"


class NoTarget(ScimRefused):
    """A path whose filter matches nothing, or a removal without a path."""

    type = "scim_no_target"
    scim_type = "noTarget"


class NotMutable(ScimRefused):
    """The attribute is not the client's to change."""

    type = "scim_mutability"
    scim_type = "mutability"


class TooManyMatches(ScimRefused):
    """More would have to be looked at than `most`."""

    type = "scim_too_many"
    scim_type = "tooMany"


class Taken(Conflict):
    """Another account, or group, has it already; `fields` names the attributes."""

    type = "scim_taken"
    scim_type: ClassVar[str] = "uniqueness"


class ResourceNotFound(NotFound):
    type = "scim_not_found"


class VersionMismatch(DomainError):
    """The resource is no longer as the client knew it (If-Match)."""

    type = "scim_version"


class ChangedMeanwhile(Conflict):
    """Others changed the resource again and again while this was being done."""

    type = "scim_changed"


class ScimProtected(Forbidden):
    """An account, or an organization, that a SCIM client never changes."""

    type = "scim_protected"
