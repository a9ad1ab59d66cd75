#!/usr/bin/python3
"""A Hypothesis state machine for vmem, on a library as it is installed.

    vmem_machine.py [--library FILE] [--examples N] [--steps N] [--seed N]

Needs python3-hypothesis.  Without --library it is what the dynamic linker
finds by the name of libquarry.so.1.  A failure is printed as the shortest
program that Hypothesis found for it.  For hours: --examples 100000.
"""
import argparse
import ctypes
import json
import os
import sys
import tempfile

try:
    import hypothesis
    from hypothesis import stateful, strategies as st
except ImportError:
    print("python3-hypothesis is not installed")
    sys.exit(77)

NOSLEEP, PANIC = 0x1, 0x2
BESTFIT, FIRSTFIT, NEXTFIT, ENDALLOC = 0x100, 0x200, 0x400, 0x4000
IDENTIFIER = 0x40000
ALLOC, FREE, SPAN, REENTRANT = 0x1, 0x2, 0x10, -0x80000000
ENOMEM, EINVAL = 12, 22
TOP = 1 << 64

QUANTUM = 16
UNITS = 256  # of the range that spans are added in
BASES = [0, 0x7F0000000000, TOP - UNITS * QUANTUM]

WALK = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t)
HOOK = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


class Library:
    """The functions under test, with their types."""

    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        word, num, arena = ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
        types = {
            "vmem_create": (arena, [ctypes.c_char_p, word, word, word, arena,
                                    arena, arena, word, num]),
            "vmem_destroy": (None, [arena]),
            "vmem_alloc": (word, [arena, word, num]),
            "vmem_free": (None, [arena, word, word]),
            "vmem_xalloc": (word, [arena] + [word] * 6 + [num]),
            "vmem_xfree": (None, [arena, word, word]),
            "vmem_xalloc_addr": (num, [arena] + [word] * 6 +
                                 [num, ctypes.POINTER(word)]),
            "vmem_xfree_addr": (None, [arena, word, word]),
            "vmem_add_addr": (num, [arena, word, word, num]),
            "vmem_contains": (num, [arena, word, word]),
            "vmem_size": (word, [arena, num]),
            "vmem_walk": (None, [arena, num, WALK, arena]),
            "vmem_set_limit": (num, [arena, word]),
            "vmem_map_write": (num, [arena, num, ctypes.c_char_p]),
            "quarry_set_panic_hook": (arena, [arena]),
            "quarry_version": (ctypes.c_char_p, []),
        }
        for name, (result, arguments) in types.items():
            function = getattr(self.lib, name)
            function.restype = result
            function.argtypes = arguments
            setattr(self, name, function)

    def address_of(self, name):
        return ctypes.cast(getattr(self.lib, name), ctypes.c_void_p).value


quarry = None  # the Library, once main() knows its file


