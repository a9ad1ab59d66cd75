"""heavy.py - four Python threads that allocate, and free each other's objects.

Each thread builds records, turns them into JSON and back, keeps some in a
dictionary, and hands the rest to the next thread.  Prints one sum per thread.

SPDX-License-Identifier: BSD-2-Clause
"""
import json
import queue
import random
import threading
import zlib

THREADS = 4
ROUNDS = 24
RECORDS = 250
STOP = None

inboxes = [queue.Queue(maxsize=8) for _ in range(THREADS)]
sums = [0] * THREADS


def make_record(rng, number):
    """A record of nested containers and strings of many lengths."""
    return {
        "id": number,
        "name": "name-%x" % rng.getrandbits(64),
        "tags": ["t%d" % rng.randrange(1000) for _ in range(rng.randrange(12))],
        "text": "lorem ipsum " * rng.randrange(1, 60),
        "size": {"w": rng.randrange(4096), "h": rng.random()},
    }


def fold(total, text):
    return zlib.crc32(text, total)


def work(me):
    """Make, keep, drop and hand over; the order of a thread's own is fixed."""
    rng = random.Random(me)
    kept = {}
    total = 0
    for number in range(ROUNDS):
        records = [make_record(rng, i) for i in range(RECORDS)]
        text = json.dumps(records, sort_keys=True)
        total = fold(total, text.encode())
        for record in json.loads(text):
            kept[rng.randrange(2000)] = record
        words = sorted(" ".join(r["text"] for r in records).split())
        blob = bytearray(rng.randrange(1, 400000))
        total = fold(total, b"%d %d" % (len(words), len(blob)))
        inboxes[(me + 1) % THREADS].put((records, words, blob))
        if number > 0:
            taken = inboxes[me].get()
            total = fold(total, b"%d" % len(taken[0]))
    inboxes[me].get()
    sums[me] = fold(total, json.dumps(sorted(kept.items())).encode())


def main():
    threads = [threading.Thread(target=work, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, total in enumerate(sums):
        print("thread %d: %08x" % (number, total))


main()
