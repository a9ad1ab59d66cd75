#!/bin/bash
# UMEM_DEBUG acts on malloc in programs that know nothing of it: those without a
# mistake run as ever, and a planted mistake is found.
set -u

cd "$QUARRY_BUILD/tests/preload" || exit 1
unset UMEM_DEBUG UMEM_OPTIONS UMEM_LOGGING QUARRY_OPTIONS
ulimit -c 0
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
exec 3>&2 2>/dev/null # the shell's own word on each abort
SEGV=139 ABORTED=134
bad=0

fail() {
	echo "$*" >&3
	cat "$out/stdout" "$out/stderr" >&3
	bad=1
}

# run <options> <program> [<argument>...]
run() {
	local options=$1
	shift
	# shellcheck disable=SC2086
	env $options LD_PRELOAD="$QUARRY_PRELOAD" "$@" \
		>"$out/stdout" 2>"$out/stderr"
	status=$?
}

all='UMEM_DEBUG=default
UMEM_DEBUG=guards
UMEM_DEBUG=audit=40,verbose
UMEM_DEBUG=firewall=1000
UMEM_DEBUG=default,firewall=200
UMEM_DEBUG=lite
UMEM_DEBUG=random
UMEM_DEBUG=default,maxverify=8
UMEM_DEBUG=default UMEM_LOGGING=transaction,contents,fail,slab
UMEM_DEBUG=default UMEM_OPTIONS=nomagazines
UMEM_OPTIONS=size_add=1000,concurrency=3'

while read -r options; do
	for program in sizes pairs early lifecycle cxx; do
		[ -x "$program" ] || continue
		run "$options" "./$program"
		[ $status -eq 0 ] ||
			fail "$options $program: exit status $status"
		[ ! -s "$out/stderr" ] ||
			fail "$options $program: something on stderr"
	done
	run "$options" python3 -c 'import json
print(len(json.dumps(list(range(9999)))))
raise SystemExit(7)'
	if [ $status -ne 7 ] || [ "$(cat "$out/stdout")" != 58884 ]; then
		fail "$options python3: another result"
	fi
done <<END
$all
END

for options in UMEM_DEBUG=default UMEM_DEBUG=random,firewall=4000; do
	run "$options UMEM_LOGGING=transaction" ./threads
	[ $status -eq 0 ] || fail "$options threads: exit status $status"
done

# Other sizes, and all alignments among them.
for options in UMEM_DEBUG= UMEM_DEBUG=default UMEM_DEBUG=firewall=1000; do
	run "$options UMEM_OPTIONS=size_clear,size_add=100,size_add=9000" \
		./sizes t81_every_block_is_aligned_to_16 \
		an_aligned_block_is_aligned_for_every_power_of_two
	[ $status -eq 0 ] || fail "$options, other sizes: exit status $status"
	[ ! -s "$out/stderr" ] || fail "$options, other sizes: on stderr"
done

for options in guards default audit=3,contents,guards default,verbose; do
	run "UMEM_DEBUG=$options" ./debug
	[ $status -eq 0 ] || fail "$options: exit status $status"
done
run 'UMEM_DEBUG=firewall=1' ./debug
[ $status -eq 0 ] || fail "firewall: exit status $status"

# finds <options> <mistake> <status> <text>
finds() {
	run "UMEM_DEBUG=$1" ./debug "$2"
	[ $status -eq "$3" ] || fail "$1, $2: exit status $status"
	case $(head -n 1 "$out/stderr") in
	"$4"*) ;;
	*) fail "$1, $2: said something else" ;;
	esac
}

text='umem allocator: '
for options in default guards default,verbose; do
	finds $options over $ABORTED "${text}redzone violation: write past end"
	finds $options after $ABORTED "${text}buffer modified after being freed"
	finds $options twice $ABORTED "${text}duplicate free: buffer freed twice"
	finds $options inside $ABORTED "${text}bad free: free address (0x"
	finds $options,noabort over 0 ''
done
finds lite over $ABORTED "${text}redzone violation: write past end"
finds firewall=100 over $ABORTED "${text}redzone violation: write past end"
finds firewall=100 read-over $SEGV ''
finds firewall=100 read-after $SEGV ''
finds firewall=113 read-over 0 ''
finds mtbf=1,guards over $SEGV ''
exit $bad
