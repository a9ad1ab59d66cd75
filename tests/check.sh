#!/usr/bin/env bash
# Build Quarry in every form and run every test: --help says more.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
exec </dev/null

usage='check.sh [FORM...]
Builds Quarry in every form, or in those named, and runs every test:

  gcc       optimised; all tests, each once with restartable sequences and
            once without, the gates, the consumers of an installed tree
  clang     optimised; the same less the gates over sources, plus clang-tidy
  debug     the library checks its own rules; then again under valgrind
  asan      AddressSanitizer and UndefinedBehaviorSanitizer
  tsan      ThreadSanitizer

Installs the Debian packages that are missing.  The last line counts the tests.'
. bench/lib.sh
for form; do
	case $form in
	gcc | clang | debug | asan | tsan) ;;
	--help) say "$usage" && exit 0 ;;
	*) die "unknown form $form (see --help)" ;;
	esac
done
start_work

passed=0
failed=0
skipped=0
failures=()

stage()
{
	printf '== %d:%02d %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$*"
}

fail()
{
	failed=$((failed + 1))
	failures+=("$1")
	echo "FAILED: $1"
}

# attribute <name> <file>: a number from the first element of a JUnit file.
attribute()
{
	sed -n "0,/[[:space:]]$1=\"/s/.*[[:space:]]$1=\"\([0-9]*\)\".*/\1/p" "$2"
}

# build <preset>
build()
{
	local log=build/$1.log

	stage "$1: build"
	mkdir -p build
	if ! { cmake --preset "$1" && cmake --build --preset "$1"; } \
		>"$log" 2>&1; then
		cat "$log"
		fail "$1: build"
		return 1
	fi
}

# run_tests <test preset> [<command to run ctest by>...]
run_tests()
{
	local preset=$1 report=$PWD/build/$1.xml
	shift

	stage "$preset: test"
	rm -f "$report"
	"$@" ctest --preset "$preset" -j "$(nproc)" --output-junit "$report"
	if [ ! -s "$report" ]; then
		fail "$preset: ctest"
		return
	fi

	local tests bad idle
	tests=$(attribute tests "$report")
	bad=$(attribute failures "$report")
	idle=$(($(attribute skipped "$report") + $(attribute disabled "$report")))
	passed=$((passed + tests - bad - idle))
	failed=$((failed + bad))
	skipped=$((skipped + idle))
	mapfile -t -O ${#failures[@]} failures < <(sed -n \
		"s/.*<testcase name=\"\([^\"]*\)\".*status=\"fail\".*/$preset: \1/p" \
		"$report")
}

# ThreadSanitizer wants its shadow where full randomisation may put us.
without_aslr=()
if setarch "$(uname -m)" -R true 2>/dev/null; then
	without_aslr=(setarch "$(uname -m)" -R)
fi

# What the tests look for themselves they would install while others run.
(
	need_toolchain
	# shellcheck disable=SC2046
	need $(sed -n 's/^# needs //p' tests/programs/*.sh)
	need g++=g++ binutils=readelf pkg-config=pkg-config \
		gcc-aarch64-linux-gnu=aarch64-linux-gnu-gcc \
		libc6-dev-arm64-cross=/usr/aarch64-linux-gnu/include/stdlib.h \
		clang=clang clang-format=clang-format clang-tidy=clang-tidy \
		libclang-rt-14-dev=/usr/lib/llvm-14/lib/clang/14.0.6/lib/linux \
		libcmocka-dev=/usr/include/cmocka.h \
		valgrind=valgrind libc6-dbg=/usr/lib/debug/.build-id \
		mandoc=mandoc groff-base=groff spin=spin python3=python3 \
		python3-hypothesis=/usr/lib/python3/dist-packages/hypothesis \
		libjemalloc2=libjemalloc.so.2 libmimalloc2.0=libmimalloc.so.2 \
		libtcmalloc-minimal4=libtcmalloc_minimal.so.4
) || fail 'install packages'

[ $# -gt 0 ] || set -- gcc clang debug asan tsan
for preset; do
	build "$preset" || continue
	case $preset in
	debug)
		run_tests debug
		run_tests valgrind
		;;
	tsan)
		run_tests tsan "${without_aslr[@]}"
		;;
	*)
		run_tests "$preset"
		;;
	esac
done

stage 'done'
for failure in "${failures[@]}"; do
	echo "FAILED: $failure"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
