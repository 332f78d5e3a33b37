"""/api/projects: list, propose, look at, change."""

from __future__ import annotations

from handlers.base import ApiHandler
from handlers.operation import operation
from handlers.sheets import SheetForm, SheetHandler, SheetUploadHandler
from server.paging import Page
from server.people.schemas import Done
from server.people.user_import import ImportQuery
from server.projects import project_changes, project_import, project_search, project_sheets, projects, similar
from server.projects.project_import import ProjectImportReport
from server.projects.project_schemas import Project, ProjectDetail, ProjectDraft, ProjectFilter, ProjectPatch, ProjectQuery
from server.projects.project_search import ProjectSearchAnswer, ProjectSearchQuery
from server.projects.similar import SimilarProjects

ID = r"(?P<project_id>[0-9]{1,15})"
IMPORT = r"(?P<import_id>[0-9a-f]{32})"


class ProjectsHandler(ApiHandler):
    @operation("projects:read", "Projects, by page; q searches titles and summaries.")
    async def get(self, query: ProjectQuery) -> Page[Project]:
        return await projects.list_projects(self.ctx, self.actor, query)

    @operation("projects:write", "Propose a project, as a draft.", idempotent=True)
    async def post(self, body: ProjectDraft) -> ProjectDetail:
        return await project_changes.create_project(self.ctx, self.actor, body)


class ProjectHandler(ApiHandler):
    @operation("projects:read", "One project.")
    async def get(self, project_id: str) -> ProjectDetail:
        return await projects.get_project(self.ctx, self.actor, int(project_id))

    @operation("projects:write", "Change a project; with a version, only if it still is that one.")
    async def patch(self, project_id: str, body: ProjectPatch) -> ProjectDetail:
        return await project_changes.change_project(self.ctx, self.actor, int(project_id), body)

    @operation("projects:write", "Remove a draft.")
    async def delete(self, project_id: str) -> Done:
        await project_changes.remove_project(self.ctx, self.actor, int(project_id))
        return Done()


class SearchHandler(ApiHandler):
    @operation("projects:read", "Projects by words and by meaning, their documents included.")
    async def get(self, query: ProjectSearchQuery) -> ProjectSearchAnswer:
        return await project_search.search(self.ctx, self.actor, query)


class SimilarHandler(ApiHandler):
    @operation("projects:read", "Projects like this one, by text and by documents.")
    async def get(self, project_id: str) -> SimilarProjects:
        return await similar.similar(self.ctx, self.actor, int(project_id))


class TemplateHandler(SheetHandler):
    @operation("projects:read", "An empty sheet to fill in for an import.", raw=True)
    async def get(self) -> None:
        self.answer_sheet("projects-template.xlsx", await project_sheets.template(self.ctx, self.actor))


class ExportHandler(SheetHandler):
    @operation("projects:read", "Projects as a spreadsheet.", raw=True)
    async def get(self, query: ProjectFilter) -> None:
        self.answer_sheet("projects.xlsx", await project_sheets.export(self.ctx, self.actor, query))


class ImportHandler(SheetUploadHandler):
    @operation("projects:write", "Import projects from an xlsx; with dry_run=1 only look at it.", idempotent=True, upload=SheetForm)
    async def post(self, query: ImportQuery) -> ProjectImportReport:
        sheet = await self.sheet()
        return await project_import.import_sheet(self.ctx, self.actor, sheet.filename, sheet.body, dry_run=bool(query.dry_run))


class OneImportHandler(ApiHandler):
    @operation("projects:write", "What an import did, row by row.")
    async def get(self, import_id: str) -> ProjectImportReport:
        return await project_import.get_import(self.ctx, self.actor, import_id)


class UndoHandler(ApiHandler):
    @operation("projects:write", "Remove the drafts that an import made and restore what it changed, unless changed since.")
    async def post(self, import_id: str) -> ProjectImportReport:
        return await project_import.undo_import(self.ctx, self.actor, import_id)


routes = [
    (r"/api/projects", ProjectsHandler),
    (r"/api/projects/search", SearchHandler),
    (r"/api/projects/template\.xlsx", TemplateHandler),
    (r"/api/projects/export\.xlsx", ExportHandler),
    (r"/api/projects/import", ImportHandler),
    (rf"/api/projects/imports/{IMPORT}", OneImportHandler),
    (rf"/api/projects/imports/{IMPORT}/undo", UndoHandler),
    (rf"/api/projects/{ID}", ProjectHandler),
    (rf"/api/projects/{ID}/similar", SimilarHandler),
]
