"""The Celery side: one task that does nothing, result stored in Redis."""

import os

from celery import Celery

URL = os.environ["BENCH_REDIS"]
RESULTS = URL.removesuffix("/0") + "/1"  # a database of their own, so that its size is the number of results
app = Celery("bench", broker=URL, backend=RESULTS)
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "4")),
    worker_send_task_events=False,
    task_track_started=False,
)


@app.task
def noop():
    return {"answer": 42}
