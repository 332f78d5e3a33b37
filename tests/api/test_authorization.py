"""The authorization self-test: from the route table and the scopes it asks every verb as every role, and every relation to a thing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from handlers.operation import Operation
from server.context import Context
from server.knowledge.tables import documents, evaluation_sets, tags
from server.people.organizations import OrganizationBody, OrganizationKind, create_organization
from server.scopes import ANYONE, SIGNED_IN, SYSTEM_ROLES, system_actor
from tests.api.client import Api
from tests.api.people import user
from tests.api.test_access import ask, verbs

HERE, BELOW, ABOVE, BESIDE = "here", "below", "above", "beside"
OWN = [verb for verb in verbs() if verb[2].scope not in (ANYONE, SIGNED_IN)]


async def tree(ctx: Context) -> dict[str, int]:
    """A faculty with a department with a class, and another faculty: organization ids by their relation to the department."""
    actor = system_actor("test")

    async def make(name: str, parent_id: int) -> int:
        return (
            await create_organization(
                ctx, actor, OrganizationBody(name=name, code=name, kind=OrganizationKind.DEPARTMENT, parent_id=parent_id)
            )
        ).id

    above = await make("faculty", 1)
    here = await make("department", above)
    return {ABOVE: above, HERE: here, BELOW: await make("class", here), BESIDE: await make("other", 1)}


def may(role: str, declared: Operation) -> bool:
    """Whether a role that is held in one organization opens a verb: by its scope, and unless the verb wants it held everywhere."""
    return declared.scope in SYSTEM_ROLES[role] and not declared.everywhere


@pytest.mark.gen_test(timeout=300)
@pytest.mark.parametrize("role", sorted(SYSTEM_ROLES))
async def test_every_verb_opens_to_the_roles_that_hold_its_scope_and_to_no_other(anonymous: Api, ctx: Context, role: str) -> None:
    caller = await user(ctx, anonymous, role, role, (await tree(ctx))[HERE])
    for method, path, declared in OWN:
        answer = await ask(caller, method, path)
        refused = answer.status == 403 and declared.scope in answer.envelope["message"]
        if may(role, declared):
            assert answer.status != 401, f"{role}: {method} {path}"
            # What has the scope may still be refused by the action, for the thing's own sake; never a list.
            assert not refused or method != "GET", f"{role}: {method} {path} {answer!r}"
        else:
            assert refused, f"{role}: {method} {path} {answer!r}"


Make = Callable[[Context, int], Awaitable[int]]


async def a_user(ctx: Context, organization_id: int) -> int:
    from server.people.tables import users

    now = ctx.clock.now()
    name = f"somebody-{organization_id}"
    values = {"username": name, "username_key": name, "name": name, "kind": "person", "state": "active", "organization_id": organization_id}
    return await inserted(ctx, users.insert().values(**values, created_at=now, updated_at=now))


async def a_document(ctx: Context, organization_id: int) -> int:
    now = ctx.clock.now()
    values = {
        "visibility": "organization",
        "title": f"paper {organization_id}",
        "filename": "paper.pdf",
        "sha256": 64 * "a",
        "size": 1,
        "status": "ready",
        "progress": 100,
        "language": "en",
        "pages": 1,
        "unreadable": 0,
        "ocr": False,
        "reader": 1,
        "generation": 1,
        "built": 1,
        "pages_read": 1,
    }
    return await inserted(ctx, documents.insert().values(**values, organization_id=organization_id, created_at=now, updated_at=now))


async def a_tag(ctx: Context, organization_id: int) -> int:
    now = ctx.clock.now()
    values = {"name": f"tag {organization_id}", "description": "", "keywords": []}
    return await inserted(ctx, tags.insert().values(**values, organization_id=organization_id, created_at=now, updated_at=now))


async def an_evaluation(ctx: Context, organization_id: int) -> int:
    now = ctx.clock.now()
    values = {"name": f"set {organization_id}", "organization_id": organization_id, "created_at": now, "updated_at": now}
    return await inserted(ctx, evaluation_sets.insert().values(**values))


async def an_organization(_ctx: Context, organization_id: int) -> int:
    return organization_id


async def inserted(ctx: Context, statement: sa.Insert) -> int:
    made: Any = await ctx.sql.write(lambda connection: connection.execute(statement).inserted_primary_key)
    return int(made[0])


THINGS: dict[str, Make] = {
    "/api/users": a_user,
    "/api/organizations": an_organization,
    "/api/documents": a_document,
    "/api/tags": a_tag,
    "/api/evaluations": an_evaluation,
}

# Where a change must say something.
CHANGES = {"/api/evaluations": {"name": "renamed"}}


@pytest.mark.gen_test(timeout=120)
@pytest.mark.parametrize("route", sorted(THINGS))
async def test_a_role_reaches_its_organization_and_what_is_below_and_nothing_else(
    api: Api, anonymous: Api, ctx: Context, route: str
) -> None:
    places = await tree(ctx)
    things = {relation: await THINGS[route](ctx, place) for relation, place in places.items()}
    caller = await user(ctx, anonymous, "manager", "organization_admin", places[HERE])
    reached = {HERE, BELOW}
    listed = (await caller.get(f"{route}?page_size=200")).result
    seen = {item["id"] for item in listed["items"]}
    everything = {item["id"] for item in (await api.get(f"{route}?page_size=200")).result["items"]}
    assert set(things.values()) <= everything
    assert listed["total"] == len(seen)
    for relation, thing in things.items():
        assert (thing in seen) == (relation in reached), f"{route}: the list, {relation}"
        answer = await caller.get(f"{route}/{thing}")
        assert answer.status == (200 if relation in reached else 404), f"{route}/{thing}: {relation}"
        changed = await caller.patch(f"{route}/{thing}", CHANGES.get(route, {}))
        assert (changed.status == 200) == (relation in reached), f"PATCH {route}/{thing}: {relation} {changed!r}"
        if relation not in reached:
            assert (await caller.delete(f"{route}/{thing}")).status in (403, 404), f"DELETE {route}/{thing}: {relation}"
            if route != "/api/organizations":
                narrowed = (await caller.get(f"{route}?organization_id={places[relation]}&page_size=200")).result
                found = {item["id"] for item in narrowed["items"]}
                assert found <= seen, f"{route}: the filter, {relation}"
                assert narrowed["total"] == len(found), f"{route}: the count, {relation}"
