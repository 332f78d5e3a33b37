"""Who acts: a person, an API key, a module or the system itself, and what it may do where."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from server.errors import Forbidden, NotSignedIn
from server.messages import Locale


class ActorKind(StrEnum):
    PERSON = "person"
    API_KEY = "api_key"
    MODULE = "module"  # signed in with the module key
    SYSTEM = "system"  # schedules, queue workers, management commands
    NOBODY = "nobody"  # not signed in


class Grant(msgspec.Struct, frozen=True):
    """Scopes, and the organizations where they hold; None means everywhere."""

    scopes: frozenset[str]
    organizations: frozenset[int] | None = None


class Viewer(msgspec.Struct, frozen=True):
    """Who looks with another user's eyes, and by which session of their own."""

    user_id: int
    name: str
    session_id: str


class Actor(msgspec.Struct, frozen=True):
    """The caller of an action: by a session, or by the API key `key_id`. `address` is where the request came from.

    With a `viewer` it is not the user who asks, and nothing may be changed; `name` then holds both names.
    """

    kind: ActorKind
    name: str
    user_id: int | None = None
    session_id: str | None = None
    key_id: int | None = None
    grants: tuple[Grant, ...] = ()
    address: str = ""
    request_id: str = ""
    locale: Locale = "zh"
    viewer: Viewer | None = None

    @property
    def scopes(self) -> frozenset[str]:
        """Every scope that is held anywhere."""
        return frozenset().union(*(grant.scopes for grant in self.grants))

    @property
    def signed_in(self) -> bool:
        return self.kind is not ActorKind.NOBODY

    def organizations(self, scope: str) -> frozenset[int] | None:
        """Where `scope` is held: organization ids, or None for everywhere."""
        places: frozenset[int] = frozenset()
        for grant in self.grants:
            if scope in grant.scopes:
                if grant.organizations is None:
                    return None
                places |= grant.organizations
        return places

    def may(self, scope: str, organization_id: int | None = None) -> bool:
        """Whether `scope` is held in the organization; with no organization, anywhere."""
        if organization_id is None:
            return any(scope in grant.scopes for grant in self.grants)
        places = self.organizations(scope)
        return places is None or organization_id in places

    def require(self, scope: str, organization_id: int | None = None) -> None:
        """Raise NotSignedIn or Forbidden unless `scope` is held."""
        if self.may(scope, organization_id):
            return
        raise Forbidden(scope=scope) if self.signed_in else NotSignedIn()


NOBODY = Actor(kind=ActorKind.NOBODY, name="")
