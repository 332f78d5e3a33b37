"""What can go wrong between a module and its server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class ModuleError(Exception):
    """The base of every error that this package raises on purpose, ValueError for wrong arguments aside."""


class ServerAway(ModuleError):
    """The server cannot be reached, or answers that it is not ready; the same can be asked again."""


class ServerRefused(ModuleError):
    """The server answered, and the answer is no.

    `status` is the HTTP status, `message` the envelope's sentence, `fields` what is wrong with which field.
    """

    def __init__(self, doing: str, status: int, message: str, fields: Mapping[str, Sequence[str]] | None = None) -> None:
        self.status = status
        self.message = message
        self.fields = {name: list(reasons) for name, reasons in (fields or {}).items()}
        details = "".join(f"\n  {name}: {'; '.join(reasons)}" for name, reasons in self.fields.items())
        super().__init__(f"{doing} was refused ({status}): {message}{details}")


class RegistrationRefused(ServerRefused):
    """The server will not register this module: the declaration or the key is wrong."""


class FileTransferFailed(ModuleError):
    """A file could not be sent or fetched, or is not what its checksum says."""


class TaskCancelled(ModuleError):
    """Raised by `task.raise_if_cancelled()` once the server asked this task to stop."""
