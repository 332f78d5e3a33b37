"""Submitted projects, chains and reviewers for the tests of audits."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from server.people.tables import organization_members, organizations
from tests.api.client import Api
from tests.api.people import user
from tests.api.projects.conftest import School

Answered = dict[str, Any]


async def submitted(school: School, caller: Api | None = None, title: str = "Cold atoms", **more: Any) -> Answered:
    """A project of `tea` or another caller that waits for its audits."""
    made = await school.propose(caller or school.tea, title, **more)
    return await school.act(caller or school.tea, made, "submit")


async def join(school: School, name: str, role: str = "reviewer", organization_id: int | None = None, position: str = "") -> Api:
    """Another person with a role and, where it says so, a position."""
    place = organization_id or school.id
    school.callers[name] = await user(school.ctx, school._anonymous, name, role, place)
    if position:
        row = {"organization_id": place, "user_id": await school.user_id(name), "position": position, "created_at": school.ctx.clock.now()}
        await school.ctx.sql.write(lambda connection: connection.execute(organization_members.insert().values(**row)))
    return school.callers[name]


async def department(school: School, code: str = "optics") -> int:
    """An organization below the school."""
    values = {"parent_id": school.id, "name": code, "code": code, "kind": "department", "created_at": school.ctx.clock.now()}
    wanted = sa.select(organizations.c.id).where(organizations.c.code == code)
    await school.ctx.sql.write(lambda connection: connection.execute(organizations.insert().values(**values)))
    return int(await school.ctx.sql.read(lambda connection: connection.execute(wanted).scalar_one()))


async def asked(school: School, *names: str) -> Answered:
    """Reviewers of a step, by their user names."""
    return {"user_ids": [await school.user_id(name) for name in names]}


async def publish(caller: Api, school: School, *steps: Answered, kind: str = "research", organization_id: int | None = None) -> Answered:
    """A chain of the school that holds, replayed and published."""
    body = {"kind": kind, "organization_id": organization_id or school.id, "steps": list(steps)}
    made = (await caller.put("/api/audit-chains", body)).result
    assert (await caller.post(f"/api/audit-chains/{made['id']}/replay", {})).result["chain"]["replayed_at"]
    published: Answered = (await caller.post(f"/api/audit-chains/{made['id']}/publish", {})).result
    return published


async def queue(caller: Api, query: str = "") -> list[Answered]:
    items: list[Answered] = (await caller.get(f"/api/audits{query}")).result["items"]
    return items


async def decide(caller: Api, audit: Answered | int, decision: str = "approve", **more: Any) -> Any:
    audit_id = audit if isinstance(audit, int) else audit["id"]
    return await caller.post(f"/api/audits/{audit_id}/decide", {"decision": decision, "comment": "so be it", **more})


async def state(school: School, project: Answered) -> str:
    return str((await school.tea.get(f"/api/projects/{project['id']}")).result["state"])
