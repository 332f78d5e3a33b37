"""Context: what an action needs, in one frozen dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from server.clock import Clock
from server.config import Settings
from server.engines.bus import BusDoor
from server.engines.compute import ComputeDoor
from server.engines.documents import DocumentsDoor
from server.engines.embedding import EmbeddingDoor
from server.engines.files import FilesDoor
from server.engines.llm import LlmDoor
from server.engines.mail import MailDoor
from server.engines.sql import SqlDoor
from server.engines.vectors import VectorsDoor
from server.events import Events
from server.metrics import Metrics
from server.secrets_file import Secrets

S = TypeVar("S")


class Services:
    """What a wing keeps in memory for the life of the process, one object a type: the hub of sockets, caches."""

    def __init__(self) -> None:
        self._by_type: dict[type[Any], Any] = {}

    def add(self, service: S) -> S:
        self._by_type[type(service)] = service
        return service

    def get(self, kind: type[S]) -> S:
        found: S = self._by_type[kind]
        return found


@dataclass(frozen=True)
class Context:
    """Settings, engines, events and clock. `instance` names this process among others."""

    settings: Settings
    secrets: Secrets
    clock: Clock
    instance: str
    sql: SqlDoor
    documents: DocumentsDoor
    bus: BusDoor
    mail: MailDoor
    compute: ComputeDoor
    files: FilesDoor
    embedding: EmbeddingDoor
    vectors: VectorsDoor
    llm: LlmDoor
    events: Events
    metrics: Metrics
    services: Services