def roundup(x):
    return -(-x // QUANTUM) * QUANTUM


class Request:
    """What is asked of vmem_xalloc_addr, and where that can be."""

    def __init__(self, size, align=0, phase=0, nocross=0, low=0, high=0):
        self.size, self.phase, self.nocross = size, phase, nocross
        self.align, self.low, self.high = align, low, high

    def words(self):
        return (self.size, self.align, self.phase, self.nocross, self.low,
                self.high)

    def constrained(self):
        return (self.align > QUANTUM or self.nocross != 0 or self.low != 0 or
                self.high != 0)

    def fits(self, start, end, addr):
        """Can the allocation be at addr, in a free segment [start, end)?"""
        last = addr + self.size - 1
        return (start <= addr and addr + roundup(self.size) <= end and
                (addr - self.phase) % (self.align or QUANTUM) == 0 and
                (self.nocross == 0 or
                 addr // self.nocross == last // self.nocross) and
                addr >= self.low and (self.high == 0 or last < self.high))

    def places(self, start, end):
        return [addr for addr in range(start, end, QUANTUM)
                if self.fits(start, end, addr)]


class Model:
    """An arena: spans as (start, end), allocations as {address: size}."""

    def __init__(self):
        self.spans, self.allocated, self.rotor = [], {}, 0

    def free(self):
        """The free segments, each [start, end), ascending."""
        segments = []
        for start, end in sorted(self.spans):
            at = start
            for addr, size in sorted(self.allocated.items()):
                if start <= addr < end:
                    if addr > at:
                        segments.append((at, addr))
                    at = addr + roundup(size)
            if at < end:
                segments.append((at, end))
        return segments

    def check(self, request, flags, addr):
        """Was addr, or None for failure, a right answer?"""
        free = self.free()
        places = [place for start, end in free
                  for place in request.places(start, end)]
        if addr is None or not places:
            assert addr is None and not places, (addr, places[:1])
            return
        assert addr in places
        plain = not request.constrained()
        if plain and flags & NEXTFIT:
            assert addr == min([place for place in places
                                if place >= self.rotor] or places)
        elif flags & FIRSTFIT or flags & (BESTFIT | ENDALLOC) == ENDALLOC:
            wanted = max if flags & ENDALLOC else min
            assert addr == wanted(places)
        elif plain and flags & BESTFIT:
            sizes = [end - start for start, end in free
                     if end - start >= roundup(request.size)]
            taken = [end - start for start, end in free if start <= addr < end]
            assert taken == [min(sizes)]

    def take(self, request, flags, addr):
        self.allocated[addr] = request.size
        if flags & NEXTFIT and not request.constrained():
            self.rotor = addr + roundup(request.size)

    def total(self):
        return sum(end - start for start, end in self.spans)

    def inuse(self):
        return sum(self.allocated.values())


units = st.integers(0, UNITS - 1)
sizes = st.one_of(st.integers(1, 4 * QUANTUM), st.integers(1, 64 * QUANTUM))
policies = st.sampled_from([
    0, BESTFIT, FIRSTFIT, NEXTFIT, ENDALLOC, FIRSTFIT | ENDALLOC,
    BESTFIT | ENDALLOC])


class Machine(stateful.RuleBasedStateMachine):
    """One arena and its model, and an arena that imports from it."""

    def __init__(self):
        super().__init__()
        self.model = Model()
        self.messages = []
        self.children = {}  # allocations of the importing arena
        # Kept, so that it is not collected while the library may call it.
        self.hook = HOOK(self.messages.append)
        quarry.quarry_set_panic_hook(
            ctypes.cast(self.hook, ctypes.c_void_p).value)

    @stateful.initialize(base=st.sampled_from(BASES))
    def create(self, base):
        self.base = base
        self.arena = quarry.vmem_create(
            b"machine", 0, 0, QUANTUM, None, None, None, 0,
            NOSLEEP | IDENTIFIER)
        self.child = quarry.vmem_create(
            b"child", 0, 0, QUANTUM, quarry.address_of("vmem_alloc"),
            quarry.address_of("vmem_free"), self.arena, 0,
            NOSLEEP | IDENTIFIER)
        assert self.arena and self.child
        self.add_span(0, UNITS // 2)

    def imported(self):
        """Spans of the child are allocations here that the model knows not."""
        found = []
        quarry.vmem_walk(
            self.child, SPAN,
            WALK(lambda arg, start, size: found.append((start, size))), None)
        return found

    @stateful.rule(unit=units, n=st.integers(1, 32))
    def add(self, unit, n):
        self.add_span(unit, min(n, UNITS - unit))

    def add_span(self, unit, n):
        start = self.base + unit * QUANTUM
        end = start + n * QUANTUM
        overlaps = any(start < other_end and other < end
                       for other, other_end in self.model.spans)
        error = quarry.vmem_add_addr(
            self.arena, start, end - start, NOSLEEP)
        if overlaps:
            assert error == EINVAL
            self.complained(b"overlaps a span of 'machine'")
        else:
            assert error == 0
            self.model.spans.append((start, end))

    def request(self, request, policy):
        addr = ctypes.c_size_t()
        error = quarry.vmem_xalloc_addr(
            self.arena, *request.words(), policy | NOSLEEP,
            ctypes.byref(addr))
        assert error in (0, ENOMEM)
        answer = None if error else addr.value
        self.model.check(request, policy, answer)
        if answer is not None:
            self.model.take(request, policy, answer)

    @stateful.rule(size=sizes, policy=policies)
    def alloc(self, size, policy):
        self.request(Request(size), policy)

    @stateful.rule(size=sizes, policy=policies, align=st.integers(0, 6),
                   phase=st.integers(0, 63), room=st.integers(0, 3),
                   window=st.tuples(units, units), parts=st.integers(0, 15))
    def xalloc(self, size, policy, align, phase, room, window, parts):
        align = QUANTUM << align
        phase = phase * QUANTUM % align if parts & 1 else 0
        nocross = low = high = 0
        if parts & 2:
            nocross = QUANTUM
            while nocross < max(align, -(-(phase + size) // align) * align):
                nocross *= 2
            nocross <<= room
        if parts & 4:
            low = self.base + window[0] * QUANTUM + room
        if parts & 8:
            high = self.base + window[1] * QUANTUM + room
        self.request(Request(size, align, phase, nocross, low, high), policy)

    @stateful.precondition(lambda self: self.model.allocated)
    @stateful.rule(data=st.data())
    def free(self, data):
        own = sorted(set(self.model.allocated) -
                     {start for start, size in self.imported()})
        if own:
            addr = data.draw(st.sampled_from(own))
            quarry.vmem_xfree_addr(
                self.arena, addr, self.model.allocated.pop(addr))

    @stateful.rule(unit=units, size=st.integers(0, 64))
    def free_wrongly(self, unit, size):
        addr = self.base + unit * QUANTUM
        known = self.model.allocated.get(addr)
        if known == size:
            return
        quarry.vmem_xfree_addr(self.arena, addr, size)
        self.complained(
            b"bad free" if known is None else
            b"wrong size (expect %d)" % known)

    @stateful.rule(which=st.integers(0, 6))
    def ask_for_the_impossible(self, which):
        q = QUANTUM
        words, reason = [
            ((q, 3 * q, 0, 0), b"inconsistent or invalid"),
            ((q, 2 * q, 2 * q, 0), b"invalid phase"),
            ((q, 4 * q, 0, 2 * q), b"overconstrained"),
            ((3 * q, 0, 0, 2 * q), b"overconstrained"),
            ((q, 0, 0, 3 * q), b"inconsistent or invalid"),
            ((q, q + 1, 0, 0), b"not vm_quantum aligned"),
            ((0, 0, 0, 0), b"size == 0"),
        ][which]
        assert quarry.vmem_xalloc(self.arena, *words, 0, 0, NOSLEEP) == 0
        self.complained(reason)

    @stateful.rule(unit=units, size=st.integers(0, 64 * QUANTUM))
    def contains(self, unit, size):
        start = self.base + unit * QUANTUM
        inside = any(first <= start < end and start + size <= end
                     for first, end in self.model.spans)
        assert bool(quarry.vmem_contains(self.arena, start, size)) == inside

    # ---- the importing arena ----

    def follow_imports(self, before):
        after = dict(self.imported())
        for start in set(before) - set(after):
            del self.model.allocated[start]
        for start in set(after) - set(before):
            assert any(first <= start and start + after[start] <= end
                       for first, end in self.model.free())
            self.model.allocated[start] = after[start]

    @stateful.precondition(lambda self: self.base != 0)
    @stateful.rule(size=sizes)
    def alloc_from_child(self, size):
        before = dict(self.imported())
        addr = quarry.vmem_alloc(self.child, size, NOSLEEP)
        self.follow_imports(before)
        if addr != 0:
            assert quarry.vmem_contains(self.child, addr, size)
            assert all(addr + roundup(size) <= other or
                       other + roundup(length) <= addr
                       for other, length in self.children.items())
            self.children[addr] = size

    @stateful.precondition(lambda self: self.children)
    @stateful.rule(data=st.data())
    def free_to_child(self, data):
        before = dict(self.imported())
        addr = data.draw(st.sampled_from(sorted(self.children)))
        quarry.vmem_free(self.child, addr, self.children.pop(addr))
        self.follow_imports(before)
        if not self.children:
            assert not self.imported()

    # ---- what must hold after each step ----

    def complained(self, reason):
        assert len(self.messages) == 1 and reason in self.messages[0], (
            self.messages, reason)
        self.messages.clear()

    @stateful.invariant()
    def nothing_was_wrong(self):
        assert not self.messages, self.messages

    @stateful.invariant()
    def sizes_and_segments_agree(self):
        inuse, total = self.model.inuse(), self.model.total()
        assert quarry.vmem_size(self.arena, ALLOC) == inuse
        assert quarry.vmem_size(self.arena, FREE) == total - inuse
        seen = []
        note = WALK(lambda arg, start, size: seen.append((start, size)))
        quarry.vmem_walk(self.arena, ALLOC, note, None)
        assert seen == sorted(self.model.allocated.items())
        seen.clear()
        quarry.vmem_walk(self.arena, FREE, note, None)
        assert [(start, start + size) for start, size in seen] == \
            self.model.free()

    @stateful.rule()
    def the_map_agrees(self):
        with tempfile.TemporaryFile() as file:
            assert quarry.vmem_map_write(
                self.arena, file.fileno(), b"json") == 0
            file.seek(0)
            shown = json.load(file)
        segments = [segment for span in shown["spans"]
                    for segment in span["segments"]]
        assert {s["start"]: s["size"] for s in segments
                if s["allocated"]} == self.model.allocated
        assert [(s["start"], s["start"] + s["size"]) for s in segments
                if not s["allocated"]] == self.model.free()

    def teardown(self):
        if hasattr(self, "arena"):
            for addr, size in self.children.items():
                quarry.vmem_free(self.child, addr, size)
            quarry.vmem_destroy(self.child)
            free_it = WALK(lambda arg, start, size: quarry.vmem_xfree_addr(
                self.arena, start, size))
            quarry.vmem_walk(self.arena, ALLOC | REENTRANT, free_it, None)
            assert quarry.vmem_size(self.arena, ALLOC) == 0
            quarry.vmem_destroy(self.arena)
        quarry.quarry_set_panic_hook(None)


def main():
    global quarry
    parser = argparse.ArgumentParser(
        description="Test vmem of an installed library at random.")
    parser.add_argument("--library", default="libquarry.so.1")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int,
                        default=int.from_bytes(os.urandom(4), "little"))
    args = parser.parse_args()
    quarry = Library(args.library)
    print("quarry %s, seed %d" % (quarry.quarry_version().decode(), args.seed))
    sys.stdout.flush()
    stateful.run_state_machine_as_test(
        hypothesis.seed(args.seed)(Machine),
        settings=hypothesis.settings(
            max_examples=args.examples, stateful_step_count=args.steps,
            deadline=None, database=None,
            suppress_health_check=list(hypothesis.HealthCheck)))
    print("%d examples of at most %d steps passed" %
          (args.examples, args.steps))


if __name__ == "__main__":
    main()
