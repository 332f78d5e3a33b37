"""The vectors door on Milvus: a server of its own, or Milvus Lite as our child. One code for both, over pymilvus in threads."""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from server.engines.milvus_lite import LiteChild
from server.engines.reachable import check_reachable
from server.engines.vectors import (
    MOST_QUERY_BYTES,
    MOST_TEXT_BYTES,
    Hit,
    Row,
    Vector,
    VectorsMismatch,
    Where,
    check_collection,
    check_ids,
    check_limit,
    check_row,
    condition,
    cut,
    number,
)
from server.engines.vectors_connection import CONNECT_TIMEOUT_S, PATIENCE_S, MilvusConnection
from server.engines.vectors_schema import create, dim_of, found_dim
from server.errors import EngineAway

if TYPE_CHECKING:
    from pymilvus import MilvusClient

T = TypeVar("T")

SEARCH_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 60.0
SEARCH_THREADS, WRITE_THREADS = 6, 2
IDS_AT_ONCE = 1_000
# Explored neighbours; more than any limit in use, so that filtered searches find enough.
EF = 200

logger = logging.getLogger(__name__)


class MilvusVectors:
    """Milvus at an address, or in a child process.

    pymilvus's client for asyncio serializes rows on the loop; the plain one does so in our threads.
    """

    mode: Literal["embedded", "distributed"]

    def __init__(
        self,
        uri: str = "",
        *,
        child: LiteChild | None = None,
        search_timeout_s: float = SEARCH_TIMEOUT_S,
        write_timeout_s: float = WRITE_TIMEOUT_S,
    ) -> None:
        self.mode = "embedded" if child else "distributed"
        self._child = child
        self._search_timeout_s = search_timeout_s
        self._write_timeout_s = write_timeout_s
        self._uri = uri
        self._searching = ThreadPoolExecutor(SEARCH_THREADS, thread_name_prefix="vectors-search")
        self._writing = ThreadPoolExecutor(WRITE_THREADS, thread_name_prefix="vectors-write")
        self._connection = MilvusConnection(child.address if child else uri, child, load_timeout_s=write_timeout_s)
        self._dims: dict[str, int] = {}
        self._closed = False

    async def prepare(self, collection: str, dim: int) -> None:
        check_collection(collection)

        def work(client: MilvusClient) -> int:
            timeout_s = self._write_timeout_s
            if not client.has_collection(collection, timeout=timeout_s):
                create(client, collection, dim, embedded=self._child is not None, timeout_s=timeout_s)
            found = found_dim(client, collection, dim, embedded=self._child is not None, timeout_s=timeout_s)
            if found == dim:
                client.load_collection(collection, timeout=timeout_s)
            return found

        found = await self._write(collection, work)
        if found != dim:
            raise VectorsMismatch(detail=f"{collection}: {found} ≠ {dim}")
        self._dims[collection] = dim

    async def put(self, collection: str, rows: Sequence[Row]) -> None:
        check_collection(collection)
        for row in rows:
            check_row(row, self._dims.get(collection))
        # Of two with one id the last counts; Milvus leaves open which.
        last = {row.id: row for row in rows}
        if not last:
            return

        def work(client: MilvusClient) -> None:
            import numpy as np

            data = [
                {
                    "id": row.id,
                    "document": row.document_id,
                    "organization": row.organization_id,
                    "language": row.language,
                    "text": cut(row.text, MOST_TEXT_BYTES),
                    "vector": np.frombuffer(row.vector, dtype="<f4"),
                }
                for row in last.values()
            ]
            client.upsert(collection, data, timeout=self._write_timeout_s)

        await self._write(collection, work)

    async def remove(self, collection: str, *, ids: Sequence[str] = (), document_id: int | None = None) -> None:
        check_collection(collection)
        check_ids(ids)
        wanted = list(dict.fromkeys(ids))
        document = None if document_id is None else number(document_id)

        def work(client: MilvusClient) -> None:
            for start in range(0, len(wanted), IDS_AT_ONCE):
                client.delete(collection, ids=wanted[start : start + IDS_AT_ONCE], timeout=self._write_timeout_s)
            if document is not None:
                client.delete(collection, filter=f"document == {document}", timeout=self._write_timeout_s)

        if wanted or document is not None:
            await self._write(collection, work)

    async def dense(self, collection: str, vector: Vector, where: Where, limit: int) -> list[Hit]:
        if not vector or len(vector) % 4:
            raise ValueError(f"{len(vector)} bytes are no vector")

        def query() -> Any:
            import numpy as np

            return np.frombuffer(vector, dtype="<f4")

        params = {"metric_type": "COSINE", "params": {} if self._child else {"ef": max(EF, limit)}}
        return await self._find(collection, "vector", query, params, where, limit)

    async def keyword(self, collection: str, text: str, where: Where, limit: int) -> list[Hit]:
        words = cut(text, MOST_QUERY_BYTES).strip()
        if not words:
            check_limit(limit)
            return []
        return await self._find(collection, "sparse", lambda: words, {"metric_type": "BM25"}, where, limit)

    async def _find(
        self, collection: str, field: str, query: Callable[[], Any], params: dict[str, Any], where: Where, limit: int
    ) -> list[Hit]:
        check_collection(collection)
        check_limit(limit)
        if where.is_empty:
            return []

        def work(client: MilvusClient) -> list[Hit]:
            answer = client.search(
                collection,
                data=[query()],
                anns_field=field,
                filter=condition(where),
                limit=limit,
                output_fields=["id"],
                search_params=params,
                timeout=self._search_timeout_s,
            )
            # Milvus Lite turns the sign of BM25.
            return [Hit(hit["id"], abs(hit["distance"]) if field == "sparse" else hit["distance"]) for hit in answer[0]]

        return await self._search(collection, work)

    async def vectors(self, collection: str, ids: Sequence[str]) -> dict[str, Vector]:
        check_ids(ids)
        wanted = list(dict.fromkeys(ids))

        def work(client: MilvusClient) -> dict[str, Vector]:
            found = {}
            for start in range(0, len(wanted), IDS_AT_ONCE):
                part = wanted[start : start + IDS_AT_ONCE]
                for row in client.get(collection, ids=part, output_fields=["vector"], timeout=self._search_timeout_s):
                    found[row["id"]] = array("f", row["vector"]).tobytes()
            return found

        return await self._search(collection, work) if wanted else {}

    async def ids(self, collection: str, document_id: int) -> set[str]:
        document = number(document_id)

        def work(client: MilvusClient) -> set[str]:
            rows = client.query(collection, filter=f"document == {document}", output_fields=["id"], timeout=self._search_timeout_s)
            return {row["id"] for row in rows}

        return await self._search(collection, work)

    async def document_ids(self, collection: str) -> set[int]:
        def work(client: MilvusClient) -> set[int]:
            rows = client.query(collection, filter="id >= ''", output_fields=["document"], timeout=self._write_timeout_s)
            return {row["document"] for row in rows}

        return await self._write(collection, work)

    async def count(self, collection: str) -> int:
        def work(client: MilvusClient) -> int:
            rows = client.query(collection, filter="", output_fields=["count(*)"], timeout=self._search_timeout_s)
            return int(rows[0]["count(*)"])

        return await self._search(collection, work)

    async def collections(self) -> list[str]:
        return sorted(await self._search("", lambda client: client.list_collections(timeout=self._search_timeout_s)))

    async def drop(self, collection: str) -> None:
        check_collection(collection)
        self._dims.pop(collection, None)
        await self._write("", lambda client: client.drop_collection(collection, timeout=self._write_timeout_s))

    async def warm(self) -> None:
        def work() -> None:
            try:
                self._connection.ask(
                    "", self._read_in if self._child else lambda client: client.list_collections(timeout=CONNECT_TIMEOUT_S)
                )
            except Exception as error:
                logger.info("vectors are not warm yet: %s", error)

        self._check_open()
        asyncio.get_running_loop().run_in_executor(self._writing, work)

    def _read_in(self, client: MilvusClient) -> None:
        """Have Milvus Lite read its files: a search in either way makes what all later ones use."""
        timeout_s = self._write_timeout_s
        for collection in client.list_collections(timeout=timeout_s):
            client.load_collection(collection, timeout=timeout_s)
            zeros = [0.0] * dim_of(client, collection, timeout_s)
            for field, query, metric in (("sparse", "warm", "BM25"), ("vector", zeros, "COSINE")):
                params = {"metric_type": metric}
                client.search(collection, [query], anns_field=field, limit=1, output_fields=["id"], search_params=params, timeout=timeout_s)

    async def ping(self) -> None:
        if not self._connection.is_begun:  # a look at the health must not start what nobody has used yet
            if self._child is None:
                await check_reachable("vectors", self._uri)
            return
        await self._search("", lambda client: client.list_collections(timeout=self._search_timeout_s))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._shut)

    def _shut(self) -> None:
        self._connection.close()
        for threads in (self._searching, self._writing):
            threads.shutdown(wait=True, cancel_futures=True)
        if self._child is not None:
            self._child.close()

    # How a request gets to Milvus.

    async def _search(self, collection: str, work: Callable[[MilvusClient], T]) -> T:
        return await self._in_thread(self._searching, self._search_timeout_s, collection, work)

    async def _write(self, collection: str, work: Callable[[MilvusClient], T]) -> T:
        return await self._in_thread(self._writing, self._write_timeout_s, collection, work)

    async def _in_thread(self, threads: ThreadPoolExecutor, timeout_s: float, collection: str, work: Callable[[MilvusClient], T]) -> T:
        self._check_open()
        try:
            async with asyncio.timeout(timeout_s + PATIENCE_S):  # also of those who wait for a thread
                return await asyncio.get_running_loop().run_in_executor(threads, self._connection.ask, collection, work)
        except TimeoutError:
            raise EngineAway("vectors", f"no answer within {timeout_s + PATIENCE_S:.0f} s") from None

    def _check_open(self) -> None:
        if self._closed:
            raise EngineAway("vectors", "closed")
