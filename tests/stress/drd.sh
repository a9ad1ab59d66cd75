#!/bin/sh
# drd.sh VALGRIND LIB TEST - run a test under DRD, Valgrind's other detector of
# races, which knows the locks of a debug build and sees the locked form:
#
#     QR_TEST_QUICK=1 QUARRY_OPTIONS=nowatch tests/stress/drd.sh valgrind lib \
#         build/debug/tests/stress_contig_stress
#
# It takes atomic loads and stores for plain ones.  Functions below LIB that
# have some are left out, and those named here, with why; ThreadSanitizer looks
# at all of them.  The tests of pools and of identifiers, whose objects move under
# locks alone, are tests of ours.  Others hand on by atomic stores and exchanges
# what was just made, and reports of them are for people to read.
set -eu
valgrind=$1
lib=$2
test=$3
work=$(mktemp -d "${TMPDIR:-/tmp}/drd.XXXXXX")
trap 'rm -rf "$work"' EXIT

by_atomics()
{
	find "$lib" -name '*.[ch]' -exec awk '
		match($0, /^[a-z_0-9]+\(/) { name = substr($0, 1, RLENGTH - 1) }
		/atomic_(load|store)/ && name != "" { print name }' {} +
}

# They read what was published by an atomic store, or is checked by a count
# that was; or have it from an atomic exchange in the test.
by_name()
{
	cat <<-'EOF'
		cpu_alloc the members of a class cache
		umem__cpu_take the same
		umem__cpu_put the same
		check_order the owner of a lock
		qr_mutex_enter_nested the same
		fork_done who is in fork
		vmem__wake sleepers are counted before they look
		thread_sleep calls of the maintenance thread
		search the ranges of vtophys()
		put the same
		merge_segments the same
		put_segment the same
		vtophys the same
		vtophys__insert the same
		vtophys__remove the same
		write_end the same
		obtain an object that lay on a shelf
		give_back the same
		stamp the same
		stamp_of the same
		unstamp the same
	EOF
}

{ by_atomics && by_name; } | while read -r name _; do
	printf '{\n%s\ndrd:ConflictingAccess\nfun:%s\n}\n' "$name" "$name"
done >"$work/supp"
[ -s "$work/supp" ]
"$valgrind" -q --tool=drd --error-exitcode=99 --fair-sched=yes \
	--child-silent-after-fork=yes --suppressions="$work/supp" "$test"
