#!/bin/bash
# Where memory ends is not for a test to say: each failure injected once more,
# and much memory turned over, under a limit on address space, one on data, and
# that of a control group, which kills.
#
#   limits.sh [--overcommit-off]
#
# --overcommit-off does the same while the whole machine is without overcommit,
# for seconds; it takes root, and others may be refused memory meanwhile.
set -u

cd "$QUARRY_BUILD/tests" || exit 1
export QR_TEST_QUICK=1
kib=$((100 << 10)) # what turnover gets along with
bad=0
undo=true
trap '$undo' EXIT
trap 'exit 1' HUP INT TERM

# In a process of its own: all that is to be tried.  It ends at the first that
# fails, and may be killed.
try() {
	local test
	LD_PRELOAD=$QUARRY_PRELOAD preload/turnover || exit
	for test in oom_vmem_oom oom_umem_oom oom_id_space_oom oom_contig_oom; do
		[ ! -x $test ] || ./$test >"$1" 2>&1 || {
			cat "$1"
			exit 1
		}
	done
}

# under <what> <command>...: try after the command.
under() {
	local what=$1 log
	shift
	log=$(mktemp)
	("$@" && try "$log") || {
		echo "$what: exit status $?"
		bad=1
	}
	rm -f "$log"
}

# Of either version, where this may be done.
group=
group_make() {
	local root limit
	for root in /sys/fs/cgroup/memory /sys/fs/cgroup; do
		group=$root/quarry.$$
		mkdir "$group" 2>/dev/null || continue
		undo="rmdir $group"
		for limit in memory.max memory.limit_in_bytes; do
			[ ! -e "$group/$limit" ] || {
				echo $((kib << 10)) >"$group/$limit"
				return
			}
		done
		rmdir "$group"
		undo=true
	done 2>/dev/null
	return 1
}

group_enter() {
	echo "$BASHPID" >"$group/cgroup.procs" &&
		LD_PRELOAD=$QUARRY_PRELOAD preload/crowd
}

overcommit_off() {
	undo="sysctl -qw vm.overcommit_memory=$(cat /proc/sys/vm/overcommit_memory)"
	sysctl -qw vm.overcommit_memory=2
}

if [ "${1-}" = --overcommit-off ]; then
	overcommit_off || exit
	under 'no overcommit' true
	exit $bad
fi
under 'address space' ulimit -v $((1 << 20))
under 'data' ulimit -d $kib
if group_make; then
	under 'control group' group_enter
else
	echo 'no control group can be made here'
fi
exit $bad
