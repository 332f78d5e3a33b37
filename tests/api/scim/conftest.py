"""A SCIM client of the test's server, with a key for nothing but SCIM."""

from __future__ import annotations

import pytest
from tornado.ioloop import IOLoop

from server.context import Context
from server.people import keys
from server.people.identify import identify
from server.people.schemas import ApiKeyRequest
from tests.api.client import Api
from tests.api.scim.scim_client import Scim


@pytest.fixture
def scim(api: Api, ctx: Context, io_loop: IOLoop) -> Scim:
    """A client with an API key for nothing but SCIM."""

    async def make() -> Scim:
        admin = await identify(ctx, api.token, address="127.0.0.1")
        key = (await keys.create_key(ctx, admin, ApiKeyRequest(name="scim", scopes=["scim:manage"]))).key
        return Scim(api.client, api.base_url, key)

    return io_loop.run_sync(make)
