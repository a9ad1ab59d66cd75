#!/bin/sh
# The table of system calls in SECURITY.md is what the shared objects can make.
#
#   system_calls.sh <source tree> <shared object>...
#
# shellcheck disable=SC2016
#
# Each symbol that they import is named here: a system call of the same name, one
# of another name, or none.
set -eu
root=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# calls_of <symbol>: the system calls that it may make, one a line.
calls_of()
{
	case $1 in
	memfd_create) echo "$1" ;;
	bcmp | mem* | str* | explicit_bzero | getauxval) ;;
	_ITM_* | __cxa_* | __gmon_start__ | _umem_*) ;;
	__environ | environ | __errno_location | __libc_*) ;;
	program_invocation_short_name | __progname) ;;
	__sigsetjmp | __pthread_* | __register_atfork | __rseq_*) ;;
	dlsym | dl_iterate_phdr) ;;
	pthread_attr_* | pthread_self | pthread_setcancelstate) ;;
	sigaddset | sigemptyset | sigfillset | __sched_cpucount) ;;
	syscall) sed -n 's/.*syscall([[:space:]]*SYS_\([a-z0-9_]*\).*/\1/p' "$work/source" ;;
	pthread_create) printf '%s\n' clone3 rseq set_robust_list mmap mprotect ;;
	pthread_sigmask | sigprocmask) echo rt_sigprocmask ;;
	sigaction) echo rt_sigaction ;;
	raise) printf '%s\n' getpid gettid tgkill ;;
	exit) echo exit_group ;;
	eventfd) echo eventfd2 ;;
	eventfd_read) echo read ;;
	eventfd_write | fprintf | fwrite | ferror) echo write ;;
	fstat | fstatat) echo newfstatat ;;
	getrlimit) echo prlimit64 ;;
	sem_*) echo futex ;;
	open) echo openat ;;
	pread) echo pread64 ;;
	qsort) echo sysinfo ;;
	sched_getcpu) echo getcpu ;;
	clock_gettime | close | fallocate | fchmod | fcntl) echo "$1" ;;
	flock | fstatfs | fsync | ftruncate) echo "$1" ;;
	getpid | madvise | mlock | mmap | mprotect | munlock) echo "$1" ;;
	munmap | openat | prctl | read | renameat | sched_yield) echo "$1" ;;
	sigaltstack | unlinkat | write) echo "$1" ;;
	*) echo "$1: which system calls are these?" ;;
	esac
}

find "$root/lib" -name '*.[ch]' -exec cat {} + | tr '\n' ' ' |
	sed 's/;/;\n/g' >"$work/source"
for symbol in $(nm --dynamic --undefined-only "$@" |
	sed -n 's/.* [Uwv] \([^@]*\).*/\1/p' | sort -u); do
	calls_of "$symbol"
done | sort -u >"$work/made"
sed -n '/^## System calls/,/^## Rep/s/^| `\([a-z0-9_]*\)` |.*/\1/p' \
	"$root/SECURITY.md" >"$work/table"
sort -u "$work/table" >"$work/told"

[ -s "$work/made" ] || {
	echo 'no system calls'
	exit 1
}
diff -u "$work/told" "$work/made" || {
	echo 'SECURITY.md tells of other system calls (-) than are made (+)'
	exit 1
}
