"""What the module routes take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=190)]


class RegisterRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename={"model_hash": "modelHash"}):
    """`input_data` and `output_data` are lists of requirements, or the same as JSON text; `key` is the module key."""

    name: Name
    description: Annotated[str, msgspec.Meta(max_length=10000)] = ""
    input_data: str | list[Any] | None = None
    output_data: str | list[Any] | None = None
    model_hash: Annotated[str, msgspec.Meta(max_length=190)] = ""
    key: str = ""


class Registered(msgspec.Struct):
    hash: str
    module_id: int
    id: int


class ConnectionView(msgspec.Struct):
    """A socket of the module on this instance: `state` is serving or draining."""

    state: str
    address: str
    protocol: int
    connected_at: datetime
    running: int


class Module(msgspec.Struct):
    """A module; `running` counts its steps in flight."""

    module_id: int
    id: int
    hash: str
    name: str
    description: str
    model_hash: str
    input_data: list[dict[str, Any]]
    output_data: list[dict[str, Any]]
    online: bool
    connected_at: datetime | None
    last_seen: datetime | None
    address: str | None
    running: int
    organization_id: int
    registered_at: datetime
    connections: list[ConnectionView]


class ModulePatch(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    description: Annotated[str, msgspec.Meta(max_length=10000)] | None = None
    input_data: str | list[Any] | None = None
    output_data: str | list[Any] | None = None


class MessageRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A string goes to the socket as it is, anything else as JSON."""

    module_hash: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    message: Any


class MessageSent(msgspec.Struct):
    message: str


class FileStored(msgspec.Struct):
    """A file put in by a module; `url` holds for a week."""

    url: str
    sha256: str
    size: int
