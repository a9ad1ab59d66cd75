#!/bin/sh
# Programs that use pkg-config build against an installed tree and run, linked
# with the shared and with the static libraries.
#
#   pkg_config.sh <source tree> <library directory> <C compiler>
set -eu
sources=$1/tests/api/consumer
libdir=$2
cc=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PKG_CONFIG_PATH="$libdir/pkgconfig"
export LD_LIBRARY_PATH="$libdir"

# consumer <packages> <source> <compiler>
# shellcheck disable=SC2086
consumer()
{
	package=$1
	source=$2
	shift 2
	set -- "$@" -Wall -Wextra -Werror -O1 \
		-DEXPECT_VERSION="\"$(pkg-config --modversion ${package%% *})\"" \
		"$sources/$source" -o "$work/program"

	echo "$source with $package, shared"
	# shellcheck disable=SC2046
	"$@" $(pkg-config --cflags --libs $package)
	"$work/program"

	echo "$source with $package, static"
	# shellcheck disable=SC2046
	"$@" -static $(pkg-config --static --cflags --libs $package)
	"$work/program"
}

consumer quarry umem.c "$cc" -std=c11
consumer quarry cxx.cc c++ -std=c++17
consumer quarry-compat ported.c "$cc" -std=gnu99
consumer quarry-malloc malloc.c "$cc" -std=gnu17

# With two packages there is one engine, in any order.
for other in quarry quarry-compat; do
	consumer "$other quarry-malloc" malloc.c "$cc" -std=gnu17
	consumer "quarry-malloc $other" malloc.c "$cc" -std=gnu17
	# shellcheck disable=SC2046
	"$cc" "$sources/malloc.c" -o "$work/program" \
		$(pkg-config --cflags --libs $other quarry-malloc)
	LD_TRACE_LOADED_OBJECTS=1 "$work/program" >"$work/loaded"
	if grep libquarry.so "$work/loaded"; then
		echo "$other quarry-malloc: libquarry is linked for nothing"
		exit 1
	fi
done
consumer 'quarry-compat quarry-malloc' ported.c "$cc" -std=gnu99

# A linker that drops what a program does not name keeps the library.
echo "names_nothing.c with quarry-malloc, as needed"
# shellcheck disable=SC2046
"$cc" -Wl,--as-needed "$sources/names_nothing.c" -o "$work/program" \
	$(pkg-config --cflags --libs quarry-malloc)
QUARRY_OPTIONS=verbose "$work/program" 2>&1 | grep '^quarry: .* active'

# An object that goes while it has memory is named, once.
echo "unload.c with quarry, shared"
# shellcheck disable=SC2046
{
	"$cc" -shared -fPIC "$sources/plugin.c" -o "$work/plugin.so" \
		$(pkg-config --cflags --libs quarry)
	"$cc" "$sources/unload.c" -o "$work/program" \
		$(pkg-config --cflags --libs quarry)
}
"$work/program" "$work/plugin.so" 2>"$work/said"
echo 'quarry: malloc type plugin is unregistered with 4096 bytes in 1 block' |
	diff - "$work/said"

# Under the preload a program that is linked with libquarry has one engine: the
# heap that it sees is the one malloc takes from.
echo "malloc.c with quarry, preloaded"
# shellcheck disable=SC2046
"$cc" "$sources/malloc.c" -o "$work/program" \
	$(pkg-config --cflags --libs quarry)
if "$work/program"; then
	echo 'libquarry has a malloc of its own'
	exit 1
fi
LD_PRELOAD=$libdir/libquarry_malloc.so.1 QUARRY_OPTIONS=verbose,stats \
	"$work/program" 2>"$work/said"
for line in ' active' ' KiB in use'; do
	[ "$(grep -c "$line" "$work/said")" -eq 1 ] || {
		echo "not one engine says: $line"
		cat "$work/said"
		exit 1
	}
done
