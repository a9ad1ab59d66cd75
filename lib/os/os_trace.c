/*
 * os_trace.c - walking frame pointers, and the cheap clock.
 *
 * A frame pointer is believed when it lies further up in the same stack: below
 * the strings that the kernel put on top of the initial one; in the mapping that
 * the stack is in, and below the descriptor that the C library puts on top of
 * those of threads.  Where mappings were found is remembered.
 */
#define _GNU_SOURCE 1 /* SA_ONSTACK, siginfo */

#include "os/os_trace.h"

#include "base/bits.h"
#include "base/compiler.h"
#include "os/os.h"
#include "os/os_module.h"
#include "os/os_watch.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FRAME_MAX = 128 << 10 }; /* bytes from one frame to the next */

/* The kernel keeps so much free below the initial stack. */
#define INITIAL_MAX ((uintptr_t)128 << 20)

/* The first word above the initial stack. */
static uintptr_t initial_top;

/*
 * Mappings that stacks were found in: the number of the first page, and behind
 * it how many there are.  A stack uses a few windows of it.
 */
enum { RANGES = 256, WINDOW_SHIFT = 16, PAGE_SHIFT = 12, COUNT_BITS = 28 };

static _Atomic uint64_t ranges[RANGES];

static bool
range_has(uint64_t range, uintptr_t sp)
{
	uintptr_t first = range >> COUNT_BITS;
	uintptr_t count = range & (((uint64_t)1 << COUNT_BITS) - 1);

	return ((sp >> PAGE_SHIFT) - first < count);
}

static uintptr_t
range_end(uint64_t range)
{
	uintptr_t count = range & (((uint64_t)1 << COUNT_BITS) - 1);

	return (((range >> COUNT_BITS) + count) << PAGE_SHIFT);
}

static uint64_t
range_find(uintptr_t sp)
{
	uintptr_t start, end;

	if (!os_mapping_find(sp, &start, &end) ||
	    (end - start) >> PAGE_SHIFT >> COUNT_BITS != 0)
		return ((uint64_t)(sp >> PAGE_SHIFT) << COUNT_BITS | 1);
	return ((uint64_t)(start >> PAGE_SHIFT) << COUNT_BITS |
	    (end - start) >> PAGE_SHIFT);
}

static _Atomic uint64_t *
range_slot(uintptr_t sp)
{
	return (&ranges[(sp >> WINDOW_SHIFT) * 0x9e3779b97f4a7c15u >> 56]);
}

/* Where the stack that holds sp and is in that mapping reaches. */
static uintptr_t
range_top(uint64_t range, uintptr_t sp)
{
	uintptr_t top = os_trace_thread();

	return (top > sp ? qr_min(top, range_end(range)) : range_end(range));
}

/* Where the stack that holds sp reaches, or 0 when that is to be found out. */
static uintptr_t
stack_end(uintptr_t sp)
{
	uint64_t range;

	if (initial_top - sp < INITIAL_MAX)
		return (initial_top);
	range = atomic_load_explicit(range_slot(sp), memory_order_relaxed);
	return (range_has(range, sp) ? range_top(range, sp) : 0);
}

static uintptr_t
stack_learn(uintptr_t sp)
{
	uint64_t range = range_find(sp);

	atomic_store_explicit(range_slot(sp), range, memory_order_relaxed);
	return (range_top(range, sp));
}

/* Code of this library, up to where this file's is (core.ld), and of nobody else. */
static struct {
	uintptr_t start, size;
} own;

/* Somebody would have an opinion on what is read. */
static bool watched;

static void
own_find(void)
{
	uintptr_t here = (uintptr_t)own_find;
	struct os_module om;

	if (os_module_find(here, &om) &&
	    getauxval(AT_ENTRY) - om.om_start >= om.om_end - om.om_start) {
		own.start = om.om_start;
		own.size = om.om_end - om.om_start;
	}
}

/* Whole words up, and not too many: one comparison, the rest of bytes on top. */
static bool
steps_up(uintptr_t bytes)
{
	uintptr_t words = bytes >> 3 | bytes << 61;

	return (words - 1 < FRAME_MAX / sizeof(uintptr_t));
}

