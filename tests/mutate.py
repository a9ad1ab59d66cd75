#!/usr/bin/env python3
"""mutate.py - do the tests notice a small change of the code?

    mutate.py [--sample N] [--seed N] [--only REGEX] [--list] [FILE...]

Makes mutants of the files below (comparisons and signs exchanged, conditions
negated, numbers off by one, statements removed), builds each in a copy of the
tree with the library's own checks on, and runs the tests of that file, the
quickest first, each built when its turn comes, until one fails.  A mutant that
no test sees is printed as SURVIVED: either a test is missing or the change
makes no difference.  --only picks mutants whose "FILE:LINE:" or text matches.
CMAKE_BUILD_PARALLEL_LEVEL holds.  Exit status: 0, 1 when one survived.
"""
import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VMEM = ["unit/vmem/vmem_alloc", "unit/vmem/vmem_arena", "unit/vmem/vmem_span",
        "oom/vmem_oom", "unit/vmem/vmem_walk", "unit/vmem/vmem_index",
        "unit/vmem/vmem_wait",
        "model/vmem_model"]
MPIPE = ["unit/mpipe/mpipe", "unit/mpipe/mpipe_wait", "unit/mpipe/mpipe_front",
         "unit/mpipe/mpipe_async", "model/mpipe_model"]
# A process of one thread has one CPU where there are restartable sequences.
RUNS = ["unit/vmem/vmem_run", "unit/vmem/vmem_shard_norseq",
        "unit/vmem/vmem_park_norseq", "unit/vmem/vmem_untouched",
        "unit/umem/umem_huge",
        "unit/umem/umem_zero", "unit/umem/umem_move", "oom/umem_oom",
        "model/umem_model"]
UMEM = ["unit/umem/umem_depot", "unit/umem/umem_mag", "unit/umem/umem_slab",
        "unit/umem/umem_cache", "unit/umem/umem_bound",
        "unit/umem/umem_purge", "unit/umem/umem_update", "oom/umem_oom",
        "model/umem_model"]
META = ["unit/meta/meta", "unit/meta/pagemap", "oom/umem_oom",
        "model/umem_model"]
IDS = ["unit/vmem/vmem_ids", "unit/vmem/vmem_idfile", "oom/id_space_oom",
       "model/id_space_model"]
PERCPU = ["unit/os/percpu", "unit/os/percpu_norseq", "unit/os/percpu_step",
          "unit/umem/umem_cache", "model/umem_model"]
TESTS = {
    "lib/os/percpu.c": PERCPU,
    "lib/os/percpu_x86_64.h": PERCPU,
    "lib/os/percpu_lock.h": PERCPU,
    "lib/os/os_lock.c": ["unit/os/os_lock", "stress/locks_stress"],
    "lib/os/os_lock.h": ["unit/os/os_lock", "stress/locks_stress"],
    "lib/os/os_cgroup.c": ["unit/os/os_cgroup"],
    "lib/os/os_module.c": ["unit/os/os_trace"],
    "lib/os/os_trace.c": ["unit/os/os_trace"],
    "lib/meta/meta.c": META,
    "lib/meta/meta_purge.c": META,
    "lib/meta/pagemap.c": META,
    "lib/vmem/vmem_fit.c": ["unit/vmem/vmem_fit"] + VMEM,
    "lib/vmem/vmem_tag.c": VMEM,
    "lib/vmem/vmem_tag.h": VMEM,
    "lib/vmem/vmem_tree.c": VMEM,
    "lib/vmem/vmem_alloc.c": VMEM,
    "lib/vmem/vmem_seg.c": VMEM,
    "lib/vmem/vmem_index.c": VMEM,
    "lib/vmem/vmem_walk.c": VMEM + ["unit/vmem/vmem_ids"],
    "lib/vmem/vmem_dense.c": ["unit/vmem/vmem_dense"] + VMEM,
    "lib/vmem/vmem_span.c": VMEM,
    "lib/vmem/vmem_run.c": RUNS,
    "lib/vmem/vmem_shard.c": RUNS,
    "lib/vmem/vmem_place.c": RUNS,
    "lib/vmem/vmem_idle.c": RUNS,
    "lib/vmem/vmem_park.c": RUNS,
    "lib/vmem/vmem_ids.c": IDS,
    "lib/vmem/vmem_idset.c": IDS,
    "lib/vmem/vmem_idnode.c": IDS,
    "lib/vmem/vmem_idlook.c": IDS,
    "lib/vmem/vmem_idrest.c": IDS,
    "lib/vmem/vmem_idsave.c": IDS,
    "lib/vmem/vmem_idrestore.c": IDS,
    "lib/umem/umem_depot.c": UMEM,
    "lib/umem/umem_mag.c": UMEM,
    "lib/umem/umem_cpu.c": UMEM,
    "lib/umem/umem_slab.c": UMEM,
    "lib/umem/umem_cache.c": UMEM,
    "lib/umem/umem_purge.c": UMEM,
    "lib/umem/umem_update.c": UMEM,
    "lib/mpipe/mpipe_wait.c": MPIPE,
    "lib/mpipe/mpipe_queue.c": MPIPE,
}
HANGS = 5, 6  # seconds, and times what the code as it is takes

