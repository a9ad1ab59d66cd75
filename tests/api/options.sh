#!/bin/sh
# Print "VARIABLE option" for each option that the library accepts, sorted.
#
#   options.sh <source tree>
set -eu
awk '
/^    \[VAR_[A-Z]+\] = "/ { split($0, part, /[]["]/); variable[part[2]] = part[4] }
/^static const struct opt table/, /^};/ {
	if (match($0, /VAR_[A-Z]+, "[a-z_]+"/)) {
		split(substr($0, RSTART, RLENGTH), part, /[, "]+/)
		print variable[part[1]], part[2]
	}
}' "$1/lib/umem/umem_options.c" | sort
