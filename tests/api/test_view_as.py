"""Looking with another user's eyes: who may, what it shows, that it changes nothing, and when it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from tornado.httpclient import HTTPRequest

from jobs.people import end_view
from server.clock import HeldClock
from server.context import Context
from server.people.tables import role_grants, users
from server.people.view_as import END_VIEW
from server.platform.tables import audit_log, tasks
from tests.api.client import Answer, Api
from tests.api.people import organization, user
from tests.api.test_access import verbs
from tests.api.test_live_events import browser

REASON = {"reason": "the timetable is not shown"}
MAY = {("POST", "/api/search"), ("POST", "/api/auth/ticket"), ("POST", "/api/auth/logout")}


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


async def id_of(api: Api) -> int:
    return int((await api.get("/api/auth/me")).result["id"])


async def view(api: Api, user_id: int, body: Any = REASON) -> Answer:
    return await api.post(f"/api/users/{user_id}/view-as", body)


async def viewed(api: Api, other: Api) -> Api:
    """The API seen with the other's eyes."""
    return api.as_caller((await view(api, await id_of(other))).result["access_token"])


async def noted(ctx: Context, action: str) -> list[Any]:
    wanted = sa.select(audit_log).where(audit_log.c.action == action).order_by(audit_log.c.id)
    return await ctx.sql.read(lambda connection: list(connection.execute(wanted)))


async def status_of(api: Api, method: str, path: str, body: bytes | None) -> int:
    headers = {"Authorization": f"Bearer {api.token}"}
    request = HTTPRequest(api.base_url + path, method=method, body=body, headers=headers, allow_nonstandard_methods=True)
    return int((await api.client.fetch(request, raise_error=False)).code)


async def over(api: Api) -> bool:
    answer = await api.get("/api/auth/me")
    assert answer.status == 200 or answer.type == "session_over", answer
    return answer.status != 200


@pytest.mark.gen_test
async def test_it_shows_what_the_user_sees_and_says_who_looks(api: Api, anonymous: Api, ctx: Context) -> None:
    ann = await user(ctx, anonymous, "ann", "teacher")
    opened = (await view(api, await id_of(ann))).result
    assert set(opened) == {"access_token", "token_type", "expires_in", "user"}, "there is no refresh token"
    assert opened["expires_in"] == 900
    assert opened["user"]["viewed_by"] == {"id": 1, "username": "admin"}
    eyes = api.as_caller(opened["access_token"])
    me, hers = (await eyes.get("/api/auth/me")).result, (await ann.get("/api/auth/me")).result
    assert me == {**hers, "viewed_by": {"id": 1, "username": "admin"}}
    assert hers["viewed_by"] is None
    assert (await eyes.get("/api/users")).result == (await ann.get("/api/users")).result
    assert (await eyes.get("/api/audit")).status in (403, 404)
    assert (await anonymous.post("/api/auth/refresh", {"refresh_token": opened["access_token"]})).type == "token_invalid"


@pytest.mark.gen_test
async def test_the_user_sees_who_looked_and_can_end_it(api: Api, anonymous: Api, ctx: Context) -> None:
    ann = await user(ctx, anonymous, "ann", "teacher")
    eyes = await viewed(api, ann)
    (shown,) = [one for one in (await ann.get("/api/auth/sessions")).result["items"] if one["method"] == "view"]
    assert (shown["viewed_by"], shown["view_reason"], shown["current"]) == ("admin", REASON["reason"], False)
    assert (await ann.delete(f"/api/auth/sessions/{shown['id']}")).result == {"done": True}
    assert await over(eyes)
    (ended,) = await noted(ctx, "view.end")
    assert (ended.actor, ended.detail["ended_by"], ended.detail["viewer"]) == ("ann", "ended_by_user", "admin")


@pytest.mark.gen_test(timeout=120)
async def test_nothing_but_reading_passes_on_any_path(api: Api, anonymous: Api, ctx: Context) -> None:
    """Every verb of the route table; GET of an address that changes something counts as a change."""
    ann = await user(ctx, anonymous, "ann", "administrator")
    eyes = await viewed(api, ann)
    before = await ctx.sql.read(lambda connection: connection.execute(sa.select(users).order_by(users.c.id)).all())
    asked = 0
    for method, path, declared in verbs():
        if (method, path) in MAY or (method == "GET" and not declared.bare_form):
            continue
        asked += 1
        body = b"{}" if method in ("POST", "PUT", "PATCH") else None
        if path.startswith("/scim"):  # which answers in a form of its own
            assert await status_of(eyes, method, path, body) == 403, f"{method} {path}"
            continue
        answer = await eyes.request(method, path, body=body)
        assert (answer.status, answer.type) == (403, "view_only"), f"{method} {path} {answer!r}"
    assert asked > 60
    assert await ctx.sql.read(lambda connection: connection.execute(sa.select(users).order_by(users.c.id)).all()) == before
    denied = await noted(ctx, "access.denied")
    assert denied
    assert {row.actor for row in denied} == {"admin as ann"}
    assert {row.user_id for row in denied} == {await id_of(ann)}


