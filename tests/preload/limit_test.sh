#!/bin/bash
# Under a limit on address space programs start, work up to the limit, are told
# that there is no more, and work again when they have freed some.
set -u

cd "$QUARRY_BUILD/tests/preload" || exit 1
bad=0
python=$(python3 -c 'import sys; print(sys.executable)')

# limited <KiB> <command>...: run it preloaded, with so much address space.
limited() {
	(
		ulimit -v "$1"
		shift
		LD_PRELOAD=$QUARRY_PRELOAD "$@"
	) || {
		echo "$*: exit status $?"
		bad=1
	}
}

# shellcheck disable=SC2016
for kib in 65536 131072 200000 262144; do
	# The other test would touch all of a large limit six times.
	limited "$kib" ./limit memory_ends_at_the_limit_and_comes_back_when_freed
	limited "$kib" sh -c '[ -n "$(ls /)" ]'
done

limited 100000 ./limit what_one_size_had_serves_every_other

for mib in 128 512; do
	limited $((mib << 10)) "$python" - <<-'END'
		def fill():
		    kept = []
		    try:
		        while True:
		            kept.append(bytes(1000 + len(kept) % 5000))
		    except MemoryError:
		        return sum(map(len, kept))

		first = fill()
		second = fill()
		assert first > 50 << 20, first
		assert second > first * 0.9, (first, second)
		print("python took", first >> 20, "MiB, then", second >> 20, "MiB")
	END
done
exit $bad
