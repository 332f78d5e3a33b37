"""What the rest of the server hears of projects."""

from __future__ import annotations

from server.events import Event


class ProjectChanged(Event, frozen=True):
    """A project was made, changed, moved to another state or removed (`state` is then `deleted`)."""

    project_id: int
    organization_id: int
    state: str


class DashboardStale(Event, frozen=True):
    """What dashboards show has changed."""
