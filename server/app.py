"""The Tornado application: concatenates the handlers' route tables, nothing else."""

from __future__ import annotations

from typing import Any

from tornado.routing import URLSpec
from tornado.web import Application

from handlers.base import NotFoundHandler, Requests
from handlers.dispatch import module_files, module_socket, modules, runs, scheduler, workflows
from handlers.dispatch.module_socket import Closing
from handlers.knowledge import assistant, conversations, documents, evaluations, search, tags
from handlers.live import events
from handlers.live.events import Browsers
from handlers.operations import health, metrics, openapi, reference
from handlers.people import (
    account_tasks,
    api_keys,
    auth,
    cas,
    codes,
    hr_persons,
    hr_runs,
    hr_sources,
    hr_why,
    organization_notifications,
    organizations,
    roles,
    sessions,
    users,
    view_as,
)
from handlers.platform import audit_log, calendars, files, notifications, queues, schedules, tasks
from handlers.projects import audits, dashboard, milestones, project_parts, projects, results, reviews, rounds, rubrics, student_projects
from handlers.scim import answering as scim_answering
from handlers.scim import groups as scim_groups
from handlers.scim import service as scim_service
from handlers.scim import users as scim_users
from server.config import listed
from server.context import Context
from server.dispatch.frames import LARGEST_FRAME
from server.dispatch.hub import Hub
from server.logs import log_request
from server.people.open_sockets import OpenSockets

ROUTES: list[tuple[str, type[Any]]] = [
    *auth.routes,
    *codes.routes,
    *sessions.routes,
    *cas.routes,
    *api_keys.routes,
    *users.routes,
    *view_as.routes,
    *roles.routes,
    *organizations.routes,
    *organization_notifications.routes,
    *hr_sources.routes,
    *hr_runs.routes,
    *hr_why.routes,
    *hr_persons.routes,
    *account_tasks.routes,
    *scim_service.routes,
    *scim_users.routes,
    *scim_groups.routes,
    *scim_answering.routes,  # the last of SCIM: whatever no other takes
    *modules.routes,
    *module_files.routes,
    *module_socket.routes,
    *workflows.routes,
    *runs.routes,
    *scheduler.routes,
    *calendars.routes,
    *schedules.routes,
    *queues.routes,
    *tasks.routes,
    *notifications.routes,
    *audit_log.routes,
    *files.routes,
    *documents.routes,
    *search.routes,
    *tags.routes,
    *assistant.routes,
    *conversations.routes,
    *evaluations.routes,
    *projects.routes,
    *project_parts.routes,
    *student_projects.routes,
    *milestones.routes,
    *audits.routes,
    *rubrics.routes,
    *rounds.routes,
    *reviews.routes,
    *results.routes,
    *dashboard.routes,
    *events.routes,
    *health.routes,
    *metrics.routes,
    *openapi.routes,
    *reference.routes,
]


class Connections:
    """Every open socket, for the one who stops the server."""

    def __init__(self, hub: Hub, browsers: Browsers) -> None:
        self._hub = hub
        self._browsers = browsers

    def __len__(self) -> int:
        return len(self._hub) + len(self._browsers)

    def close_all(self, code: int, reason: str) -> None:
        self._hub.close_all(code, reason)
        self._browsers.close_all(code, reason)


def make_app(ctx: Context) -> Application:
    """An application on an open context."""
    browsers = ctx.services.add(Browsers(ctx))
    ctx.services.add(OpenSockets(ctx.bus, browsers.of_user))
    ctx.services.add(Closing())
    return Application(
        [URLSpec(pattern, handler, {"route": pattern}) for pattern, handler in ROUTES],
        ctx=ctx,
        requests=Requests(),
        connections=Connections(ctx.services.get(Hub), browsers),
        default_handler_class=NotFoundHandler,
        default_handler_args={"route": "?"},
        log_function=log_request,
        websocket_ping_interval=30,
        websocket_ping_timeout=20,
        websocket_max_message_size=LARGEST_FRAME,
        trusted_origins=listed(ctx.settings.trusted_origins),
    )