EXCHANGES = [
    (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "),
    (r" == ", " != "), (r" != ", " == "), (r" && ", " || "), (r" \|\| ", " && "),
    (r" \+ ", " - "), (r" - ", " + "), (r" \+= ", " -= "), (r" -= ", " += "),
    (r"\+\+", "--"), (r"(?<=\w)--", "++"), (r"qr_min\(", "qr_max("),
    (r"qr_max\(", "qr_min("), (r"\btrue\b", "false"), (r"\bfalse\b", "true"),
    (r"(?<![\w.])[0-9]+(?![\w.])", lambda m: str(int(m.group()) + 1)),
]


def mutants_of_line(line):
    for pattern, other in EXCHANGES:
        for m in re.finditer(pattern, line):
            yield line[:m.start()] + m.expand(other) + line[m.end():] \
                if isinstance(other, str) \
                else line[:m.start()] + other(m) + line[m.end():]
    m = re.match(r"(\t+(?:\} else )?(?:if|while) \()(.*)(\)(?: \{)?)$", line)
    if m and "QR_" not in line:
        yield m.expand(r"\1!(\2)\3")
    # A statement on a line of its own; declarations begin with a type.
    if re.match(r"\t+(\*?\w[\w>\[\].-]*( [|&+-]?= .*|\(.*\)|\+\+|--)|"
                r"\(void\).*|(break|continue));$", line):
        yield re.match(r"\t+", line).group() + ";"


def mutants(name):
    """Pairs of a description and the text of the file."""
    lines = open(os.path.join(ROOT, name)).read().split("\n")
    comment = False
    for n, line in enumerate(lines):
        begins = line.lstrip().startswith("/*")
        skip = comment or begins or line.startswith("#") or "QR_ASSERT" in line
        if begins or comment:
            comment = "*/" not in line
        if skip or not line.startswith((" ", "\t")):
            continue
        for other in mutants_of_line(line):
            yield ("%s:%d: %s  ->  %s" % (name, n + 1, line.strip(),
                                          other.strip()),
                   "\n".join(lines[:n] + [other] + lines[n + 1:]))


def quietly(command, **more):
    return subprocess.run(command, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, **more).returncode


def program(test):
    return re.sub(r"\W", "_", test.removesuffix("_norseq"))


class Copy:
    """A tree of its own, so that nobody meets a mutant by chance."""

    def __init__(self, directory):
        self.tree = os.path.join(directory, "tree")
        shutil.copytree(ROOT, self.tree,
                        ignore=shutil.ignore_patterns("build", ".git"))
        self.build = os.path.join(self.tree, "build", "debug")
        if quietly(["cmake", "--preset", "debug"], cwd=self.tree) != 0:
            sys.exit("cmake failed")

        self.seconds = {}

    def make(self, test):
        return quietly(["cmake", "--build", self.build, "--target",
                        program(test)]) == 0

    def passes(self, test, seconds):
        rseq = 0 if test.endswith("_norseq") else 1
        return quietly([os.path.join(self.build, "tests", program(test))],
                       timeout=seconds,
                       env=dict(os.environ, GLIBC_TUNABLES="glibc.pthread."
                                "rseq=%d" % rseq)) == 0

    def measure(self, name):
        for test in set(TESTS[name]) - set(self.seconds):
            if not self.make(test):
                sys.exit("%s does not build" % test)
            begun = time.monotonic()
            if not self.passes(test, None):
                sys.exit("%s fails as it is" % test)
            self.seconds[test] = time.monotonic() - begun

    def noticed_by(self, tests):
        """What notices a mutant, None when nothing does."""
        for test in sorted(tests, key=self.seconds.get):
            if not self.make(test):
                return "the compiler"
            try:
                if not self.passes(test, HANGS[0] +
                                   HANGS[1] * self.seconds[test]):
                    return test
            except subprocess.TimeoutExpired:
                return test + ", which hangs"
        return None

    def judge(self, name, text):
        path = os.path.join(self.tree, name)
        was = open(path).read()
        with open(path, "w") as f:
            f.write(text)
        try:
            return self.noticed_by(TESTS[name])
        finally:
            with open(path, "w") as f:
                f.write(was)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sample", type=int, help="so many, taken by chance")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("files", nargs="*", metavar="FILE",
                        help="of " + " ".join(TESTS))
    args = parser.parse_args()
    todo = [(name, what, text) for name in args.files or TESTS
            for what, text in mutants(name) if re.search(args.only, what)]
    if args.sample and args.sample < len(todo):
        todo = random.Random(args.seed).sample(todo, args.sample)
    if args.list:
        print("\n".join(what for _, what, _ in todo))
        return
    survived = 0
    with tempfile.TemporaryDirectory(prefix="quarry.") as directory:
        copy = Copy(directory)
        for name in sorted({name for name, _, _ in todo}):
            copy.measure(name)
        for n, (name, what, text) in enumerate(todo):
            by = copy.judge(name, text)
            survived += by is None
            print("%d/%d %s %s%s" % (n + 1, len(todo),
                                     "killed  " if by else "SURVIVED", what,
                                     "  by " + by if by else ""), flush=True)
    print("%d of %d survived" % (survived, len(todo)))
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
