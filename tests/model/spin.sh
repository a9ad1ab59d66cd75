#!/bin/sh
# The Promela models of this directory hold, and their mistakes are found.
#
#   spin.sh <directory> <compiler>
set -eu
command -v spin >/dev/null || exit 77
models=$1
cc=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# search <model> <define>: print the number of errors.
search()
{
	spin ${2:+"-D$2"} -a "$models/$1" >spin.log
	"$cc" -O2 -DSAFETY -DCOLLAPSE -w -o pan pan.c
	./pan -m200000 >pan.log
	if grep -E 'max search depth too small|out of memory' pan.log >&2; then
		return 1
	fi
	sed -n 's/.* errors: \([0-9]*\)$/\1/p' pan.log
}

bad=0
# holds <model> <mistake>...: as it is, and not with any of these defined.
holds()
{
	model=$1
	shift
	for mistake in '' "$@"; do
		errors=$(search "$model" "$mistake")
		echo "$model ${mistake:-as it is}: $errors errors"
		if [ -z "$mistake" ]; then
			[ "$errors" = 0 ] || bad=1
		else
			[ "${errors:-0}" -gt 0 ] || bad=1
		fi
	done
}

holds mpipe.pml LOST LATE
holds depot.pml FENCE BLIND ABOVE
exit $bad
