#!/bin/sh
# Each gate refuses a planted violation.
#
#   gates_can_fail.sh <source tree>
set -eu
source=$1
gates=$source/tests/api
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
bad=0

# refuses <why> <command>...
refuses()
{
	why=$1
	shift
	if "$@" >out 2>&1; then
		echo "not refused: $why"
		bad=1
	elif ! grep -q "$why" out; then
		echo "not refused for this reason: $why"
		cat out
		bad=1
	fi
}

# tree <path> makes a source tree of one file, with stdin for text.
tree()
{
	rm -rf tree
	mkdir -p "tree/$(dirname "$1")" tree/include
	cat >"tree/$1"
}

layers()
{
	cmake -DROOT="$work/tree" -P "$source/cmake/CheckLayers.cmake"
}

echo '#include "os/os.h"' | tree lib/base/low.c
refuses 'low.c (base) includes "os/os.h, floor os' layers
echo '#include <quarry/umem.h>' | tree lib/vmem/low.c
refuses 'low.c (vmem) includes <quarry/umem.h, floor umem' layers
echo '# include "umem/umem_impl.h"' | tree lib/client.c
refuses 'client.c includes "umem/umem_impl.h, a private header' layers
echo '#include "vmem/vmem_impl.h"' | tree lib/mpipe/room.c
refuses 'room.c includes "vmem/vmem_impl.h, a private header' layers
echo '#include "mpipe/mpipe_impl.h"' | tree lib/umem/low.c
refuses 'low.c (umem) includes "mpipe/mpipe_impl.h, floor mpipe' layers
echo '#include "contig/physpool_impl.h"' | tree lib/mtype/room.c
refuses 'room.c (mtype) includes "contig/physpool_impl.h, floor contig' layers
echo '#include "malloc/malloc.h"' | tree lib/client.c
refuses 'client.c (files) includes "malloc/malloc.h, floor malloc' layers

echo 'int  x ;' | tree lib/base/ugly.c
cp "$source/.clang-format" tree
refuses 'ugly.c:1:4: error' "$gates/format.sh" tree

{
	printf 'void\nlong_one(void)\n{\n'
	yes '	x();' | head -n 79
	echo '}'
} | tree lib/base/long.c
refuses 'long.c:83: function of 81 lines' "$gates/shape.sh" tree
printf 'void\nf(void)\n{\n#ifdef X\n#endif\n}\n' | tree lib/vmem/if.c
refuses 'if.c:4: #if in a function' "$gates/shape.sh" tree

head -c 65537 /dev/zero | tree data
git init -q tree
git -C tree add data
refuses 'data: over 64 KiB' "$gates/files.sh" tree
printf '\177ELF...' | tree program
git init -q tree
git -C tree add program
refuses 'program: compiled' "$gates/files.sh" tree

echo 'size_t f(void);' | tree include/quarry/alone.h
mkdir tree/include/compat
refuses 'quarry/alone.h: refused by gcc' "$gates/headers.sh" tree
echo 'char *class;' | tree include/quarry/cxx.h
mkdir tree/include/compat
refuses 'quarry/cxx.h: refused by clang++' "$gates/headers.sh" tree

mkdir -p tree/lib tree/tests
cp -r "$source/include" tree
ln -s "$gates" tree/tests/api
sed '/vmem_xalloc;/d' "$source/lib/quarry.map" >tree/lib/quarry.map
refuses '^-vmem_xalloc$' "$gates/declared.sh" tree
sed 's/vmem_xalloc;/& vmem_extra;/' "$source/lib/quarry.map" |
	tr ' ' '\n' >tree/lib/quarry.map
refuses '^+vmem_extra$' "$gates/declared.sh" tree

# shared <option>... makes object.so of C on stdin.
shared()
{
	gcc -x c -fPIC -shared -nostartfiles - -o object.so "$@"
}
proper='-Wl,-z,nodelete -Wl,-z,now -Wl,-z,relro'

