#!/bin/sh
# The libraries can be built for aarch64, too, without a warning.  That they work
# there is what tests/aarch64.sh finds out.
#
#   cross.sh <root>
set -eu
root=$1
command -v aarch64-linux-gnu-gcc >/dev/null || {
	echo 'needs: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross'
	exit 77
}
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
{
	cmake -S "$root" --preset aarch64 -B "$tree" -DBUILD_TESTING=OFF
	cmake --build "$tree" --target quarry quarry_malloc
} >"$tree/log" 2>&1 || {
	cat "$tree/log"
	exit 1
}
for name in quarry quarry_malloc; do
	readelf -h "$tree/lib$name.so" | grep 'Machine: *AArch64' || {
		echo "lib$name.so is for another machine"
		exit 1
	}
done
