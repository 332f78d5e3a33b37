"""A new chain over past cases: who would have been asked, which steps had nobody, and which cases could not have ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from server.actor import Actor
from server.context import Context
from server.errors import Conflict
from server.people.names import user_names
from server.platform import audit
from server.projects.access import MANAGE
from server.projects.audit_asked import Asked, Staff
from server.projects.audit_chains import DRAFT, access_chain, get_chain, wrong_state
from server.projects.audit_schemas import Chain, ChainStep, Replay, ReplayBody, ReplayedCase, ReplayedStep, steps_of
from server.projects.audit_steps import AuditState
from server.projects.effects import Effects, commit
from server.projects.tables import audit_chains, audits, project_members, projects

AT_ONCE = 500
DECIDED = (AuditState.REJECTED, AuditState.RETURNED, AuditState.APPROVED)


class ChainChanged(Conflict):
    """Somebody wrote the chain anew while it was replayed."""

    type = "audit_chain_changed"


async def replay_chain(ctx: Context, actor: Actor, chain_id: int, body: ReplayBody) -> Replay:
    """Run the latest decided cases of the chain's kind, in its organization and below, through it; the draft may then be published.

    People and roles are those of today. Raises ChainNotFound, Forbidden, ChainState, ChainChanged.
    """

    def reading(connection: sa.Connection) -> tuple[Any, list[ReplayedCase], dict[int, str]]:
        row = access_chain(connection, actor, chain_id, MANAGE)
        if row.state != DRAFT:
            raise wrong_state(row)
        cases = _cases(connection, row, body.cases)
        people = {one for case in cases for step in case.steps for one in step.user_ids}
        return row, cases, user_names(connection, people)

    row, cases, names = await ctx.sql.read(reading)

    def writing(connection: sa.Connection, effects: Effects) -> None:
        one = audit_chains.update().where(audit_chains.c.id == chain_id, audit_chains.c.state == DRAFT)
        if not connection.execute(one.where(audit_chains.c.changed_at == row.changed_at).values(replayed_at=effects.now)).rowcount:
            raise ChainChanged()
        audit.note(connection, effects.now, actor, "audit_chain.replay", f"audit_chain:{chain_id}", cases=len(cases))

    await commit(ctx, writing)
    return summary(await get_chain(ctx, actor, chain_id), cases, names)


def run_through(steps: Sequence[ChainStep], asked: Sequence[Asked], last: Asked) -> tuple[list[ReplayedStep], bool]:
    """A case in a chain: each step with whom it asks, and whether the case could have ended.

    `last` is whom the last step asks when it may not be skipped, which counts when all of them were: nothing is approved by nobody.
    """
    found = list(asked)
    if all(one.how == "skipped" for one in found):
        found[-1] = last
    made = [
        ReplayedStep(step=number, name=step.name, how=one.how, user_ids=list(one.user_ids))
        for number, (step, one) in enumerate(zip(steps, found, strict=True), start=1)
    ]
    return made, all(one.how != "nobody" for one in found)


def summary(chain: Chain, cases: list[ReplayedCase], names: dict[int, str]) -> Replay:
    """The cases with what they come to."""
    empty = dict.fromkeys(range(1, len(chain.steps) + 1), 0)
    for case in cases:
        for step in case.steps:
            empty[step.step] += step.how != "named"
    return Replay(
        chain=chain,
        cases=cases,
        steps_empty=empty,
        more_steps=sum(max(0, case.steps_now - case.steps_before) for case in cases),
        fewer_steps=sum(max(0, case.steps_before - case.steps_now) for case in cases),
        stuck=sum(not case.could_end for case in cases),
        people=names,
    )


def outcome_of(rows: Sequence[Any]) -> str | None:
    """What a passage came to (approved, returned, rejected), by its audits; None for one that was withdrawn.

    It is what ended last that counts: a return to an earlier step is followed by more.
    """
    latest = max(row.ended_at for row in rows)
    said = {row.state for row in rows if row.ended_at == latest}
    return next((state.value for state in DECIDED if state in said), None)


def _cases(connection: sa.Connection, chain: Any, most: int) -> list[ReplayedCase]:
    steps, staff = steps_of(chain.steps), Staff(connection)
    passages = _passages(connection, staff, chain, most)
    people = _people(connection, {project.id for project, _rows, _outcome in passages})
    made = []
    for project, rows, outcome in passages:
        but = people[project.id] | ({project.owner_id} if project.owner_id is not None else set())
        asked = [staff.ask(step, project.organization_id, but) for step in steps]
        last = staff.ask(steps[-1], project.organization_id, but, may_skip=False)
        replayed, could_end = run_through(steps, asked, last)
        made.append(
            ReplayedCase(
                project_id=project.id,
                passage=rows[0].passage,
                title=project.title,
                outcome=outcome,
                steps_before=len({row.step for row in rows if row.state not in (AuditState.SKIPPED, AuditState.CANCELLED)}),
                steps_now=sum(step.how != "skipped" for step in replayed),
                could_end=could_end,
                steps=replayed,
            )
        )
    return made


def _passages(connection: sa.Connection, staff: Staff, chain: Any, most: int) -> list[tuple[Any, list[Any], str]]:
    """The latest passages that ended by a decision: the project, the passage's audits in order, what it came to."""
    below = staff.downwards(chain.organization_id)
    ended = (
        sa.select(audits.c.project_id, audits.c.passage)
        .join(projects, projects.c.id == audits.c.project_id)
        .where(projects.c.kind == chain.kind, sa.true() if below is None else projects.c.organization_id.in_(below))
        .group_by(audits.c.project_id, audits.c.passage)
        .having(sa.func.sum(sa.case((audits.c.state == AuditState.OPEN.value, 1), else_=0)) == 0)
        .order_by(sa.func.max(audits.c.ended_at).desc(), audits.c.project_id.desc())
        .limit(2 * most)  # some of them were withdrawn
    )
    found: list[tuple[Any, list[Any], str]] = []
    for one in connection.execute(ended).all():
        wanted = sa.select(audits).where(audits.c.project_id == one.project_id, audits.c.passage == one.passage)
        rows = list(connection.execute(wanted.order_by(audits.c.id)))
        outcome = outcome_of(rows)
        if outcome is None or len(found) == most:
            continue
        found.append((connection.execute(sa.select(projects).where(projects.c.id == one.project_id)).one(), rows, outcome))
    return found


def _people(connection: sa.Connection, project_ids: Collection[int]) -> dict[int, set[int]]:
    wanted, found = sorted(project_ids), {one: set[int]() for one in project_ids}
    for first in range(0, len(wanted), AT_ONCE):
        some = sa.select(project_members).where(project_members.c.project_id.in_(wanted[first : first + AT_ONCE]))
        for row in connection.execute(some):
            found[row.project_id].add(row.user_id)
    return found
