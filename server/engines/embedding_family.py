"""The embedding doors of one process: the one that the settings name, and those that older indexes still need."""

from __future__ import annotations

from urllib.parse import urlsplit

from jobs.cpu import e5_identity
from server.config import Settings, SettingsError
from server.engines.compute import ComputeDoor
from server.engines.embedding import EmbeddingDoor, EmbeddingMisfit, EmbeddingModel
from server.engines.embedding_http import HttpEmbedding, endpoint
from server.engines.embedding_local import LocalEmbedding
from server.messages import text


def origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


class EmbeddingFamily:
    """Opens each door once. The one that the settings name closes the others with it."""

    def __init__(self, settings: Settings, compute: ComputeDoor) -> None:
        self._settings, self._compute = settings, compute
        self._others: dict[EmbeddingModel, EmbeddingDoor] = {}

    def configured(self) -> EmbeddingDoor:
        """The door that the settings name. Raises SettingsError."""
        settings = self._settings
        if not settings.embedding_url:
            return LocalEmbedding(settings, self._compute, self)
        try:
            parts = urlsplit(settings.embedding_url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise SettingsError("EMBEDDING_URL is not the address of an endpoint (see .env.example)")
        if parts.username or parts.password:  # the address is stored with each index, and shown
            raise SettingsError("EMBEDDING_URL must not hold a user or a password; ARK_API_KEY is for that (see .env.example)")
        return self._remote(settings.embedding_url, settings.embedding_model, settings.embedding_dim)

    def other(self, model: EmbeddingModel) -> EmbeddingDoor:
        found = self._others.get(model)
        if found is None:
            found = self._others[model] = self._opened(model)
        return found

    def _opened(self, model: EmbeddingModel) -> EmbeddingDoor:
        if model.url:
            return self._remote(model.url, model.name, model.dim)
        if (model.name, model.dim) != (e5_identity.model_name(), e5_identity.DIM):
            raise EmbeddingMisfit(detail=text("embedding.unknown_model", name=model.name))
        return LocalEmbedding(self._settings, self._compute, self)

    def _remote(self, url: str, name: str, dim: int) -> HttpEmbedding:
        """The key goes to where the settings send it, and not to where an older index was made."""
        trusted = [origin(known) for known in (self._settings.embedding_url, self._settings.llm_url) if known]
        key = self._settings.ark_api_key if origin(url) in trusted else ""
        return HttpEmbedding(endpoint(url), name, dim, key=key, family=self)

    async def close(self) -> None:
        """Close the others."""
        others = list(self._others.values())
        self._others.clear()
        for door in others:
            await door.close()
