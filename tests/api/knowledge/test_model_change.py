"""Another embedding model: its index is built beside the old one, which serves until the new one is complete."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from tornado.ioloop import IOLoop

from server.actor import Actor
from server.config import Settings
from server.context import Context
from server.engines.files import Stored
from server.errors import EngineAway
from server.knowledge import documents, indexing, rebuilding, stranded
from server.knowledge.indexes import Indexes, IndexState, collection_name
from server.knowledge.schemas import UploadedFile, UploadFields
from server.knowledge.search import search
from server.knowledge.search_schemas import SearchBody
from server.resources import Resources
from server.scopes import system_actor
from tests.documents.pdf import pdf
from tests.embedded import settings_in
from tests.peers.embedding_server import EmbeddingPeer, refused, running_embeddings

ACTOR = system_actor("test")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "data", ws=1)


async def quiet(_percent: int, _message: str) -> None:
    pass


@asynccontextmanager
async def server(settings: Settings) -> AsyncIterator[Context]:
    resources = await Resources.open(settings, loops=False)
    try:
        yield resources.ctx
    finally:
        await resources.close()


async def put(ctx: Context, text: str, actor: Actor = ACTOR) -> int:
    stored: Stored = await ctx.files.put(pdf([text]))
    document_id = (await documents.upload(ctx, actor, UploadFields(), [UploadedFile("a.pdf", stored)])).document_id
    await indexing.process(ctx, document_id, 1, quiet)
    return document_id


async def found(ctx: Context, question: str) -> list[int]:
    return [hit.document_id for hit in (await search(ctx, ACTOR, SearchBody(q=question, mode="dense"))).hits]


def using(settings: Settings, peer: EmbeddingPeer, model: str) -> Settings:
    return msgspec.structs.replace(settings, embedding_url=peer.url, embedding_model=model)


@pytest.mark.gen_test(timeout=120)
async def test_the_old_index_serves_until_the_new_one_is_complete(io_loop: IOLoop, settings: Settings) -> None:
    async with running_embeddings(dim=64) as old_peer, running_embeddings(dim=32) as new_peer:
        async with server(using(settings, old_peer, "old")) as ctx:
            first = await put(ctx, "Lanterns have wicks.")
            old_model = await ctx.embedding.model()
        async with server(using(settings, new_peer, "new")) as ctx:
            assert await found(ctx, "wicks of lanterns") == [first]
            await stranded.mend(ctx)  # as every five minutes
            states = [(index.model.name, index.state) for index in await ctx.services.get(Indexes).written()]
            assert states == [("old", IndexState.ACTIVE), ("new", IndexState.BUILDING)]
            second = await put(ctx, "Candles have wicks as well.")  # goes to both
            assert set(await found(ctx, "wicks of candles")) == {first, second}

            new_peer.mischief.extend(20 * [refused(500)])
            with pytest.raises(EngineAway):  # broken off; the task is tried again
                await rebuilding.build(ctx, quiet)
            new_peer.mischief.clear()
            assert set(await found(ctx, "wicks of candles")) == {first, second}
            asked = len(old_peer.texts)

            result = await rebuilding.build(ctx, quiet)
            assert (result["switched"], result["model"], result["embedded"]) == (True, "new", 1)
            assert await rebuilding.build(ctx, quiet) == {"skipped": "no index is being built"}
            assert set(await found(ctx, "wicks of all kinds")) == {first, second}
            assert len(old_peer.texts) == asked
            assert await ctx.vectors.count(collection_name(await ctx.embedding.model())) == 2
        # and back, which finds the old collection again
        async with server(using(settings, old_peer, "old")) as ctx:
            await stranded.mend(ctx)
            result = await rebuilding.build(ctx, quiet)
            assert (result["switched"], result["model"], result["embedded"]) == (True, "old", 0)
            assert await ctx.embedding.model() == old_model
            assert set(await found(ctx, "wicks of all kinds")) == {first, second}


@pytest.mark.gen_test(timeout=120)
async def test_a_retired_collection_is_dropped(io_loop: IOLoop, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_embeddings(dim=64) as old_peer, running_embeddings(dim=32) as new_peer:
        async with server(using(settings, old_peer, "old")) as ctx:
            await put(ctx, "Lanterns have wicks.")
        async with server(using(settings, new_peer, "new")) as ctx:
            await stranded.mend(ctx)
            await rebuilding.build(ctx, quiet)
            assert len(await ctx.vectors.collections()) == 2
            assert (await stranded.sweep_vectors(ctx))["dropped"] == 0  # another instance may be searching it still
            monkeypatch.setattr(rebuilding, "RETIRED_KEPT", -rebuilding.RETIRED_KEPT)
            assert (await stranded.sweep_vectors(ctx))["dropped"] == 1
            assert await ctx.vectors.collections() == [collection_name(await ctx.embedding.model())]
