"""What is told of a run that did not succeed: a notification, and the mail with what, where, when, why, the last log lines, and a link."""

from __future__ import annotations

from html import escape
from typing import Any

import msgspec
import sqlalchemy as sa

from server.config import listed
from server.context import Context
from server.dispatch import run_logs
from server.dispatch.states import StepState
from server.dispatch.tables import runs, steps, workflows
from server.dispatch.workflow_schemas import WorkflowBody
from server.engines.mail import Mail
from server.messages import Locale, say
from server.people.told import find_person, tell_organization
from server.platform.notifications.kinds import Kind
from server.platform.notifications.telling import Told, announce

BAD = (StepState.FAILED.value, StepState.TIMED_OUT.value, StepState.LOST.value)
LOG_LINES = 20
# Mail goes to people of whom nothing else is known.
LOCALE: Locale = "zh"


class _Told(msgspec.Struct):
    to: list[str]
    run: Any
    step: Any


async def notify(ctx: Context, run_id: str) -> None:
    """Tell whoever made the workflow, and those whom its organization names; once, however often it is asked for."""
    wanted = (
        sa.select(runs.c.workflow_name, runs.c.state, workflows.c.organization_id, workflows.c.created_by)
        .join(workflows, workflows.c.id == runs.c.workflow_id)
        .where(runs.c.id == run_id)
    )

    def transaction(connection: sa.Connection) -> Told:
        run = connection.execute(wanted).one_or_none()
        if run is None:
            return Told()
        maker = find_person(connection, run.created_by)
        params = {"workflow": run.workflow_name, "state": run.state}
        also = [] if maker is None else [maker]
        where, link = run.organization_id, f"/#/runs/{run_id}"
        return tell_organization(connection, ctx.clock.now(), where, Kind.WORKFLOW_FAILED, run_id, params, link, also=also)

    await announce(ctx, await ctx.sql.write(transaction))


async def compose(ctx: Context, run_id: str) -> Mail | None:
    """The mail, or None when there is nobody to tell or the run is gone."""

    def transaction(connection: sa.Connection) -> _Told | None:
        run = connection.execute(sa.select(runs).where(runs.c.id == run_id)).one_or_none()
        if run is None:
            return None
        body = connection.execute(sa.select(workflows.c.body).where(workflows.c.id == run.workflow_id)).scalar()
        notify = msgspec.convert(body, WorkflowBody).notify if body is not None else []
        bad = sa.select(steps).where(steps.c.run_id == run_id, steps.c.state.in_(BAD)).order_by(steps.c.ended_at, steps.c.position)
        return _Told(notify or listed(ctx.settings.notification_email), run, connection.execute(bad).first())

    told = await ctx.sql.read(transaction)
    if told is None or not told.to:
        return None
    lines = []
    if told.step is not None and told.step.log_lines:
        found = await run_logs.read_lines(ctx, told.step.id, max(0, told.step.log_lines - LOG_LINES), LOG_LINES)
        lines = [f"{line.at} {line.level} {line.text}" for line in found]
    return _mail(ctx, told, lines)


def _mail(ctx: Context, told: _Told, lines: list[str]) -> Mail:
    run, step = told.run, told.step
    module = step.module_name if step is not None else "-"
    state = say(f"state.{run.state}", LOCALE)
    subject = say("mail.run_failed.subject", LOCALE, workflow=run.workflow_name, module=module, state=state)
    lead = say("mail.run_failed.lead", LOCALE, workflow=run.workflow_name)
    facts = [("run", run.id)]
    if step is not None:
        facts += [("step", step.name), ("module", module), ("attempts", str(step.attempt))]
    facts += [
        ("time", run.execution_time.isoformat(timespec="seconds")),
        ("ended", run.ended_at.isoformat(timespec="seconds") if run.ended_at else "-"),
        ("error", (step.error if step is not None else None) or run.error or "-"),
    ]
    named = [(say(f"mail.run_failed.{key}", LOCALE), value) for key, value in facts]
    link = f"{ctx.settings.url}/#/runs/{run.id}"
    text = "\n".join([lead, "", *(f"{name}: {value}" for name, value in named)])
    html = f"<p>{escape(lead)}</p><table>" + "".join(
        f"<tr><th align='left'>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in named
    )
    html += "</table>"
    if lines:
        heading = say("mail.run_failed.log", LOCALE)
        text += f"\n\n{heading}:\n" + "\n".join(lines)
        html += f"<h4>{escape(heading)}</h4><pre>{escape(chr(10).join(lines))}</pre>"
    open_it = say("mail.run_failed.link", LOCALE)
    text += f"\n\n{open_it}: {link}\n"
    html += f"<p><a href='{escape(link)}'>{escape(open_it)}</a></p>"
    # One run, one mail: a retried sending has the same message id.
    return Mail(to=told.to, subject=subject, html=html, text=text, message_id=f"<run-{run.id}@zhihui>")
