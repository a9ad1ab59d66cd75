#!/bin/bash
# python: text, threads, processes, and some of its own tests
# needs python3=python3 libpython3.11-testsuite=/usr/lib/python3.11/test/test_json
set -e
# Or it would take small objects from an allocator of its own.
export PYTHONHASHSEED=1 PYTHONMALLOC=malloc
python3 - "$INPUTS/lines" <<'END'
import concurrent.futures as f
import json
import multiprocessing as m
import re
import sys

def work(n):
    return sum(len(str(i) * (i % 50)) for i in range(n))

rows = [re.split(" ", line.rstrip()) for line in open(sys.argv[1])]
text = json.dumps({r[2] + r[3]: r for r in rows}, indent=1, sort_keys=True)
back = json.loads(text)
print(len(text), len(back), sum(int(r[0]) for r in back.values()))
with f.ThreadPoolExecutor(8) as pool:
    print(list(pool.map(work, range(1000, 5000, 500))))
with m.get_context("fork").Pool(4) as pool:
    print(pool.map(work, range(0, 8000, 500)))
END
python3 -m test test_collections test_deque test_json test_list \
	test_memoryview test_struct 2>&1 |
	sed 's/^[0-9:]* load avg: [0-9.]* //; s/ -- .*//; s/ in [0-9].*//; /duration/d'
