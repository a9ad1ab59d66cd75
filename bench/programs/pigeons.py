"""pigeons.py - a problem for an SMT solver: N + 1 pigeons do not fit N holes.

    pigeons.py N > file

SPDX-License-Identifier: BSD-2-Clause
"""
import sys

n = int(sys.argv[1])
print("(set-logic QF_UF)")
for p in range(n + 1):
    for h in range(n):
        print(f"(declare-const p{p}h{h} Bool)")
    print("(assert (or", *(f"p{p}h{h}" for h in range(n)), "))")
for h in range(n):
    for a in range(n + 1):
        for b in range(a):
            print(f"(assert (not (and p{a}h{h} p{b}h{h})))")
print("(check-sat)")
