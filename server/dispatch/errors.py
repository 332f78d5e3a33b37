"""What can go wrong with modules, workflows and runs."""

from __future__ import annotations

from server.errors import Conflict, Forbidden, NotFound


class ModuleNotFound(NotFound):
    type = "module_not_found"


class ModuleOffline(Conflict):
    type = "module_offline"


class ModuleInUse(Conflict):
    """Workflows still name the module; `workflows` lists them."""

    type = "module_in_use"


class RegistrationRefused(Forbidden):
    """Neither from loopback in development, nor with the module key or modules:write."""

    type = "registration_refused"


class WorkflowNotFound(NotFound):
    type = "workflow_not_found"


class WorkflowBusy(Conflict):
    """An earlier run is not over, and the overlap policy is skip, or the queue is full."""

    type = "workflow_busy"


class WorkflowNotRunnable(Conflict):
    """Its modules have changed so that its requirements are no longer met; `detail` says how."""

    type = "workflow_not_runnable"


class RunNotFound(NotFound):
    type = "run_not_found"


class RunEnded(Conflict):
    """The run is over; `state` says how."""

    type = "run_ended"


class RunGoing(Conflict):
    """The run is not over."""

    type = "run_going"
