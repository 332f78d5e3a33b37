"""Who a newcomer is: adopted by mail when that is certain, else somebody is asked, and the answer is kept."""

from __future__ import annotations

import pytest

from server.context import Context
from server.people.hr.tables import hr_persons
from tests.api.client import Api
from tests.api.hr.syncs import changes, persons, source, stored, sync
from tests.peers.hr_server import HrPeer


async def account(api: Api, name: str, email: str) -> int:
    return int((await api.post("/api/users", {"username": name, "email": email})).result["id"])


@pytest.mark.gen_test(timeout=60)
async def test_an_account_with_the_mail_is_adopted(api: Api, ctx: Context, hr: HrPeer) -> None:
    number = await account(api, "old-hand", "E000005@Example.edu.cn")
    made = await source(api, hr)
    run = await sync(api, ctx, made["id"])
    [change] = await changes(api, run, "&rule=adopted_by_mail")
    assert (change["key"], change["state"]) == ("E000005", "applied")
    assert (await stored(ctx))["E000005"].adopted_user_id == number


@pytest.mark.gen_test(timeout=60)
async def test_what_is_not_certain_is_asked_and_the_answer_is_kept(api: Api, ctx: Context, hr: HrPeer) -> None:
    shared, off, free = (
        await account(api, "shared", "shared@x.cn"),
        await account(api, "off", "off@x.cn"),
        await account(api, "free", "free@x.cn"),
    )
    await api.delete(f"/api/users/{off}")
    await api.patch("/api/users/1", {"email": "admin@x.cn"})
    hr.persons[0] |= {"email": "shared@x.cn"}
    hr.persons[1] |= {"email": "shared@x.cn"}
    hr.persons[2] |= {"email": "off@x.cn"}
    hr.persons[3] |= {"email": "admin@x.cn"}
    made = await source(api, hr)
    run = await sync(api, ctx, made["id"])
    assert (run["state"], run["counts"]["create"], run["counts"]["ambiguous"]) == ("succeeded", 8, 4)
    asked = {one["key"]: one for one in await changes(api, run, "&state=needs_person")}
    assert {key: (one["rule"], one["candidates"]) for key, one in asked.items()} == {
        "E000000": ("mail_of_several", [shared]),
        "E000001": ("mail_of_several", [shared]),
        "E000002": ("account_disabled", [off]),
        "E000003": ("account_protected", [1]),
    }
    first = await changes(api, run)
    assert {one["key"] for one in first[:2]} == {"E000000", "E000001"}, "what is strange comes first"

    async def decide(key: str, **said: object) -> object:
        return await api.post(f"/api/hr/changes/{asked[key]['id']}/decide", said)

    assert (await decide("E000000")).fields == ["decision"]  # type: ignore[attr-defined]
    assert (await decide("E000000", skip=True, create=True)).fields == ["decision"]  # type: ignore[attr-defined]
    assert (await decide("E000003", user_id=1)).fields == ["user_id"]  # type: ignore[attr-defined]
    assert (await decide("E000000", user_id=999)).fields == ["user_id"]  # type: ignore[attr-defined]
    decided = (await decide("E000000", user_id=shared)).result  # type: ignore[attr-defined]
    assert (decided["state"], decided["decision"]) == ("applied", {"user_id": shared})
    assert (await decide("E000000", skip=True)).type == "hr_change_decided"  # type: ignore[attr-defined]
    assert (await decide("E000001", user_id=shared)).fields == ["user_id"]  # type: ignore[attr-defined]
    assert (await decide("E000001", create=True)).result["state"] == "applied"  # type: ignore[attr-defined]
    assert (await decide("E000003", skip=True)).result["state"] == "skipped"  # type: ignore[attr-defined]
    there = await stored(ctx)
    assert (there["E000000"].adopted_user_id, there["E000001"].adopted_user_id) == (shared, None)
    again = await sync(api, ctx, made["id"])
    assert {one["key"]: (one["state"], one["rule"]) for one in await changes(api, again)} == {
        "E000002": ("needs_person", "account_disabled"),
        "E000003": ("skipped", "decided"),
    }
    assert (again["counts"]["ambiguous"], free not in [row.adopted_user_id for row in there.values()]) == (1, True)


@pytest.mark.gen_test(timeout=60)
async def test_an_account_of_another_person_is_not_given_away(api: Api, ctx: Context, hr: HrPeer) -> None:
    number = await account(api, "one", "one@x.cn")
    hr.persons[0] |= {"email": "one@x.cn"}
    made = await source(api, hr)
    await sync(api, ctx, made["id"])
    assert (await stored(ctx))["E000000"].adopted_user_id == number
    hr.persons[0] |= {"email": None}
    hr.persons.append({**hr.persons[0], "employee_no": "E999999", "email": "one@x.cn"})
    run = await sync(api, ctx, made["id"])
    [change] = await changes(api, run, "&state=needs_person")
    assert (change["key"], change["rule"]) == ("E999999", "account_of_another")
    assert "E999999" not in await persons(api)


@pytest.mark.gen_test(timeout=60)
async def test_an_account_for_emergencies_is_never_ended(api: Api, ctx: Context, hr: HrPeer) -> None:
    made = await source(api, hr)
    await sync(api, ctx, made["id"])
    linked = hr_persons.update().where(hr_persons.c.employee_no == "E000003").values(adopted_user_id=1)
    await ctx.sql.write(lambda connection: connection.execute(linked))
    del hr.persons[3]
    run = await sync(api, ctx, made["id"])
    [change] = await changes(api, run, "&strange=1")
    assert (change["key"], change["state"], change["strange"]) == ("E000003", "skipped", ["privileged", "break_glass"])
    assert run["counts"]["disable"] == 0
    assert (await stored(ctx))["E000003"].state == "active"
