"""Rounds of reviews: pools, conflicts, assignment."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page, PageQuery
from server.people.schemas import Done
from server.projects import assigning, conflicts, pools, reviews, rounds
from server.projects.project_schemas import Listed
from server.projects.round_schemas import (
    Assigned,
    Assignment,
    AssignRequest,
    Conflict,
    ConflictBody,
    ConflictGone,
    ConflictQuery,
    PairBody,
    PoolReviewer,
    Review,
    Round,
    RoundDetail,
    RoundDraft,
    RoundPatch,
    RoundQuery,
    RoundReviewQuery,
    WishesBody,
)

ID = r"(?P<round_id>[0-9]{1,15})"


class RoundsHandler(ApiHandler):
    @operation("projects:read", "Rounds that the caller manages or reviews in, by page.")
    async def get(self, query: RoundQuery) -> Page[Round]:
        return await rounds.list_rounds(self.ctx, self.actor, query)

    @operation("rounds:manage", "Put a round of reviews together.", idempotent=True)
    async def post(self, body: RoundDraft) -> RoundDetail:
        return await rounds.create_round(self.ctx, self.actor, body)


class RoundHandler(ApiHandler):
    @operation("projects:read", "One round that the caller manages or reviews in.")
    async def get(self, round_id: str) -> RoundDetail:
        return await rounds.get_round(self.ctx, self.actor, int(round_id))

    @operation("rounds:manage", "Change a round, its projects and its reviewers.")
    async def patch(self, round_id: str, body: RoundPatch) -> RoundDetail:
        return await rounds.change_round(self.ctx, self.actor, int(round_id), body)

    @operation("rounds:manage", "Remove a round in which nobody has begun a review.")
    async def delete(self, round_id: str) -> Done:
        await rounds.remove_round(self.ctx, self.actor, int(round_id))
        return Done()


class OpenHandler(ApiHandler):
    @operation("rounds:manage", "Open a round: reviewers see their reviews and give scores.")
    async def post(self, round_id: str) -> RoundDetail:
        return await rounds.open_round(self.ctx, self.actor, int(round_id))


class CloseHandler(ApiHandler):
    @operation("rounds:manage", "Close a round: no more scores are taken, and the projects' people are told.")
    async def post(self, round_id: str) -> RoundDetail:
        return await rounds.close_round(self.ctx, self.actor, int(round_id))


class ConflictsHandler(ApiHandler):
    @operation("rounds:manage", "Conflicts in a round's pool, or of those that are named before they are invited.")
    async def get(self, round_id: str, query: ConflictQuery) -> Page[Conflict]:
        return await conflicts.list_conflicts(self.ctx, self.actor, int(round_id), query)

    @operation("reviews:write", "Declare a conflict of one's own, or of a reviewer for who manages the round.")
    async def post(self, round_id: str, body: ConflictBody) -> Done:
        await reviews.declare_conflict(self.ctx, self.actor, int(round_id), body)
        return Done()

    @operation("reviews:write", "Take a declared conflict back.")
    async def delete(self, round_id: str, query: ConflictGone) -> Done:
        await reviews.withdraw_conflict(self.ctx, self.actor, int(round_id), query)
        return Done()


class PreferencesHandler(ApiHandler):
    @operation("reviews:write", "The projects of a round with the caller's own wishes.")
    async def get(self, round_id: str) -> Listed:
        return await pools.get_wishes(self.ctx, self.actor, int(round_id))

    @operation("reviews:write", "Replace the caller's own wishes.")
    async def put(self, round_id: str, body: WishesBody) -> Listed:
        return await pools.put_wishes(self.ctx, self.actor, int(round_id), body)


class PoolHandler(ApiHandler):
    @operation("rounds:manage", "The reviewers of a round and what they have to do.")
    async def get(self, round_id: str, query: PageQuery) -> Page[PoolReviewer]:
        return await pools.list_reviewers(self.ctx, self.actor, int(round_id), query)


class AssignHandler(ApiHandler):
    @operation("rounds:manage", "What is assigned, and what is not and why.")
    async def get(self, round_id: str) -> Assigned:
        return await assigning.get_assignments(self.ctx, self.actor, int(round_id))

    @operation("rounds:manage", "Assign the reviews that are missing, as well as can be; 202 with a task when that takes long.", raw=True)
    async def post(self, round_id: str, body: AssignRequest) -> Assigned:
        made = await assigning.assign_round(self.ctx, self.actor, int(round_id), body)
        self.answer(made, status=200 if made.task_id is None else 202)
        return made


class RoundReviewsHandler(ApiHandler):
    @operation("rounds:manage", "The reviews of a round.")
    async def get(self, round_id: str, query: RoundReviewQuery) -> Page[Review]:
        return await reviews.list_of_round(self.ctx, self.actor, int(round_id), query)

    @operation("rounds:manage", "Give one project to one reviewer.")
    async def post(self, round_id: str, body: PairBody) -> Assignment:
        return await assigning.assign_one(self.ctx, self.actor, int(round_id), body)


class RoundReviewHandler(ApiHandler):
    @operation("rounds:manage", "Take a review away that nobody has begun.")
    async def delete(self, round_id: str, review_id: str) -> Done:
        await assigning.unassign_one(self.ctx, self.actor, int(round_id), int(review_id))
        return Done()


routes = [
    (r"/api/rounds", RoundsHandler),
    (rf"/api/rounds/{ID}", RoundHandler),
    (rf"/api/rounds/{ID}/open", OpenHandler),
    (rf"/api/rounds/{ID}/close", CloseHandler),
    (rf"/api/rounds/{ID}/conflicts", ConflictsHandler),
    (rf"/api/rounds/{ID}/preferences", PreferencesHandler),
    (rf"/api/rounds/{ID}/reviewers", PoolHandler),
    (rf"/api/rounds/{ID}/assign", AssignHandler),
    (rf"/api/rounds/{ID}/reviews", RoundReviewsHandler),
    (rf"/api/rounds/{ID}/reviews/(?P<review_id>[0-9]{{1,15}})", RoundReviewHandler),
]
