#!/usr/bin/env bash
# coverage.sh - which lines of lib/ no test runs, and why.
set -euo pipefail

usage='coverage.sh [options] - builds with clang so that lines and branches are
counted, runs the tests and prints a table of lib/ by file.  What children do
that exit or abort counts, and what programs do under the preload.  The other
gates are not run: that of a source, an object or an install.
  --list        print the lines not covered and not explained
  --all         print those explained too, each with its reason
  --tests REGEX only these tests, beside what earlier runs have counted
  --report      run none
A line not covered is explained by an entry of tests/coverage.txt.  Tests that
fail are named: the counters need memory, a file and a descriptor, which some
tests do not allow.  Exit status: 0, 1 when a line is not covered and not
explained, 2 when nothing can be counted.'
. "$(dirname "$0")/../bench/lib.sh"

tests=
report=0
on_all() {
	list=2
}

on_report() {
	report=1
}

take_options --tests= --list --all --report -- "$@"

start_work
need_toolchain
need python3=python3 clang=clang llvm-14=llvm-cov-14 libcmocka-dev=/usr/include/cmocka.h \
	libclang-rt-14-dev=/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux
cd "$root"
build=build/coverage
counts=$build/counts

if [ $report -eq 0 ]; then
	say "building in $build"
	{ cmake --preset coverage && cmake --build --preset coverage; } \
		>"$work/log" 2>&1 ||
		{ tail -n 40 "$work/log" >&2 && die 'the build failed'; }
	[ -n "$tests" ] || rm -rf "$counts"
	mkdir -p "$counts"
	say 'running the tests'
	# %m: a file for each program or library; %c: it is mapped and counted in,
	# so that it has everything whatever becomes of the process; %p: in each
	# process that executes one, or what ran before it is mapped is forgotten.
	LLVM_PROFILE_FILE=$root/$counts/%m.%p%c.profraw ctest --preset coverage \
		-j "$(nproc)" ${tests:+-R "$tests"} >"$work/log" 2>&1 || true
	sed -n -e '/(\(Skipped\|Disabled\)) *$/d' \
		-e 's/^\t *[0-9]* - \(.*\) (.*) *$/FAILED: \1/p' "$work/log"
fi

# Every object of lib/ is in this library; those in a program are the same.
llvm-profdata-14 merge -o "$work/profile" "$counts"/*.profraw 2>"$work/log" ||
	{ tail -n 20 "$work/log" >&2 && die 'nothing was counted'; }
export=(llvm-cov-14 export -instr-profile="$work/profile"
	"$build/libquarry_malloc.so.1")
"${export[@]}" -format=lcov >"$work/lcov"
"${export[@]}" -format=text -skip-functions -skip-expansions >"$work/json"
tests/coverage.py $list "$root" tests/coverage.txt "$work/lcov" "$work/json"