printf 'QUARRY_1.0 { global:\nvmem_a;\nvmem_b;\nlocal: *; };' >tree/lib/quarry.map
echo 'int vmem_a, stray;' | shared
refuses '^-vmem_b@@QUARRY_1.0$' "$gates/exports.sh" tree object.so
refuses '^-vmem_a@@QUARRY_1.0$' "$gates/exports.sh" tree object.so
refuses '^+stray$' "$gates/exports.sh" tree object.so
echo 'int vmem_a, vmem_b, stray;' | gcc -x c -c - -o object.a
refuses '^+stray$' "$gates/exports.sh" tree object.a

printf '\t\t*/meta.c.o(.text.gone .text.gone.*)\n' | tree lib/core.ld
refuses 'names gone() of meta.c, which is no function of lib/' "$gates/core.sh" tree object.a true

# shellcheck disable=SC2086
{
	echo 'int x;' | shared $proper -Wl,--no-as-needed -lm
	refuses 'needs libm.so.6' "$gates/object.sh" object.so
	echo 'int x;' | shared -Wl,-z,now
	refuses 'can be unloaded' "$gates/object.sh" object.so
	echo 'int x;' | shared -Wl,-z,nodelete -Wl,-z,lazy
	refuses 'is bound lazily' "$gates/object.sh" object.so
	echo 'int x;' | shared $proper -Wl,-z,execstack
	refuses 'has an executable stack' "$gates/object.sh" object.so
	echo '__thread int x;' | shared $proper
	refuses 'has thread-local storage' \
		"$gates/object.sh" object.so "$source/lib/malloc/malloc.map"
	echo 'void *calloc(unsigned long n, unsigned long s) { return 0; }' |
		shared $proper -w
	refuses 'exports calloc' \
		"$gates/object.sh" object.so "$source/lib/malloc/malloc.map"
}

