#!/bin/sh
# Out of memory, at any system call, in any operation: NULL and ENOMEM, nothing
# is lost, and everything works again when memory is back.
set -eu

cd "$QUARRY_BUILD/tests/preload"
preload="$PWD/failmap.so $QUARRY_PRELOAD"
# A thread's own block would count as one that was lost.
export QUARRY_OPTIONS=nothread
LD_PRELOAD=$preload ./oom
QUARRY_OPTIONS=nothread LD_PRELOAD=$preload ./oom
LD_PRELOAD=$preload ./exhaust
for calls in 1 2 3 1-2 1-3 2-3 1-; do
	FAILMAP=mmap:$calls LD_PRELOAD=$preload ./exhaust
done
# What is to be given back and is refused is kept, and is as zero as new memory.
for call in munmap madvise; do
	FAILMAP=$call:1- LD_PRELOAD=$preload ./sizes \
		calloc_gives_zeroes_from_recycled_memory_too
	FAILMAP=$call:1- LD_PRELOAD=$preload ./threads \
		t87_calloc_of_2_to_64_threads_gives_disjoint_zeroed_blocks
done
