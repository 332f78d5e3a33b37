"""Audits: the queue of a reviewer, decisions, delegations, chains."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page
from server.people.schemas import Done
from server.projects import audit_chains, audit_deciding, audit_queue, chain_replay, delegations
from server.projects.audit_schemas import (
    Audit,
    AuditDetail,
    AuditQuery,
    BatchAnswer,
    BatchBody,
    Chain,
    ChainBody,
    ChainQuery,
    DecideBody,
    Delegation,
    DelegationBody,
    DelegationQuery,
    PublishBody,
    Replay,
    ReplayBody,
)
from server.projects.project_schemas import Listed

AUDIT_ID = r"(?P<audit_id>[0-9]{1,15})"
CHAIN_ID = r"(?P<chain_id>[0-9]{1,15})"


class AuditsHandler(ApiHandler):
    @operation("projects:audit", "The caller's queue of audits, oldest first, or what they have decided.")
    async def get(self, query: AuditQuery) -> Page[Audit]:
        return await audit_queue.list_audits(self.ctx, self.actor, query)


class AuditHandler(ApiHandler):
    @operation("projects:audit", "One audit, with the project and what was said before.")
    async def get(self, audit_id: str) -> AuditDetail:
        return await audit_queue.get_audit(self.ctx, self.actor, int(audit_id))


class AuditDecideHandler(ApiHandler):
    @operation("projects:audit", "Approve, return or reject; a return may name an earlier step.", idempotent=True)
    async def post(self, audit_id: str, body: DecideBody) -> AuditDetail:
        return await audit_deciding.decide(self.ctx, self.actor, int(audit_id), body)


class BatchDecideHandler(ApiHandler):
    @operation("projects:audit", "The same decision on several audits; each is answered for itself.", idempotent=True)
    async def post(self, body: BatchBody) -> BatchAnswer:
        return await audit_deciding.decide_many(self.ctx, self.actor, body)


class DelegationsHandler(ApiHandler):
    @operation("projects:audit", "The caller's delegations that are not over, given and received.")
    async def get(self) -> Listed:
        return await delegations.list_delegations(self.ctx, self.actor)

    @operation("projects:audit", "Let somebody decide for the caller for a while.", idempotent=True)
    async def post(self, body: DelegationBody) -> Delegation:
        return await delegations.create_delegation(self.ctx, self.actor, body)

    @operation("projects:audit", "End a delegation of the caller's own.")
    async def delete(self, query: DelegationQuery) -> Done:
        await delegations.remove_delegation(self.ctx, self.actor, query.id)
        return Done()


class ChainsHandler(ApiHandler):
    @operation("projects:read", "The chains of audits that hold where the caller reads projects, every version.")
    async def get(self, query: ChainQuery) -> Page[Chain]:
        return await audit_chains.list_chains(self.ctx, self.actor, query)

    @operation("projects:manage", "Write the draft of a kind's and organization's next chain.")
    async def put(self, body: ChainBody) -> Chain:
        return await audit_chains.put_chain(self.ctx, self.actor, body)


class ChainHandler(ApiHandler):
    @operation("projects:read", "One version of a chain.")
    async def get(self, chain_id: str) -> Chain:
        return await audit_chains.get_chain(self.ctx, self.actor, int(chain_id))

    @operation("projects:manage", "Remove a chain that was not used yet, or retire the one that holds.")
    async def delete(self, chain_id: str) -> Done:
        await audit_chains.remove_chain(self.ctx, self.actor, int(chain_id))
        return Done()


class ChainReplayHandler(ApiHandler):
    @operation("projects:manage", "Run past cases through a draft: who would have been asked, and what could not have ended.")
    async def post(self, chain_id: str, body: ReplayBody) -> Replay:
        return await chain_replay.replay_chain(self.ctx, self.actor, int(chain_id), body)


class ChainPublishHandler(ApiHandler):
    @operation("projects:manage", "Let a draft hold for what is submitted from now on.", idempotent=True)
    async def post(self, chain_id: str, body: PublishBody) -> Chain:
        return await audit_chains.publish_chain(self.ctx, self.actor, int(chain_id), body)


routes = [
    (r"/api/audits", AuditsHandler),
    (r"/api/audits/decide", BatchDecideHandler),
    (r"/api/audits/delegations", DelegationsHandler),
    (rf"/api/audits/{AUDIT_ID}", AuditHandler),
    (rf"/api/audits/{AUDIT_ID}/decide", AuditDecideHandler),
    (r"/api/audit-chains", ChainsHandler),
    (rf"/api/audit-chains/{CHAIN_ID}", ChainHandler),
    (rf"/api/audit-chains/{CHAIN_ID}/replay", ChainReplayHandler),
    (rf"/api/audit-chains/{CHAIN_ID}/publish", ChainPublishHandler),
]
