#!/bin/bash
# bash: arrays, functions, subshells
set -e
declare -A n
for ((i = 0; i < 5000; i++)); do
	n[$((i % 97))]+=x$i
done
for k in "${!n[@]}"; do
	echo "$k ${#n[$k]}"
done | sort -n | tail -n 3

f()
{
	mapfile -t a < <(seq 1 2000)
	echo "${#a[@]} ${a[1999]}"
}
f
(f)
f | tr 0-9 a-j
