"""Scopes: every verb declares one that exists, and the system's roles use no other."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from handlers.operation import operation, operations_of
from handlers.sockets import SocketHandler
from server.actor import NOBODY, Actor, ActorKind, Grant
from server.app import ROUTES
from server.errors import Forbidden, NotSignedIn
from server.people.identify import MODULE_SCOPES
from server.scopes import ALL, ANYONE, SCOPES, SIGNED_IN, SYSTEM_ROLES, system_actor

# What anybody may call, and why.
OPEN = {
    "/api/auth/login": "to sign in",
    "/api/auth/refresh": "the refresh token is the proof",
    "/api/auth/code": "to ask for a mail code; the answer is always the same",
    "/api/auth/register": "the mail code is the proof",
    "/api/auth/login-code": "the mail code is the proof",
    "/api/auth/reset-password": "the mail code is the proof",
    "/cas/login": "to sign in",
    "/cas/link": "the one-time ticket is the proof",
    "/cas/callback": "the CAS server's ticket is the proof",
    "/api/auth/cas": "the one-time code is the proof",
    "/module/register": "the action checks: loopback in development, the module key, or modules:write",
    "/": "the API's reference, as long as there is no browser UI",
    "/module/online": "the action checks, on the same terms",
    "/module/(?P<hash>[0-9a-f]{32})/files": "the action checks, on the same terms",
    "/files/(?P<sha256>[0-9a-f]{64})": "the signature in the link is the proof",
    "/health/?": "for load balancers",
    "/health/live": "for load balancers",
    "/health/ready": "for load balancers",
    "/metrics": "the handler checks: loopback or METRICS_TOKEN",
    r"/api/openapi\.json": "says nothing that the source does not",
    "/api/?": "the reference page",
    "/api/reference/(?P<name>[a-z0-9.-]+)": "its parts",
}
VERBS = ("get", "post", "put", "patch", "delete")
OWN = [pytest.param(pattern, handler, id=pattern) for pattern, handler in ROUTES if not issubclass(handler, SocketHandler)]


def test_an_unknown_scope_is_refused_at_import() -> None:
    with pytest.raises(ValueError, match="workflow:read"):
        operation("workflow:read", "misspelt")


@pytest.mark.parametrize(("pattern", "handler"), OWN)
def test_every_verb_declares_who_may(pattern: str, handler: type[Any]) -> None:
    declared = operations_of(handler)
    assert declared, f"{pattern} takes no method"
    for verb in VERBS:
        method = getattr(handler, verb)
        written = method.__qualname__.startswith(handler.__name__)
        assert (verb.upper() in declared) == written, f"{verb} of {pattern} is not declared"
    for one in declared.values():
        assert one.scope in SCOPES or one.scope in (ANYONE, SIGNED_IN)
        assert one.summary.endswith(".")
        assert (one.scope == ANYONE) == (pattern in OPEN), f"{pattern} is open to anybody"


@pytest.mark.parametrize(("pattern", "handler"), OWN)
def test_a_verb_takes_the_parts_of_its_path(pattern: str, handler: type[Any]) -> None:
    import re

    named = set(re.compile(pattern).groupindex)
    for verb in operations_of(handler):
        parameters = set(inspect.signature(inspect.unwrap(getattr(handler, verb.lower()))).parameters)
        assert parameters - {"self", "body", "query"} == named


def test_roles_and_scopes_fit() -> None:
    for role, scopes in SYSTEM_ROLES.items():
        assert scopes <= ALL, role
    assert SYSTEM_ROLES["administrator"] == ALL
    assert set(SYSTEM_ROLES) == {"administrator", "organization_admin", "teacher", "student", "reviewer", "operator", "auditor"}
    assert MODULE_SCOPES <= ALL
    for chinese, english in SCOPES.values():
        assert chinese != english


def test_only_administrators_get_everything() -> None:
    for role in set(SYSTEM_ROLES) - {"administrator"}:
        assert "roles:write" not in SYSTEM_ROLES[role]
        assert SYSTEM_ROLES[role] < ALL
    assert all(scope.endswith(":read") for scope in SYSTEM_ROLES["auditor"])


def test_grants_hold_where_they_were_given() -> None:
    actor = Actor(
        kind=ActorKind.PERSON,
        name="a",
        user_id=1,
        grants=(Grant(frozenset({"users:read", "modules:read"}), frozenset({7})), Grant(frozenset({"modules:read"}), None)),
    )
    assert actor.organizations("users:read") == {7}
    assert actor.organizations("modules:read") is None
    assert actor.organizations("audit:read") == frozenset()
    assert actor.may("users:read", 7)
    assert not actor.may("users:read", 8)
    assert actor.may("modules:read", 8)
    assert actor.may("users:read")
    with pytest.raises(Forbidden):
        actor.require("users:read", 8)
    with pytest.raises(NotSignedIn):
        NOBODY.require("users:read")
    assert system_actor("x").scopes == ALL
