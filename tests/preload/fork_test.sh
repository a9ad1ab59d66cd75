#!/bin/sh
# Parent and child keep working after fork, posix_spawn and vfork, whatever the
# other threads of the parent were doing.
set -eu

cd "$QUARRY_BUILD/tests/preload"
LD_PRELOAD=$QUARRY_PRELOAD ./fork
UMEM_OPTIONS=nomagazines LD_PRELOAD=$QUARRY_PRELOAD ./fork \
	a_handler_that_interrupted_malloc_may_fork \
	freeing_in_the_middle_of_pthread_join_is_safe
exec ./fork_static