mkdir -p lib/os lib/umem
echo 'void up(void); void f(void) { up(); }' | gcc -x c -c - -o lib/os/f.c.o
echo 'void up(void) {}' | gcc -x c -c - -o lib/umem/up.c.o
refuses 'f.c.o (os) uses up (umem)' "$gates/calls.sh" lib/*/*.o
refuses 'no symbols' "$gates/calls.sh" 'lib/os/f.c.o;lib/umem/up.c.o'

# shellcheck disable=SC2016
{
	echo '`os/os_lock.h` `os/gone.c` `gone()` `cmake/gone`' | tree lib/README.md
	mkdir tree/lib/os
	printf '\tQR_RANK_NEW,\n' >tree/lib/os/os_lock.h
	refuses '^+os/gone.c$' "$gates/house.sh" tree
	refuses '^-NEW$' "$gates/house.sh" tree
	refuses 'no function gone$' "$gates/house.sh" tree
	refuses 'no file cmake/gone$' "$gates/house.sh" tree
	echo >tree/lib/os/new.c
	refuses '^-os/new.c$' "$gates/house.sh" tree
}

# page [<sed command>...] makes a tree whose manual pages are edited.
page()
{
	rm -rf tree
	mkdir -p tree/lib/malloc tree/lib/umem tree/lib/mpipe tree/tests
	cp -r "$source/include" "$source/man" "$source/examples" tree
	cp "$source/lib/quarry.map" tree/lib
	cp "$source/lib/malloc/malloc.map" tree/lib/malloc
	cp "$source"/lib/umem/umem_options.c "$source"/lib/umem/umem_write.c tree/lib/umem
	cp "$source/lib/client_report.c" tree/lib
	cp "$source/lib/mpipe/mpipe_report.c" tree/lib/mpipe
	ln -s "$gates" tree/tests/api
	[ $# -eq 0 ] || sed -i "$@" tree/man/*.[37]
}

page '/^\.Nm vmem_walk /d'
refuses '^-vmem_walk$' "$gates/documented.sh" tree
page 's/^\(\.Fn vmem_contains .*\) "size_t size"/\1 "int size"/'
refuses 'conflicting types for .*vmem_contains' "$gates/documented.sh" tree
page '/^\.Fn umem_reap void/d'
refuses '^-umem_reap$' "$gates/documented.sh" tree
page '/^\.Fn pvalloc/d'
refuses '^-pvalloc$' "$gates/documented.sh" tree
page 's/^\(\.It Cm \)harden/\1soften/'
refuses '^-QUARRY_OPTIONS harden$' "$gates/documented.sh" tree
page 's/wait_ns_max//'
refuses '^-wait_ns_max$' "$gates/documented.sh" tree
page '/^\.Xr mpipe 3/d'
refuses '^-.Xr mpipe 3$' "$gates/documented.sh" tree
page '/^\.In quarry\/mpipe.h/d'
refuses '^-.In quarry/mpipe.h$' "$gates/documented.sh" tree
page 's/umem_cache_free(cp, s)/umem_cache_free(s, cp)/'
refuses '^+.*umem_cache_free(cp, s)' "$gates/documented.sh" tree

page
mkdir -p man/man3
printf '.Nm vmem_b ,\n' >man/man3/vmem_b.3
echo '.so man3/vmem_b.3' >man/man3/vmem_a.3
printf 'QUARRY_1.0 { global:\nvmem_a;\nvmem_b;\nvmem_c;\nlocal: *; };' \
	>tree/lib/quarry.map
refuses 'vmem_a: .* is not about it' "$gates/pages.sh" "$work/tree" man
refuses 'man/man3/vmem_c.3' "$gates/pages.sh" "$work/tree" man

# readme makes a tree whose README.md is stdin after a good one.
readme()
{
	page
	mkdir -p tree/tests/unit/umem
	cp "$source/tests/unit/umem/umem_bound_test.c" tree/tests/unit/umem
	{
		sed -n '/^## Options/,/^## When/p' "$source/README.md"
		printf '```sh\necho one 1\n```\n```text\n...\none 2\n```\n'
		cat
	} >tree/README.md
}

readme </dev/null
"$gates/readme.sh" tree >out || {
	echo 'refused: a good README.md'
	cat out
	bad=1
}
printf '```sh\nfalse\n```\n' | readme
refuses 'a command failed' "$gates/readme.sh" tree
printf '```sh\ntrue\n```\n```text\nno\n```\n' | readme
refuses 'nothing prints: no$' "$gates/readme.sh" tree
printf '```sh\necho "word <svg/>" >new.svg\n```\n' | readme
refuses 'new.svg: .*syntax error' "$gates/readme.sh" tree
printf '```c examples/umem.c\nint x;\n```\n' | readme
refuses 'quotes another examples/umem.c' "$gates/readme.sh" tree
printf '```bash\ntrue\n```\n' | readme
refuses 'a fence of no known kind' "$gates/readme.sh" tree
printf '```sh check\n./tests/gone.sh\n```\n' | readme
refuses 'gone.sh cannot be run' "$gates/readme.sh" tree
printf '| `UMEM_DEBUG` | `auditing` |\n' | readme
refuses 'unknown options: UMEM_DEBUG auditing$' "$gates/readme.sh" tree
readme </dev/null
sed -i 's/KIB_PER_CPU = [0-9]*/KIB_PER_CPU = 7/' tree/tests/unit/umem/*.c
refuses 'the bounds on magazines are not 6567 and 7 KiB' "$gates/readme.sh" tree

refuses 'unknown form gc (see --help)' "$source/tests/check.sh" gc
"$source/tests/check.sh" --help 2>&1 | grep -q '^check.sh \[FORM' || {
	echo 'check.sh has no --help'
	bad=1
}

if command -v mandoc >/dev/null && command -v groff >/dev/null; then
	printf '.Dd x\n.Dt X 3\n.Os\n.Sh NAME\n.Nx\n.Foo\n' | tree man/x.3
	refuses 'x.3:' "$gates/manual.sh" tree
	page 's/^\(\.%T \)"\(.*\)"/\1\2/'
	refuses 'umem.3:.*chop' "$gates/manual.sh" tree
fi
exit $bad
