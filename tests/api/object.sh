#!/bin/sh
# A shared object needs libc only, is linked as lib/CMakeLists.txt says and,
# unless it is the malloc, has no thread-local storage and no malloc.
#
#   object.sh <shared object> [<list of symbols it must not export>]
set -eu
object=$1
bad=0
complain()
{
	echo "$object: $1"
	bad=1
}

dynamic=$(readelf -dW "$object")
program=$(readelf -lW "$object")

for needed in $(echo "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
	case $needed in
	libc.so.6 | ld-linux*.so.*) ;;
	*) complain "needs $needed" ;;
	esac
done
echo "$dynamic" | grep -q '(FLAGS_1).*NODELETE' || complain 'can be unloaded'
echo "$dynamic" | grep -q '(FLAGS.*NOW' || complain 'is bound lazily'
echo "$dynamic" | grep -q '(TEXTREL)' && complain 'has text relocations'
echo "$program" | grep -q 'GNU_RELRO' || complain 'has a writable GOT'
echo "$program" | grep -q 'GNU_STACK.* RWE ' && complain 'has an executable stack'

if [ $# -gt 1 ]; then
	echo "$program" | grep -q '^ *TLS ' && complain 'has thread-local storage'
	exported=$(nm --dynamic --defined-only "$object" | awk '{ print $3 }')
	for symbol in $("$(dirname "$0")/map_symbols.sh" "$2"); do
		echo "$exported" | grep -qx "$symbol" && complain "exports $symbol"
	done
fi
exit $bad
