#!/bin/bash
# gcc, and clang if it is there: sources of Quarry
# needs gcc=gcc libc6-dev=/usr/include/stdlib.h
set -e
printf '#include <stdio.h>\nint main(void) { return (puts("hello") < 0); }\n' \
	>hello.c
for cc in gcc clang; do
	command -v $cc >/dev/null || continue
	$cc -O2 -Wall -o hello hello.c
	./hello
	for f in "$QUARRY_SOURCE"/lib/vmem/vmem_[acfs]*.c; do
		$cc -O2 -I"$QUARRY_SOURCE/lib" -I"$QUARRY_SOURCE/include" -S \
			-o - "$f"
	done | cksum
done
