"""The job of the audit log: seals what has settled, and tells what was too much to be noted one by one."""

from __future__ import annotations

import logging
from typing import Any

from jobs.registry import job
from server.context import Context
from server.errors import EngineAway
from server.platform import audit, audit_chain
from server.platform.audit_chain import SEAL
from server.platform.schedules.actions import SystemSchedule
from server.platform.tasks import Queue

log = logging.getLogger(__name__)

SCHEDULES = (SystemSchedule(name="seal_audit_log", job=SEAL, queue=Queue.MAINTENANCE, crons=("*/10 * * * *",)),)


@job(SEAL, queue="maintenance", max_attempts=3, time_limit_s=600)
async def seal_audit(ctx: Context) -> dict[str, Any]:
    """Seal the log. The end of the chain is in the result, so that a log whose end is cut off does not look whole."""
    done = await audit_chain.seal_all(ctx)
    try:
        surpluses = await audit.tell_surplus(ctx)
    except EngineAway as away:  # the seal must be reported all the same
        log.warning("what was too much for the audit log is told later: %s", away)
        surpluses = 0
    if done.sealed:
        log.info("the audit log is sealed up to %d: %s", done.through, done.head)
    return {"sealed": done.sealed, "through": done.through, "head": done.head, "surpluses": surpluses}
