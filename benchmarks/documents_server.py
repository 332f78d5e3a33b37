"""The whole way of documents, as a user has it: the first page, a manual's ingestion, the loop meanwhile, search among 10,000 passages."""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.processes import Broken, Server, answers, memory_mib
from benchmarks.report import Row, note, print_notes, print_table

CHINESE = Path("/usr/share/debian-reference/debian-reference.zh-cn.pdf")
ENGLISH = Path("/usr/share/debian-reference/debian-reference.en.pdf")
PASSAGES = 10_000
SEARCHES = 300
FIRST_PAGE_S = 5.0
QUESTIONS = (
    "如何重置 root 密码",
    "防火墙规则",
    "配置网络接口",
    "how to configure the network",
    "apt-get dist-upgrade",
    "磁盘分区",
    "备份和恢复数据",
    "what is a symbolic link",
    "/etc/fstab",
    "编译内核模块",
    "mail transfer agent",
    "中文输入法",
)


class Uploads:
    """One server and what is uploaded to it."""

    def __init__(self, server: Server) -> None:
        self.server, self.api, self.token = server, server.api(), server.token()

    def upload(self, path: Path, title: str) -> int:
        """With curl, as the README shows; the document's id."""
        words = ["curl", "-sf", "-H", f"Authorization: Bearer {self.token}", "-F", f"file=@{path}", "-F", f"title={title}"]
        said = subprocess.run([*words, f"{self.server.url}/api/documents"], capture_output=True, check=True).stdout
        found = re.search(rb'"document_id":(\d+)', said)
        if found is None:
            raise Broken(f"the upload was answered {said!r}")
        return int(found[1])

    def follow(self, document_id: int, every_s: float = 0.1) -> Iterator[dict[str, Any]]:
        """The document again and again until it is ready."""
        while True:
            self.server.check()
            document: dict[str, Any] = self.api.get(f"/api/documents/{document_id}")
            yield document
            if document["status"] == "ready":
                return
            if document["status"] not in ("queued", "parsing", "embedding"):
                raise Broken(f"the document ended {document['status']}: {document['error']}")
            time.sleep(every_s)

    def ingest(self, path: Path, title: str) -> tuple[float, float, dict[str, Any]]:
        """Seconds until something is found and until all is, and the document."""
        began = time.monotonic()
        document_id, first, document = self.upload(path, title), 0.0, {}
        for document in self.follow(document_id):
            if not first and document["searchable"]:
                first = time.monotonic() - began
        return first, time.monotonic() - began, document

    def search_ms(self, question: str, mode: str = "hybrid") -> float:
        """The server's own time for a search, in ms."""
        return float(self.api.get(f"/api/search?{urllib.parse.urlencode({'q': question, 'mode': mode})}")["took_ms"])

    def lags(self) -> dict[float, float]:
        """The histogram of the loop's lag: samples up to so many seconds."""
        with urllib.request.urlopen(f"{self.server.url}/metrics") as answer:
            text = answer.read().decode()
        return {
            float(edge): float(count) for edge, count in re.findall(r'zhihui_loop_lag_seconds_bucket\{le="([^"]+)"\} ([0-9.e+]+)', text)
        }


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def lag_p99_ms(before: dict[float, float], after: dict[float, float]) -> float:
    """The edge of the histogram's bucket that 99 % of the samples between the two readings lie under, in ms."""
    grown = {edge: after[edge] - before[edge] for edge in after}
    total = grown[float("inf")]
    return 1000 * min(edge for edge, count in grown.items() if count >= 0.99 * total)


def measure(passages: int = PASSAGES) -> dict[str, float]:
    """Seconds, milliseconds, counts by name; see `rows`."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-documents-") as folder:
        with Server(Path(folder), log_level="WARNING") as server:
            uploads = Uploads(server)
            note("the first manual, on a server that has not read any")
            before = uploads.lags()
            found["first_page_cold_s"], found["manual_s"], document = uploads.ingest(CHINESE, "zh")
            found["lag_p99_ms"] = lag_p99_ms(before, uploads.lags())
            found["alive"] = float(answers(f"{server.url}/health/live"))
            found["passages_a_second"] = document["chunks"] / found["manual_s"]
            note("the second manual")
            found["first_page_warm_s"], found["second_s"], document = uploads.ingest(ENGLISH, "en")
            copies = 0
            while (count := _passages(uploads)) < passages:
                copies += 1
                note(f"{count} passages; a copy, whose vectors are there already")
                _, found["copy_s"], _ = uploads.ingest(ENGLISH if copies % 2 else CHINESE, f"copy {copies}")
            found["passages"] = count
            note(f"searches among {count} passages")
            for mode in ("hybrid", "dense", "keyword"):
                # No question twice in a row, and none that is known already: a number makes each its own.
                took = [uploads.search_ms(f"{QUESTIONS[turn % len(QUESTIONS)]} {turn}", mode) for turn in range(SEARCHES)]
                found[f"{mode}_p50_ms"], found[f"{mode}_p95_ms"] = statistics.median(took), percentile(took, 0.95)
            found["server_mib"] = server.rss_mib
            found["family_mib"] = sum(memory_mib(pid) for pid in _family(server.process.pid, str(folder)))
    return found


def _passages(uploads: Uploads) -> int:
    listed = uploads.api.get("/api/documents?page_size=200")["items"]
    return sum(int(uploads.api.get(f"/api/documents/{item['id']}")["chunks"]) for item in listed)


def _family(pid: int, folder: str) -> list[int]:
    """The process, its workers, and the vector engine that works in its folder."""
    found = {pid}
    for status in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((status / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid or folder in (status / "cmdline").read_text():
                found.add(int(status.name))
        except OSError:
            continue  # it ended meanwhile
    return sorted(found)


def rows(found: dict[str, float]) -> list[Row]:
    """The figures beside their targets."""
    return [
        Row(what="first page found, cold server", ours=found["first_page_cold_s"], unit="s", target=FIRST_PAGE_S, want="at most"),
        Row(what="first page found, warm server", ours=found["first_page_warm_s"], unit="s", target=FIRST_PAGE_S, want="at most"),
        Row(what="loop lag while reading, p99", ours=found["lag_p99_ms"], unit="ms", target=20, want="at most"),
        Row(what=f"hybrid search in {found['passages']:,.0f}, p95", ours=found["hybrid_p95_ms"], unit="ms", target=60, want="at most"),
        Row(what="dense search, p95", ours=found["dense_p95_ms"], unit="ms"),
        Row(what="keyword search, p95", ours=found["keyword_p95_ms"], unit="ms"),
        Row(what="manual of 251 pages, complete", ours=found["manual_s"], unit="s"),
        Row(what="passages embedded and indexed", ours=found["passages_a_second"], unit="/s"),
        Row(what="a copy of a manual, complete", ours=found["copy_s"], unit="s"),
        Row(what="memory of the server process", ours=found["server_mib"], unit="MiB"),
        Row(what="memory with workers and vector engine", ours=found["family_mib"], unit="MiB"),
    ]


def main() -> None:
    print_table(rows(measure()))
    print_notes("How", ["Times of searches are the server's own, `took_ms`, with the embedding of the question."])


if __name__ == "__main__":
    main()
