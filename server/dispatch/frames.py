"""The frames of the module socket: what is sent, and what is understood."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

# Frames to a module.


class ExecuteMeta(msgspec.Struct, omit_defaults=False):
    """`execution_time` is the cron time in the workflow's zone, without offset; `deadline` is ISO 8601 with offset."""

    execution_time: str
    workflow_id: str
    workflow_name: str
    run_id: str
    step_id: str
    attempt: int
    fence: int
    deadline: str


class Execute(msgspec.Struct, tag="execute"):
    meta: ExecuteMeta
    args: dict[str, Any]


class Cancel(msgspec.Struct, tag="cancel"):
    run_id: str
    step_id: str
    fence: int


class Drain(msgspec.Struct, tag="drain"):
    """Finish what you have; no new work comes on this socket."""


class Complaint(msgspec.Struct, tag="error"):
    """What was wrong with a frame; names the step when the frame did."""

    message: str
    step_id: str | None = None
    fence: int | None = None


# Frames from a module. Unknown fields are ignored: modules of other versions say more.


# What could be an id or a number of ours; anything longer is a frame that cannot be read.
Id = Annotated[str, msgspec.Meta(max_length=64)]
Number = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]


class _FromStep(msgspec.Struct, kw_only=True):
    run_id: Id | None = None
    step_id: Id | None = None
    fence: Number | None = None


class Result(_FromStep, tag="result", kw_only=True):
    status: Literal["success", "failure"]
    workflow_id: Id | Number | None = None
    workflow_name: str | None = None
    module_name: str | None = None
    error: Any = None
    message: Any = None
    output: Any = None


class Ack(_FromStep, tag="ack", kw_only=True):
    """The module has the step; `started` is False while it still waits its turn in the module."""

    started: bool = True


class Progress(_FromStep, tag="progress", kw_only=True):
    percent: float = 0
    message: str = ""


class Log(_FromStep, tag="log", kw_only=True):
    lines: list[str]
    level: str = "info"


class Cancelled(_FromStep, tag="cancelled", kw_only=True):
    pass


class Refused(_FromStep, tag="refused", kw_only=True):
    """The module did not take a step, as it is stopping; another process of it may."""


class Leaving(msgspec.Struct, tag="drain"):
    """The module takes no new work on this socket; it finishes what it has and closes the socket itself."""


FromModule = Result | Ack | Progress | Log | Cancelled | Refused | Leaving

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(FromModule).decode
CONFIRMED = "receive result"
LARGEST_FRAME = 1 << 20
