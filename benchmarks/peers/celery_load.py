"""The producer: `throughput N` sends N tasks and waits until all results are stored; `latency N` sends one after the other."""

import json
import sys
import time

import redis
from celery_app import RESULTS, noop


def throughput(number):
    store = redis.Redis.from_url(RESULTS)
    noop.delay().get(timeout=30)
    store.flushdb()
    began = time.perf_counter()
    for _ in range(number):
        noop.delay()
    sent = time.perf_counter()
    while store.dbsize() < number:
        time.sleep(0.005)
    took = time.perf_counter() - began
    return {"rate": number / took, "seconds": took, "sent_s": sent - began}


def latency(number):
    times = []
    for _ in range(20 + number):
        began = time.perf_counter()
        noop.delay().get(timeout=30)
        times.append(1000 * (time.perf_counter() - began))
    return times[20:]


if __name__ == "__main__":
    print(json.dumps({"throughput": throughput, "latency": latency}[sys.argv[1]](int(sys.argv[2]))))