/* What these read may be anybody's: no sanitizer can know better. */
static QR_UNCHECKED unsigned
walk(const uintptr_t *frame, uintptr_t end, uintptr_t *pcs, unsigned n)
{
	uintptr_t start = own.start, size = own.size;
	unsigned i = 0;

	end -= 2 * sizeof(*frame);
	while (i < n) {
		uintptr_t next = frame[0], pc = frame[1];

		if (pc == 0)
			break;
		if (pc - start >= size)
			pcs[i++] = pc;
		if (next > end || !steps_up(next - (uintptr_t)frame))
			break;
		frame = (const uintptr_t *)next;
	}
	return (i);
}

/* Where somebody listens, or on a stack that was not seen before. */
static QR_COLD QR_UNCHECKED unsigned
walk_anew(const uintptr_t *frame, uintptr_t end, uintptr_t *pcs, unsigned n)
{
	unsigned i;

	os_watch_pause();
	if (end == 0)
		end = stack_learn((uintptr_t)frame);
	i = walk(frame, end, pcs, n);
	os_watch_resume();
	return (i);
}

QR_NOINLINE QR_UNCHECKED unsigned
os_trace_stack(uintptr_t *pcs, unsigned n)
{
	const uintptr_t *frame =
	    *(const uintptr_t **)__builtin_frame_address(0);
	uintptr_t end = stack_end((uintptr_t)frame);

	if (QR_UNLIKELY(end == 0 || watched))
		return (walk_anew(frame, end, pcs, n));
	return (walk(frame, end, pcs, n));
}

/* ---- signals ---- */

/* What a handler returns to; 0 when it is not known. */
static uintptr_t trampoline;

#if defined(__aarch64__)
/*
 * The kernel's own, in the code it gives every process, which is known by its two
 * instructions: mov x8, __NR_rt_sigreturn; svc 0.
 */
static uintptr_t
trampoline_find(void)
{
	static const uint32_t way_back[] = {0xd2801168, 0xd4000001};
	uintptr_t start, end, at = getauxval(AT_SYSINFO_EHDR);

	if (at == 0 || !os_mapping_find(at, &start, &end))
		return (0);
	for (; end - at >= sizeof(way_back); at += sizeof(way_back[0]))
		if (memcmp((const void *)at, way_back, sizeof(way_back)) == 0)
			return (at);
	return (0);
}
#else
/* The kernel's view of an action, which alone tells the C library's. */
struct kernel_action {
	void (*ka_handler)(int);
	unsigned long ka_flags;
	void (*ka_restorer)(void);
	uint64_t ka_mask;
};

static void
no_handler(int number)
{
	(void)number;
}

/* By the last real-time signal, for as long as it takes. */
static uintptr_t
trampoline_find(void)
{
	struct sigaction probe = {.sa_handler = no_handler}, saved;
	struct kernel_action ka;
	int number = SIGRTMAX;

	memset(&ka, 0, sizeof(ka));
	if (sigaction(number, &probe, &saved) != 0)
		return (0);
	(void)syscall(SYS_rt_sigaction, number, NULL, &ka, sizeof(ka.ka_mask));
	(void)sigaction(number, &saved, NULL);
	return ((uintptr_t)ka.ka_restorer);
}
#endif

void
os_trace_signals(void)
{
	trampoline = trampoline_find();
}

bool
os_trace_in_signal(const uintptr_t *pcs, unsigned n)
{
	stack_t ss = {0};
	int saved = errno;

	for (unsigned i = 0; i < n; i++) {
		if (trampoline != 0 && pcs[i] == trampoline)
			return (true);
	}
	if (sigaltstack(NULL, &ss) != 0)
		ss.ss_flags = 0;
	errno = saved;
	return ((ss.ss_flags & SS_ONSTACK) != 0);
}

/* ---- the clock ---- */

/* One reading of both clocks; a second, taken when it is needed, is enough. */
static uint64_t first_ticks, first_ns;

void
os_trace_begin(void)
{
	first_ticks = os_trace_ticks();
	first_ns = os_now();
	initial_top = getauxval(AT_EXECFN);
	own_find();
	watched = os_watching();
}

uint64_t
os_trace_ago(uint64_t ticks)
{
	uint64_t now = os_trace_ticks();
	uint64_t ns = os_now() - first_ns;

	if (now <= first_ticks || now <= ticks)
		return (0);
	return ((uint64_t)((double)(now - ticks) * (double)ns /
	    (double)(now - first_ticks)));
}
