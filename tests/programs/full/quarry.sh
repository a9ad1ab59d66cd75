#!/bin/bash
# cmake, ninja, gcc and clang build Quarry itself, with the same bytes
# needs gcc=gcc libc6-dev=/usr/include/stdlib.h cmake=cmake ninja-build=ninja clang=clang
set -e
for cc in gcc clang; do
	cmake -S "$QUARRY_SOURCE" -B $cc -G Ninja -DCMAKE_C_COMPILER=$cc \
		-DBUILD_TESTING=OFF >log
	cmake --build $cc -j2 >>log
	find $cc \( -name '*.a' -o -name '*.so.*' \) -type f -exec cksum {} + | sort
done
