#!/bin/bash
# Malloc lives with the limits of a system, and without what a system usually
# has: standard descriptors, any descriptor at all, /proc, /sys, a root to write to.
set -u

cd "$QUARRY_BUILD/tests/preload" || exit 1
bad=0
calloc=calloc_gives_zeroes_from_recycled_memory_too
threads=t87_calloc_of_2_to_64_threads_gives_disjoint_zeroed_blocks

# run <command>...: preloaded.
run() {
	env LD_PRELOAD="$QUARRY_PRELOAD" "$@" || {
		echo "$*: exit status $?" >&2
		bad=1
	}
}

run ./promises
# With something to do for the library at the end.
run QUARRY_OPTIONS=stats ./promises a_process_may_exit_while_its_threads_allocate \
	2>/dev/null

# Nobody is told what goes wrong here; what is not told goes nowhere else either.
# check.h says "ok" on standard output, and takes it ill when that is not there.
# shellcheck disable=SC2016
{
run sh -c 'exec 0<&- 2>&-; exec ./sizes "$1"' sh $calloc
run sh -c 'exec 0<&- 1>&- 2>&-; x=$(printf "%070000d" 7); [ ${#x} -eq 70000 ]'
run QUARRY_OPTIONS=verbose,stats sh -c 'exec 2>&-; exec ./sizes "$1"' sh $calloc
}
# The loader needs one descriptor for libraries, and has it again when we start.
for options in '' verbose,stats; do
	(ulimit -n 4 && run QUARRY_OPTIONS=$options ./sizes_static $calloc)
	(ulimit -n 3 && QUARRY_OPTIONS=$options exec ./sizes_alone $calloc) || {
		echo "ulimit -n 3, $options: exit status $?" >&2
		bad=1
	}
done

# shellcheck disable=SC2016
if unshare -m true 2>/dev/null; then
	for options in UMEM_DEBUG= UMEM_DEBUG=default,verbose; do
		run "$options" unshare -m sh -c '
			mount -o remount,bind,ro / && mount -t tmpfs none /sys &&
			mount -t tmpfs none /proc && ./sizes "$1" && ./threads "$2"
		' sh $calloc $threads
	done
else
	echo 'without /proc, /sys, or a root to write to: not tested, that takes root'
fi
exit $bad
