# lib.sh - what the benchmark scripts and the demo share: packages, the build,
# and runs of a benchmark program interleaved over allocators.
#
# A script sets usage= to its help text first.
#
# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# shellcheck disable=SC2154

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work= # a directory for the script's own files, removed at its end

say() {
	printf '%s\n' "$*" >&2
}

die() {
	say "${0##*/}: $*"
	exit 2
}

# take_options OPTION... -- ARGUMENT... - the arguments are --help or OPTIONs.  One
# that is written --NAME= takes a value, which goes to the variable NAME; at any
# other the function on_NAME is called.
take_options() {
	local options=' '
	while [ "$1" != -- ]; do
		options+="$1 "
		shift
	done
	shift
	while [ $# -gt 0 ]; do
		[ "$1" != --help ] || { say "$usage" && exit 0; }
		if [[ $1 != *=* && $options == *" $1 "* ]]; then
			"on_${1#--}"
		elif [[ $options == *" $1= "* ]]; then
			[ $# -ge 2 ] || die "$1 needs a value"
			printf -v "${1#--}" %s "$2"
			shift
		else
			die "unknown argument $1 (see --help)"
		fi
		shift
	done
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	else
		have sudo && sudo -n "$@"
	fi
}

# A command, a library in the loader's cache, or a file.
have() {
	case $1 in
	/*) [ -e "$1" ] ;;
	lib*.so*) /sbin/ldconfig -p | grep -F "$1" >/dev/null ;;
	*) command -v "$1" >/dev/null ;;
	esac
}

# need package=what ... - install the package of each thing that is missing.
need() {
	local pair missing=()
	for pair in "$@"; do
		have "${pair#*=}" || missing+=("${pair%%=*}")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	say "installing: ${missing[*]}"
	if ! { as_root env DEBIAN_FRONTEND=noninteractive sh -c \
		'apt-get -qq update && apt-get -qq -y install --no-install-recommends "$@"' \
		sh "${missing[@]}"; } >"$work/install.log" 2>&1; then
		tail -n 20 "$work/install.log" >&2
		die "cannot install; as root: apt-get install ${missing[*]}"
	fi
}

# The compiler and cmake, by Debian's names.
need_toolchain() {
	need gcc=gcc libc6-dev=/usr/include/stdlib.h cmake=cmake ninja-build=ninja
}

# Build everything and set `build`; QUARRY_BUILD names a tree built already.
build_quarry() {
	build=${QUARRY_BUILD:-$root/build/release}
	if [ -z "${QUARRY_BUILD:-}" ]; then
		need_toolchain
		say "building in ${build#"$root"/}"
		(cd "$root" && cmake --workflow --preset demo) >"$work/build.log" 2>&1 || {
			tail -n 40 "$work/build.log" >&2
			die "the build failed"
		}
	fi
	preload=${QUARRY_PRELOAD:-$build/libquarry_malloc.so.1}
	[ -e "$preload" ] || die "no $preload"
	case $preload in
	*[[:space:]:]*) # which LD_PRELOAD takes for separators
		ln -s "$preload" "$work/"
		preload=$work/${preload##*/}
		;;
	esac
}

# Fail unless the library named $1 is really loaded by LD_PRELOAD=$2.
check_preload() {
	[ -z "$2" ] || LD_PRELOAD=$2 grep -F "${2##*/}" /proc/self/maps \
		>/dev/null 2>&1 || die "$1: cannot preload $2"
}

# Fail unless the preloaded Quarry says that it is there.
check_quarry() {
	QUARRY_OPTIONS=verbose LD_PRELOAD=$preload env true 2>&1 |
		grep '^quarry: .* active' >/dev/null ||
		die "$preload does not announce itself"
}

start_work() {
	work=$(mktemp -d "${TMPDIR:-/tmp}/quarry.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

bench_options="  --only REGEX      rows whose name matches (awk's expressions)
  --peers N=P,...   these peers only: name=library; no library is glibc's
                    malloc
  --rounds N        how often each row is run (${rounds:=5})
  --threads N,...   thread counts (${threads:=1,2,8})
  --ms N            how long each run measures (${ms:=60})
  --json FILE       write every median there
  --svg FILE        draw every median there
  --quick           a few rows, once, to see that all of it works
  --list            print the names of the rows"

only=.
json=
svg=
quick_rows='^$'
peers=glibc=,jemalloc=libjemalloc.so.2,mimalloc=libmimalloc.so.2
peers+=,tcmalloc=libtcmalloc_minimal.so.4

list=0
on_list() {
	list=1
}

on_quick() {
	rounds=1 ms=20 threads=1,2 only=$quick_rows
}

# The script's arguments; leaves `names` and `libs`, Quarry last.
bench_parse() {
	local pair
	usage+=$'\n'$bench_options
	take_options --only= --peers= --rounds= --threads= --ms= --json= --svg= \
		--quick --list -- "$@"
	start_work
	need libjemalloc2=libjemalloc.so.2 libmimalloc2.0=libmimalloc.so.2 \
		libtcmalloc-minimal4=libtcmalloc_minimal.so.4
	build_quarry
	check_quarry
	[ $list -eq 0 ] || { bench_rows && exit 0; }
	names=() libs=()
	for pair in ${peers//,/ }; do
		names+=("${pair%%=*}")
		libs+=("${pair#*=}")
		check_preload "${pair%%=*}" "${pair#*=}"
	done
}

# Say how far we are: in place on a terminal, else at every tenth.
progress() {
	local done=$1 total=$2 what=$3
	if [ -t 2 ]; then
		printf '\r%3d %%  %-50s' $((done * 100 / total)) "$what" >&2
	elif [ $((done * 10 / total)) -ne $(((done - 1) * 10 / total)) ]; then
		say "$((done * 100 / total)) % after $SECONDS s"
	fi
}

# bench_plan - one line "round threads row" per group of runs to be compared.
# Rows that bring their own threads are run at the first thread count; slow
# rows, which are about memory, in the first round.
bench_plan() {
	bench_rows | awk -v only="$only" -v rounds="$rounds" -v threads="$threads" '
	$1 ~ only { row[++n] = $1; kind[n] = $2 }
	END {
		nt = split(threads, t, ",")
		for (r = 1; r <= rounds; r++)
			for (j = 1; j <= nt; j++)
				for (i = 1; i <= n; i++) {
					if (kind[i] == "paired" && t[j] < 2)
						continue
					if (kind[i] == "single" && j > 1)
						continue
					if (kind[i] == "once" && (j > 1 || r > 1))
						continue
					print r, t[j], row[i]
				}
	}'
}

# Run the plan, leave "$work/results".  The script defines bench_rows, which
# lists rows and kinds, and bench_one NAME LIBRARY ROW THREADS, which prints
# one result.  In every group the allocators take turns at going first.
bench_measure() {
	local r t row i k n=${#names[@]} total done=0
	bench_plan >"$work/plan"
	total=$(wc -l <"$work/plan")
	[ "$total" -gt 0 ] || die "no row matches $only"
	while read -r r t row; do
		progress $((++done)) "$total" "round $r, $t threads, $row"
		for ((k = 0; k < n; k++)); do
			i=$(((k + r) % n))
			bench_one "${names[i]}" "${libs[i]}" "$row" "$t" </dev/null |
				sed "s/^/${names[i]} /" || die "${names[i]}: $row failed"
		done
	done <"$work/plan" >"$work/results"
	[ ! -t 2 ] || printf '\r%70s\r' '' >&2
}

# Run the plan and print the report.
bench_run() {
	bench_measure
	bench_machine
	awk -v names="${names[*]}" -v json="$json" -v svg="$svg" \
		-v unit="${unit:-}" -v scale="${scale:-1}" \
		-f "$root/bench/median.awk" -f "$root/bench/report.awk" \
		-f "$root/bench/chart.awk" "$work/results"
}

# bench_preloads PROGRAM [ARGUMENT]... - run and report the rows of a program that
# knows nothing of Quarry, under each of the libraries.
bench_preloads() {
	program=$1
	shift
	bench_rows() {
		"$build/bench/$program" --list
	}
	bench_one() {
		LD_PRELOAD=$2 "$build/bench/$program" --row "$3" --threads "$4" --ms "$ms"
	}
	bench_parse "$@"
	names+=(quarry)
	libs+=("$preload")
	bench_run
}

bench_machine() {
	local cpu
	cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)
	echo "$(date -u +%Y-%m-%d), $(nproc) processors (${cpu:-$(uname -m)})," \
		"Linux $(uname -r), $rounds rounds, medians"
}
