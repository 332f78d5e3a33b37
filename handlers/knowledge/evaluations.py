"""/api/evaluations: sets of questions with known answers, and what search made of them."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from server.knowledge import evaluation, evaluation_runs
from server.knowledge.evaluation_schemas import (
    EvaluationBody,
    EvaluationPatch,
    EvaluationQuery,
    EvaluationRun,
    EvaluationRunQuery,
    EvaluationSet,
    QuestionsBody,
    ShownQuestion,
)
from server.paging import Page
from server.people.schemas import Done

ID = r"(?P<set_id>[0-9]{1,15})"


class EvaluationsHandler(ApiHandler):
    @operation("documents:read", "The evaluation sets of the organizations whose documents the caller may read.")
    async def get(self, query: EvaluationQuery) -> Page[EvaluationSet]:
        return await evaluation.list_sets(self.ctx, self.actor, query)

    @operation("documents:manage", "Make an evaluation set.", idempotent=True)
    async def post(self, body: EvaluationBody) -> EvaluationSet:
        return await evaluation.create_set(self.ctx, self.actor, body)


class EvaluationHandler(ApiHandler):
    @operation("documents:read", "An evaluation set.")
    async def get(self, set_id: str) -> EvaluationSet:
        return await evaluation.get_set(self.ctx, self.actor, int(set_id))

    @operation("documents:manage", "Rename an evaluation set.")
    async def patch(self, set_id: str, body: EvaluationPatch) -> EvaluationSet:
        return await evaluation.rename_set(self.ctx, self.actor, int(set_id), body)

    @operation("documents:manage", "Remove an evaluation set with its questions and runs.")
    async def delete(self, set_id: str) -> Done:
        await evaluation.remove_set(self.ctx, self.actor, int(set_id))
        return Done()


class QuestionsHandler(ApiHandler):
    @operation("documents:read", "The questions of a set.")
    async def get(self, set_id: str) -> list[ShownQuestion]:
        return await evaluation.list_questions(self.ctx, self.actor, int(set_id))

    @operation("documents:manage", "Replace the questions of a set.")
    async def put(self, set_id: str, body: QuestionsBody) -> list[ShownQuestion]:
        return await evaluation.put_questions(self.ctx, self.actor, int(set_id), body.questions)


class RunHandler(ApiHandler):
    @operation("documents:manage", "Run a set: every question in every mode of search.", status=202, idempotent=True)
    async def post(self, set_id: str) -> EvaluationRun:
        return await evaluation_runs.start(self.ctx, self.actor, int(set_id))


class RunsHandler(ApiHandler):
    @operation("documents:read", "The runs of a set, newest first.")
    async def get(self, set_id: str, query: EvaluationRunQuery) -> Page[EvaluationRun]:
        return await evaluation_runs.list_runs(self.ctx, self.actor, int(set_id), query)


class EvaluationRunHandler(ApiHandler):
    @operation("documents:read", "A run with its figures and the rank of each question's answer.")
    async def get(self, run_id: str) -> EvaluationRun:
        return await evaluation_runs.get_run(self.ctx, self.actor, run_id)


routes = [
    (r"/api/evaluations", EvaluationsHandler),
    (rf"/api/evaluations/{ID}", EvaluationHandler),
    (rf"/api/evaluations/{ID}/questions", QuestionsHandler),
    (rf"/api/evaluations/{ID}/run", RunHandler),
    (rf"/api/evaluations/{ID}/runs", RunsHandler),
    (r"/api/evaluation-runs/(?P<run_id>[0-9a-f]{32})", EvaluationRunHandler),
]
