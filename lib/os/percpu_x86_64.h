/*
 * percpu_x86_64.h - the restartable sequences, for x86-64.
 *
 * Labels in each: 1 first instruction, 2 just after the committing store,
 * 3 the descriptor, 4 the abort handler, which the kernel only enters when the
 * signature stands right before it.  It lies in a section of its own so that
 * nothing falls through into it.
 */
#ifndef QR_PERCPU_X86_64_H
#define QR_PERCPU_X86_64_H

#define PERCPU_HAVE_RSEQ 1

/* clang-format off */
#define PERCPU_ENTER \
	".pushsection __rseq_cs, \"aw\"\n\t" \
	".balign 32\n" \
	"3:\n\t" \
	".long 0, 0\n\t" \
	".quad 1f, 2f - 1f, 4f\n\t" \
	".popsection\n\t" \
	".pushsection .text.rseq_abort, \"ax\"\n\t" \
	".byte 0x0f, 0xb9, 0x3d\n\t" \
	".long 0x53053053\n" \
	"4:\n\t" \
	"jmp %l[miss]\n\t" \
	".popsection\n\t" \
	"leaq 3b(%%rip), %[t]\n\t" \
	"movq %[t], %%fs:8(%[area])\n" \
	"1:\n\t" \
	"movslq %%fs:(%[idx]), %[t]\n\t"

/*
 * gcc up to 12.3 and 13.1 forgets that a jump out of an asm goto has changed
 * its outputs too; an empty asm on either way keeps them apart.
 */
#define PERCPU_SETTLE __asm__ volatile("" : : : "memory")

QR_INLINE uintptr_t
percpu__rseq_pop(size_t off, const uintptr_t **topp)
{
	uintptr_t t, top, word;

	/* The word is in rax, for callers that return it. */
	__asm__ volatile goto(
	    PERCPU_ENTER
	    "movq (%[base], %[t], 8), %[t]\n\t"
	    "movq (%[t], %[off]), %[top]\n\t"
	    "movq -8(%[top]), %[word]\n\t"
	    "testb $1, %b[word]\n\t"
	    "jnz %l[miss]\n\t"
	    "subq $8, %[top]\n\t"
	    "movq %[top], (%[t], %[off])\n"
	    "2:\n\t"
	    : [t] "=&r"(t), [top] "=&r"(top), [word] "=&a"(word)
	    : [area] "r"(percpu__hot.h_area), [idx] "r"(percpu__hot.h_cpu),
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
	uintptr_t t, top;

	__asm__ volatile goto(
	    PERCPU_ENTER
	    "movq (%[base], %[t], 8), %[t]\n\t"
	    "movq (%[t], %[off]), %[top]\n\t"
	    "testb $1, (%[top])\n\t"
	    "jnz %l[miss]\n\t"
	    "cmpq %[word], -8(%[top])\n\t"
	    "je %l[miss]\n\t"
	    "movq %[word], (%[top])\n\t"
	    "addq $8, %[top]\n\t"
	    "movq %[top], (%[t], %[off])\n"
	    "2:\n\t"
	    : [t] "=&r"(t), [top] "=&r"(top)
	    : [area] "r"(percpu__hot.h_area), [idx] "r"(percpu__hot.h_cpu),
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
	    "cmpq %[t], %[cpu]\n\t"
	    "jne %l[miss]\n\t"
	    "cmpq %[slots], (%[base], %[t], 8)\n\t"
	    "jne %l[miss]\n\t"
	    "cmpq %[old], (%[word])\n\t"
	    "jne %l[miss]\n\t"
	    "movq %[new], (%[word])\n"
	    "2:\n\t"
	    : [t] "=&r"(t)
	    : [area] "r"(percpu__hot.h_area), [idx] "r"(percpu__hot.h_cpu),
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
	int cpu;

	__asm__ volatile("movl %%fs:(%1), %0"
			 : "=r"(cpu)
			 : "r"(percpu__hot.h_cpu));
	return (cpu);
}

/* Where the calling thread's struct rseq is. */
QR_INLINE uintptr_t
percpu__rseq_area(void)
{
	uintptr_t tp;

	__asm__("movq %%fs:0, %0" : "=r"(tp));
	return (tp + (uintptr_t)percpu__hot.h_area);
}

#endif /* QR_PERCPU_X86_64_H */
