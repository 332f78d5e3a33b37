"""Results of a round, on the screen, as a spreadsheet and on paper; and what closed rounds gave to a project."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from handlers.projects.projects import ID
from handlers.sheets import SheetHandler
from server.projects import result_sheets, results
from server.projects.project_schemas import Listed
from server.projects.result_schemas import ResultQuery, Results

ROUND = r"/api/rounds/(?P<round_id>[0-9]{1,15})"


class ResultsHandler(ApiHandler):
    @operation("rounds:manage", "The results of a round: raw and calibrated scores, ranks with intervals, agreement, reviewers.")
    async def get(self, round_id: str, query: ResultQuery) -> Results:
        return await results.get_results(self.ctx, self.actor, int(round_id), query)


class ResultSheetHandler(SheetHandler):
    @operation("rounds:manage", "The results of a round as a spreadsheet, with every review.", raw=True)
    async def get(self, round_id: str, query: ResultQuery) -> None:
        self.answer_sheet(f"round-{round_id}.xlsx", await result_sheets.sheet(self.ctx, self.actor, int(round_id), query))


class ResultPaperHandler(ApiHandler):
    @operation("rounds:manage", "The results of a round as a PDF.", raw=True)
    async def get(self, round_id: str, query: ResultQuery) -> None:
        data = await result_sheets.paper(self.ctx, self.actor, int(round_id), query)
        self.set_header("Content-Type", "application/pdf")
        self.set_header("Content-Disposition", f'attachment; filename="round-{round_id}.pdf"')
        self.set_header("Content-Length", str(len(data)))
        self.finish(b"" if self.request.method == "HEAD" else data)


class ProjectScoresHandler(ApiHandler):
    @operation("projects:read", "What closed rounds gave to a project: totals and comments, without names.")
    async def get(self, project_id: str) -> Listed:
        return await results.list_scores(self.ctx, self.actor, int(project_id))


routes = [
    (rf"{ROUND}/results", ResultsHandler),
    (rf"{ROUND}/results\.xlsx", ResultSheetHandler),
    (rf"{ROUND}/results\.pdf", ResultPaperHandler),
    (rf"/api/projects/{ID}/scores", ProjectScoresHandler),
]
