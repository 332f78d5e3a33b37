"""/api/auth/api-keys: the caller's own keys."""

from __future__ import annotations

import msgspec

from handlers.answering import ENCODE, Envelope
from handlers.base import ApiHandler
from handlers.operation import operation
from server.people import keys
from server.people.schemas import ApiKey, ApiKeyRequest, Done, NewApiKey
from server.scopes import SIGNED_IN


class ApiKeysHandler(ApiHandler):
    @operation(SIGNED_IN, "The caller's API keys.")
    async def get(self) -> list[ApiKey]:
        return await keys.list_keys(self.ctx, self.actor)

    @operation(SIGNED_IN, "Make an API key; the key itself is shown this once.", idempotent=True)
    async def post(self, body: ApiKeyRequest) -> NewApiKey:
        seed = self.idempotency_key().seed if "Idempotency-Key" in self.request.headers else None
        return await keys.create_key(self.ctx, self.actor, body, seed=seed)

    def to_keep(self, envelope: Envelope) -> Envelope:
        return msgspec.structs.replace(envelope, result=msgspec.structs.replace(envelope.result, key=""))

    def from_kept(self, body: str) -> bytes:
        envelope = msgspec.json.decode(body, type=Envelope)
        envelope.result["key"] = keys.derived_key(self.ctx, envelope.result["prefix"], self.idempotency_key().seed)
        return ENCODE(envelope)


class ApiKeyHandler(ApiHandler):
    @operation(SIGNED_IN, "Revoke an API key.")
    async def delete(self, key_id: str) -> Done:
        await keys.revoke_key(self.ctx, self.actor, int(key_id))
        return Done()


routes = [
    (r"/api/auth/api-keys", ApiKeysHandler),
    (r"/api/auth/api-keys/(?P<key_id>[0-9]{1,18})", ApiKeyHandler),
]
