"""The Celery side of `bench tasks`: the same task, acknowledged only when it is done, as a durable queue must."""

from celery_app import app, noop  # noqa: F401 - the worker finds the task by importing it

app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)
