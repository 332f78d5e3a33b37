"""What the dispatch wing tells after its commits."""

from __future__ import annotations

from server.events import Event


class ModuleChanged(Event, frozen=True):
    """A module came, went, or was described anew (`redefined`: its requirements may differ)."""

    hash: str
    online: bool
    redefined: bool = False
    removed: bool = False


class ModuleTaken(Event, frozen=True):
    """A module's socket is open on an instance and takes all new work; others that serve the module have to drain.

    What the same process had on another socket goes on on this one.
    """

    hash: str
    instance: str
    process: str | None = None


class WorkflowChanged(Event, frozen=True):
    workflow_id: int
    removed: bool = False


class RunChanged(Event, frozen=True):
    run_id: str
    workflow_id: int
    state: str


class StepChanged(Event, frozen=True):
    run_id: str
    step_id: str
    state: str
    progress: int = 0
    message: str = ""


class StepLogged(Event, frozen=True):
    """`lines` were added to a step's log, the first at line `offset`."""

    run_id: str
    step_id: str
    offset: int
    lines: list[str]


class StepsReady(Event, frozen=True):
    """Steps wait for a module; whoever holds its socket takes them."""

    hash: str


class CancelWanted(Event, frozen=True):
    """Whoever holds the socket on which the step is in flight asks the module to stop."""

    hash: str
    run_id: str
    step_id: str
    fence: int


EVENTS: list[type[Event]] = [ModuleChanged, ModuleTaken, WorkflowChanged, RunChanged, StepChanged, StepLogged, StepsReady, CancelWanted]
