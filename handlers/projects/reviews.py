"""Reviews: a reviewer's own."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.paging import Page
from server.projects import reviews
from server.projects.project_schemas import Listed
from server.projects.round_schemas import DeclineBody, Review, ReviewDetail, ReviewPut, ReviewQuery

ID = r"(?P<review_id>[0-9]{1,15})"


class ReviewsHandler(ApiHandler):
    @operation("reviews:write", "The caller's own reviews, by page.")
    async def get(self, query: ReviewQuery) -> Page[Review]:
        return await reviews.list_own(self.ctx, self.actor, query)


class ReviewHandler(ApiHandler):
    @operation("projects:read", "One review: one's own, or of a round that one manages.")
    async def get(self, review_id: str) -> ReviewDetail:
        return await reviews.get_review(self.ctx, self.actor, int(review_id))

    @operation("reviews:write", "Give scores by criterion, or keep them as a draft.")
    async def put(self, review_id: str, body: ReviewPut) -> ReviewDetail:
        return await reviews.put_review(self.ctx, self.actor, int(review_id), body)


class DeclineHandler(ApiHandler):
    @operation("reviews:write", "Decline to review, perhaps for a conflict that was found late.")
    async def post(self, review_id: str, body: DeclineBody) -> ReviewDetail:
        return await reviews.decline(self.ctx, self.actor, int(review_id), body)


class OthersHandler(ApiHandler):
    @operation("reviews:write", "What others gave the same project, once one's own is submitted; it makes one's own final.")
    async def get(self, review_id: str) -> Listed:
        return await reviews.list_others(self.ctx, self.actor, int(review_id))


routes = [
    (r"/api/reviews", ReviewsHandler),
    (rf"/api/reviews/{ID}", ReviewHandler),
    (rf"/api/reviews/{ID}/decline", DeclineHandler),
    (rf"/api/reviews/{ID}/others", OthersHandler),
]
