"""Running one step: inputs fetched, handler called, outputs encoded; its last frame comes out."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from zhihui_module import frames
from zhihui_module.errors import TaskCancelled
from zhihui_module.files import Files
from zhihui_module.outputs import Outputs
from zhihui_module.steps import Step, StepState
from zhihui_module.task import AsyncTask, Task
from zhihui_module.threads import WorkerThreads

Handler = Callable[[Any], Any]
TRACEBACK_LINES = 20


@dataclass(frozen=True, slots=True)
class Runner:
    """Turns steps into last frames. `finish` is told the frame and whether it is a result."""

    handler: Handler
    is_async: bool
    encoded_name: str
    files: Files
    outputs: Outputs
    threads: WorkerThreads
    finish: Callable[[Step, str, bool], None]

    async def run(self, step: Step) -> None:
        """Run the step to its end; whatever goes wrong becomes its frame."""
        step.has_begun = True
        try:
            pairs = await self.outputs.encode(await self._call(step), lambda line: step.reporter.log("warning", line))
        except (TaskCancelled, asyncio.CancelledError) as error:
            if step.state is StepState.CANCELLING:
                self.finish(step, frames.cancelled_frame(step.ids), False)
            else:
                self.finish(step, self._failure(step, error), True)
        except (Exception, SystemExit) as error:
            lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
            step.reporter.log("error", "\n".join(lines[-TRACEBACK_LINES:]))
            self.finish(step, self._failure(step, error), True)
        else:
            self.finish(step, frames.success_frame(step.meta, step.ids, self.encoded_name, pairs), True)

    def cancel(self, step: Step) -> None:
        """Ask the work to stop: the flag for whoever looks, an interruption where that is safe."""
        if step.task is not None:
            step.task.request_cancel()
        if step.interruptible and step.work is not None:
            step.work.cancel()

    def abandoned_frame(self, step: Step, reason: str) -> str:
        """The result of a step that this process can't bring to its end."""
        return frames.failure_frame(step.meta, step.ids, self.encoded_name, reason, f"stopped: {reason}")

    async def _call(self, step: Step) -> Any:
        args = {} if step.args is None else step.args
        if not isinstance(args, dict):
            raise TypeError(f"args must be an object, not {type(args).__name__}")
        if step.has_files:
            args = await self.files.resolve(args)
        loop = asyncio.get_running_loop()
        if self.is_async:
            step.task = AsyncTask(args, step.meta, step.reporter, self.files.put, loop)
            return await self.handler(step.task)
        step.task = Task(args, step.meta, step.reporter, self.files.put, loop)
        step.interruptible = False
        output = await self.threads.call(self.handler, step.task)
        if isinstance(output, Awaitable):
            if inspect.iscoroutine(output):
                output.close()
            raise TypeError("the handler returned a coroutine: declare it with async def")
        return output

    def _failure(self, step: Step, error: BaseException) -> str:
        kind = type(error).__name__
        text = str(error)
        return frames.failure_frame(step.meta, step.ids, self.encoded_name, text or kind, f"{kind}: {text}" if text else kind)