@pytest.mark.gen_test
async def test_what_may_be_asked_beside_reading(api: Api, anonymous: Api, ctx: Context) -> None:
    ann = await user(ctx, anonymous, "ann", "teacher")
    eyes = await viewed(api, ann)
    paths = {path for method, path, _ in verbs() if (method, path) in MAY}
    assert paths == {path for _, path in MAY}
    assert (await eyes.post("/api/search", {})).status in (200, 422), "refused for its body, if at all"
    assert (await eyes.request("HEAD", "/api/users")).status == 200
    async with browser(eyes) as socket:
        assert await socket.ask("modules") == [("modules", "refused")]
        assert (await eyes.post("/api/auth/logout")).result == {"done": True}
        assert await socket.closed() == 4401
    assert await over(eyes)
    assert not await over(api)
    assert not await over(ann)
    (ended,) = await noted(ctx, "view.end")
    assert (ended.actor, ended.detail["reason"], ended.detail["ended_by"]) == ("admin as ann", REASON["reason"], "logout")


@pytest.mark.gen_test
async def test_who_may_look_at_whom(api: Api, anonymous: Api, ctx: Context) -> None:
    physics = await organization(ctx, "physics")
    ann, second = await user(ctx, anonymous, "ann", "teacher"), await user(ctx, anonymous, "second", "administrator")
    head = await user(ctx, anonymous, "head", "organization_admin", physics)
    partial = await user(ctx, anonymous, "partial", "administrator", physics)
    ids = {api: await id_of(api) for api in (ann, second, head, partial)}
    for caller in (ann, head, partial):
        assert (await view(caller, ids[ann])).status == 403
    manager = await api.post("/api/roles", {"name": "manager", "scopes": ["users:read", "users:write"]})
    assert manager.status == 200
    keeper = await user(ctx, anonymous, "keeper", "manager")
    kept_out = await view(keeper, await id_of(await user(ctx, anonymous, "powerless", None)))
    assert (kept_out.status, kept_out.type) == (403, "forbidden"), "users:write everywhere is not enough"
    assert (await view(api, ids[second])).status == 200, "another administrator may no more than the caller"
    assert (await view(api, 1)).type == "not_to_be_viewed"
    robot = (await api.post("/api/users", {"username": "robot", "kind": "service"})).result["id"]
    assert (await view(api, robot)).type == "not_to_be_viewed"
    assert (await view(api, 10**9)).type == "user_not_found"
    await api.delete(f"/api/users/{ids[head]}")
    assert (await view(api, ids[head])).type == "user_state"
    for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}):
        assert (await view(api, ids[ann], body)).fields == ["reason"]
    key = (await api.post("/api/auth/api-keys", {"name": "k", "scopes": ["users:write"]})).result["key"]
    assert (await view(anonymous.as_caller(key), ids[ann])).status == 403


@pytest.mark.gen_test
async def test_no_view_is_opened_from_a_view(api: Api, anonymous: Api, ctx: Context) -> None:
    second, ann = await user(ctx, anonymous, "second", "administrator"), await user(ctx, anonymous, "ann", "teacher")
    eyes = await viewed(api, second)
    assert (await view(eyes, await id_of(ann))).type == "view_only"


@pytest.mark.gen_test
async def test_it_ends_with_the_viewers_own_session(api: Api, anonymous: Api, ctx: Context) -> None:
    ann = await user(ctx, anonymous, "ann", "teacher")
    eyes = await viewed(api, ann)
    async with browser(eyes) as socket:
        await api.post("/api/auth/logout")
        assert await socket.closed() == 4401
    assert await over(eyes)
    (ended,) = await noted(ctx, "view.end")
    assert (ended.actor, ended.detail["ended_by"]) == ("admin", "viewer_gone")


@pytest.mark.parametrize("whose", ["viewer", "viewed"])
@pytest.mark.gen_test
async def test_it_ends_when_either_is_disabled(api: Api, anonymous: Api, ctx: Context, whose: str) -> None:
    second, ann = await user(ctx, anonymous, "second", "administrator"), await user(ctx, anonymous, "ann", "teacher")
    gone = await id_of(second if whose == "viewer" else ann)
    eyes = await viewed(second, ann)
    async with browser(eyes) as socket:
        await api.delete(f"/api/users/{gone}")
        assert await socket.closed() == 4401
    assert await over(eyes)
    assert len(await noted(ctx, "view.end")) == 1


