/*
 * percpu_aarch64.h - the restartable sequences, for aarch64.
 *
 * Labels as in percpu_x86_64.h.  Other CPUs see these stores only through the
 * depot's locks and os_rseq_fence(), so program order is all that is needed.
 */
#ifndef QR_PERCPU_AARCH64_H
#define QR_PERCPU_AARCH64_H

#define PERCPU_HAVE_RSEQ 1

/* clang-format off */
#define PERCPU_ENTER \
	".pushsection __rseq_cs, \"aw\"\n\t" \
	".balign 32\n" \
	"3:\n\t" \
	".long 0, 0\n\t" \
	".quad 1f, 2f - 1f, 4f\n\t" \
	".popsection\n\t" \
	"b 5f\n\t" \
	".inst 0xd428bc00\n" \
	"4:\n\t" \
	"b %l[miss]\n" \
	"5:\n\t" \
	"adrp %[t], 3b\n\t" \
	"add %[t], %[t], :lo12:3b\n\t" \
	"str %[t], [%[area], #8]\n" \
	"1:\n\t" \
	"ldrsw %[t], [%[idx]]\n\t"

#define PERCPU_TP ((char *)__builtin_thread_pointer())

/*
 * gcc up to 12.3 and 13.1 forgets that a jump out of an asm goto has changed
 * its outputs too; an empty asm on either way keeps them apart.
 */
#define PERCPU_SETTLE __asm__ volatile("" : : : "memory")

QR_INLINE uintptr_t
percpu__rseq_pop(size_t off, const uintptr_t **topp)
{
	uintptr_t t, slot, top, word;

	__asm__ volatile goto(
	    PERCPU_ENTER
	    "ldr %[t], [%[base], %[t], lsl #3]\n\t"
	    "add %[slot], %[t], %[off]\n\t"
	    "ldr %[top], [%[slot]]\n\t"
	    "ldr %[word], [%[top], #-8]!\n\t"
	    "tbnz %[word], #0, %l[miss]\n\t"
	    "str %[top], [%[slot]]\n"
	    "2:\n\t"
	    : [t] "=&r"(t), [slot] "=&r"(slot), [top] "=&r"(top),
	      [word] "=&r"(word)
	    : [area] "r"(PERCPU_TP + percpu__hot.h_area),
	      [idx] "r"(PERCPU_TP + percpu__hot.h_cpu),
	      [base] "r"(&percpu__tables.pt_base[2]), [off] "r"(off)
	    : "memory", "cc"
	    : miss);
	PERCPU_SETTLE;
	if (word == 0)
		__builtin_unreachable();
	*topp = (const uintptr_t *)top;
	return (word);
miss:
	PERCPU_SETTLE;
	return (0);
}

QR_INLINE bool
percpu__rseq_push(size_t off, uintptr_t word)
{
	uintptr_t t, slot, top, at;

	__asm__ volatile goto(
	    PERCPU_ENTER
	    "ldr %[t], [%[base], %[t], lsl #3]\n\t"
	    "add %[slot], %[t], %[off]\n\t"
	    "ldr %[top], [%[slot]]\n\t"
	    "ldr %[at], [%[top]]\n\t"
	    "tbnz %[at], #0, %l[miss]\n\t"
	    "ldr %[at], [%[top], #-8]\n\t"
	    "cmp %[at], %[word]\n\t"
	    "b.eq %l[miss]\n\t"
	    "str %[word], [%[top]], #8\n\t"
	    "str %[top], [%[slot]]\n"
	    "2:\n\t"
	    : [t] "=&r"(t), [slot] "=&r"(slot), [top] "=&r"(top),
	      [at] "=&r"(at)
	    : [area] "r"(PERCPU_TP + percpu__hot.h_area),
	      [idx] "r"(PERCPU_TP + percpu__hot.h_cpu),
	      [base] "r"(&percpu__tables.pt_base[2]), [off] "r"(off), [word] "r"(word)
	    : "memory", "cc"
	    : miss);
	PERCPU_SETTLE;
	return (true);
miss:
	PERCPU_SETTLE;
	return (false);
}

QR_INLINE bool
percpu__rseq_cas(unsigned cpu, struct percpu_front *front, uintptr_t *word,
    uintptr_t old, uintptr_t new)
{
	uintptr_t t;

	__asm__ volatile goto(
	    PERCPU_ENTER
	    "cmp %[t], %[cpu]\n\t"
	    "b.ne %l[miss]\n\t"
	    "ldr %[t], [%[base], %[t], lsl #3]\n\t"
	    "cmp %[t], %[slots]\n\t"
	    "b.ne %l[miss]\n\t"
	    "ldr %[t], [%[word]]\n\t"
	    "cmp %[t], %[old]\n\t"
	    "b.ne %l[miss]\n\t"
	    "str %[new], [%[word]]\n"
	    "2:\n\t"
	    : [t] "=&r"(t)
	    : [area] "r"(PERCPU_TP + percpu__hot.h_area),
	      [idx] "r"(PERCPU_TP + percpu__hot.h_cpu),
	      [base] "r"(&percpu__tables.pt_base[2]), [cpu] "r"((intptr_t)cpu),
	      [slots] "r"(front->f_slot), [word] "r"(word), [old] "r"(old),
	      [new] "r"(new)
	    : "memory", "cc"
	    : miss);
	PERCPU_SETTLE;
	return (true);
miss:
	PERCPU_SETTLE;
	return (false);
}
/* clang-format on */

/* The index the kernel last reported; negative when it does not. */
QR_INLINE int
percpu__rseq_cpu(void)
{
	return (*(volatile int *)(PERCPU_TP + percpu__hot.h_cpu));
}

/* Where the calling thread's struct rseq is. */
QR_INLINE uintptr_t
percpu__rseq_area(void)
{
	return ((uintptr_t)PERCPU_TP + (uintptr_t)percpu__hot.h_area);
}

#endif /* QR_PERCPU_AARCH64_H */
