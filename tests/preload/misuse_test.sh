#!/bin/bash
# A wrong call dies of SIGABRT with one message that names the pointer, what it
# is and what was wrong; with UMEM_DEBUG=noabort or a panic hook it is reported
# and does nothing.
#
# P is the pointer, X another address.  When: `now`, in the call itself; or
# `slab`, when the block reaches its slab, and in the call itself under
# UMEM_DEBUG=guards and QUARRY_OPTIONS=harden; `hard`, only under those.

table='
call            of              when  message
free            stack           now   free(P): invalid pointer: not memory of this allocator
free            static          now   free(P): invalid pointer: not memory of this allocator
free            constant        now   free(P): invalid pointer: not memory of this allocator
free            mapped          now   free(P): invalid pointer: not memory of this allocator
free            one             now   free(P): invalid pointer: not memory of this allocator
free            sixteen         now   free(P): invalid pointer: not memory of this allocator
free            noncanonical    now   free(P): invalid pointer: not memory of this allocator
free            kernel          now   free(P): invalid pointer: not memory of this allocator
free            last            now   free(P): invalid pointer: not memory of this allocator
free            odd             now   free(P): not the start of a block: cache umem_alloc_64, slab X
free            misaligned      now   free(P): not the start of a block: cache umem_alloc_64, slab X
free            interior        slab  umem allocator: bad free: free address (P) != alloc address (X): buffer=X (cache umem_alloc_64, slab X), freed to cache umem_alloc_64
free            large-odd       now   free(P): not the start of a block: mapping X of 300000 bytes
free            large-interior  now   free(P): not the start of a block: mapping X of 300000 bytes
free            large-far       now   free(P): invalid pointer: heap, but not the start of a block in use
free            large-freed     now   free(P): invalid pointer: heap, but not the start of a block in use
free            trimmed         now   free(P): invalid pointer: not memory of this allocator
free            object          now   free(P): not from malloc: cache mine, slab X
free            umem-8          now   free(P): not from malloc: cache umem_alloc_8, slab X
twice           at-once         now   umem allocator: duplicate free: buffer freed twice: buffer=P (cache umem_alloc_64, slab X), freed to cache umem_alloc_64
twice           later           slab  umem allocator: duplicate free: buffer freed twice: buffer=P (cache umem_alloc_64, slab X), freed to cache umem_alloc_64
realloc         stack           now   realloc(P): invalid pointer: not memory of this allocator
realloc         sixteen         now   realloc(P): invalid pointer: not memory of this allocator
realloc         kernel          now   realloc(P): invalid pointer: not memory of this allocator
realloc         misaligned      now   realloc(P): not the start of a block: cache umem_alloc_64, slab X
realloc         interior        hard  realloc(P): not the start of a block in use: cache umem_alloc_64, slab X
realloc         large-interior  now   realloc(P): not the start of a block: mapping X of 300000 bytes
realloc         large-freed     now   realloc(P): invalid pointer: heap, but not the start of a block in use
realloc         object          now   realloc(P): not from malloc: cache mine, slab X
realloc-freed   small           hard  realloc(P): not the start of a block in use: cache umem_alloc_64, slab X
usable          stack           now   malloc_usable_size(P): invalid pointer: not memory of this allocator
usable          one             now   malloc_usable_size(P): invalid pointer: not memory of this allocator
usable          misaligned      now   malloc_usable_size(P): not the start of a block: cache umem_alloc_64, slab X
usable          interior        hard  malloc_usable_size(P): not the start of a block in use: cache umem_alloc_64, slab X
usable          large-interior  now   malloc_usable_size(P): not the start of a block: mapping X of 300000 bytes
usable          large-freed     now   malloc_usable_size(P): invalid pointer: heap, but not the start of a block in use
usable          object          now   malloc_usable_size(P): not from malloc: cache mine, slab X
umem_free       small           slab  umem allocator: buffer freed to wrong cache: buffer=P (cache umem_alloc_64, slab X), freed to cache umem_alloc_208
umem_free       large           slab  umem allocator: invalid free: buffer not in cache: buffer=P (mapping X of 300000 bytes), freed to cache umem_alloc_208
umem_cache_free malloc          slab  umem allocator: buffer freed to wrong cache: buffer=P (cache umem_alloc_112, slab X), freed to cache mine
'

set -u
cd "$QUARRY_BUILD/tests/preload" || exit 1
unset UMEM_DEBUG QUARRY_OPTIONS MISUSE
ulimit -c 0
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
exec 2>/dev/null # the shell's own word on each abort
ABORTED=134      # 128 + SIGABRT
bad=0
count=0

fail() {
	echo "$call $what, $*"
	cat "$out/stdout" "$out/stderr"
	bad=1
}

# run [<variable>=<value>]...: sets status, last (line on stdout) and said,
# which is stderr with the addresses replaced.
run() {
	local pointer

	env "$@" LD_PRELOAD="$QUARRY_PRELOAD" ./misuse "$call" "$what" \
		>"$out/stdout" 2>"$out/stderr"
	status=$?
	pointer=$(head -n 1 "$out/stdout")
	last=$(tail -n 1 "$out/stdout")
	said=$(sed "s/$pointer/P/; s/0x[0-9a-f]*/X/g" "$out/stderr")
	count=$((count + 1))
}

# dies <when> <what it was run with>
dies() {
	[ "$status" -eq $ABORTED ] || fail "$2: exit status $status"
	[ "$said" = "$message" ] || fail "$2: another message"
	case $1:$last in
	now:0x*) ;;
	slab:'went on') ;;
	*) fail "$2: not at the time expected" ;;
	esac
}

# goes_on <prefix> <what it was run with>
goes_on() {
	[ "$status" -eq 0 ] || fail "$2: exit status $status"
	[ "$last" = ended ] || fail "$2: not to the end"
	[ "$said" = "$1$message" ] || fail "$2: another message"
}

while read -r call what when message; do
	[ "$call" = call ] || [ -z "$call" ] && continue
	if [ "$when" != hard ]; then
		run MISUSE=
		dies "$when" 'without options'
		run UMEM_DEBUG=noabort
		goes_on 'quarry: ' noabort
		run MISUSE=hook
		goes_on 'hook: ' 'a panic hook'
	fi
	run UMEM_DEBUG=guards
	dies now guards
	run QUARRY_OPTIONS=harden
	dies now harden
	run QUARRY_OPTIONS=harden UMEM_DEBUG=noabort
	goes_on 'quarry: ' 'harden and noabort'
done <<END
$table
END

# The program's own SIGABRT handler runs once, and does not save it.
call=free what=stack
run MISUSE=handler
if [ $status -ne $ABORTED ] ||
	[ "$(grep -c '^handler$' "$out/stderr")" -ne 1 ] ||
	[ "$(wc -l <"$out/stderr")" -ne 2 ]; then
	fail 'a handler for SIGABRT'
fi

# Nowhere to say it is no reason to go on.
LD_PRELOAD=$QUARRY_PRELOAD ./misuse free stack >/dev/null 2>&-
[ $? -eq $ABORTED ] || fail 'stderr closed'

# free(NULL) is no misuse, with any options.
for options in UMEM_DEBUG= UMEM_DEBUG=guards QUARRY_OPTIONS=harden; do
	env "$options" LD_PRELOAD="$QUARRY_PRELOAD" ./sizes \
		t80_a_block_of_no_bytes_is_distinct_and_can_be_freed \
		>"$out/stdout" 2>"$out/stderr" || fail "free(NULL), $options"
done

echo "$count runs"
exit $bad