@pytest.mark.gen_test
async def test_it_ends_when_the_viewer_loses_the_role_or_the_user_gains(api: Api, anonymous: Api, ctx: Context) -> None:
    second, ann = await user(ctx, anonymous, "second", "administrator"), await user(ctx, anonymous, "ann", "teacher")
    eyes = await viewed(second, ann)
    async with browser(eyes) as socket:
        grant = {"roles": [{"role": "teacher", "organization_id": 1}]}
        assert (await api.put(f"/api/users/{await id_of(second)}/roles", grant)).status == 200
        assert await socket.closed() == 4401
    assert await over(eyes)
    # Without an event, as after a change by SQL, the next request finds it.
    third = await user(ctx, anonymous, "third", "administrator")
    eyes = await viewed(third, ann)
    mine = role_grants.delete().where(role_grants.c.user_id == await id_of(third))
    await ctx.sql.write(lambda connection: connection.execute(mine))
    assert await over(eyes)


@pytest.mark.gen_test
async def test_its_time_ends_and_the_log_says_so(api: Api, anonymous: Api, ctx: Context, clock: HeldClock) -> None:
    ann = await user(ctx, anonymous, "ann", "teacher")
    ann_id, eyes = await id_of(ann), await viewed(api, ann)
    waiting = sa.select(tasks).where(tasks.c.kind == END_VIEW)
    (task,) = await ctx.sql.read(lambda connection: list(connection.execute(waiting)))
    assert task.run_at == clock.now() + timedelta(minutes=15)
    assert await end_view(ctx, **task.payload) == {"ended": False}, "not before its time"
    async with browser(eyes) as socket:
        clock.advance(minutes=15)
        assert await end_view(ctx, **task.payload) == {"ended": True}
        assert await socket.closed() == 4401
    assert (await eyes.get("/api/auth/me")).type == "token_expired"
    assert await end_view(ctx, **task.payload) == {"ended": False}
    (begun,), (ended,) = await noted(ctx, "view.begin"), await noted(ctx, "view.end")
    assert (begun.actor, begun.target, begun.detail["reason"]) == ("admin", f"user:{ann_id}", REASON["reason"])
    assert (ended.target, ended.detail["session"], ended.detail["ended_by"]) == (begun.target, begun.detail["session"], "expired")


@pytest.mark.gen_test
async def test_rights_are_explained(api: Api, anonymous: Api, ctx: Context) -> None:
    physics = (await api.post("/api/organizations", {"name": "物理", "code": "physics", "kind": "school", "parent_id": 1})).result["id"]
    lab = (await api.post("/api/organizations", {"name": "实验室", "code": "lab", "kind": "department", "parent_id": physics})).result["id"]
    other = (await api.post("/api/organizations", {"name": "化学", "code": "chem", "kind": "school", "parent_id": 1})).result["id"]
    ann = await id_of(await user(ctx, anonymous, "ann", "teacher", physics))
    rights = (await api.get(f"/api/users/{ann}/rights")).result
    assert (rights["username"], rights["state"], rights["explained"]) == ("ann", "active", None)
    by_scope = {one["scope"]: one["sources"] for one in rights["scopes"]}
    assert by_scope["users:read"] == [{"role": "teacher", "organization_id": physics, "organization": "物理", "everywhere": False}]
    assert "users:write" not in by_scope

    async def why(user_id: int, scope: str, place: int | None = None) -> dict[str, Any]:
        more = f"&organization_id={place}" if place else ""
        told: dict[str, Any] = (await api.get(f"/api/users/{user_id}/rights?scope={scope}{more}")).result["explained"]
        return told

    below = await why(ann, "users:read", lab)
    assert (below["allowed"], "物理" in below["zh"], "above" in below["en"]) == (True, True, True)
    for place, allowed, word in [(physics, True, "granted there"), (other, False, "only in these"), (None, True, "there and below")]:
        told = await why(ann, "users:read", place)
        assert told["allowed"] is allowed
        assert word in told["en"]
    assert (await why(ann, "audit:read", lab))["allowed"] is False
    assert "everywhere" in (await why(1, "audit:read", lab))["en"]
    await api.delete(f"/api/users/{ann}")
    gone = await why(ann, "users:read", lab)
    assert (gone["allowed"], "disabled" in gone["en"]) == (False, True)
    assert (await api.get(f"/api/users/{ann}/rights?scope=nothing")).fields == ["scope"]
    assert (await api.get(f"/api/users/{ann}/rights?organization_id=1")).fields == ["scope"]
    assert (await api.get(f"/api/users/{ann}/rights?scope=users:read&organization_id=999")).fields == ["organization_id"]
    head = await user(ctx, anonymous, "head", "organization_admin", other)
    assert (await head.get(f"/api/users/{ann}/rights")).type == "user_not_found"
