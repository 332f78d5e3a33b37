"""What authors of Zhihui modules import: `Module`, the tasks that its handler gets, and the errors that it may meet."""

from zhihui_module.errors import FileTransferFailed, ModuleError, RegistrationRefused, ServerAway, TaskCancelled
from zhihui_module.module import Module
from zhihui_module.requirements import DataType, Requirement
from zhihui_module.task import AsyncTask, Task
from zhihui_module.task_meta import TaskMeta

__all__ = [
    "AsyncTask",
    "DataType",
    "FileTransferFailed",
    "Module",
    "ModuleError",
    "RegistrationRefused",
    "Requirement",
    "ServerAway",
    "Task",
    "TaskCancelled",
    "TaskMeta",
]
