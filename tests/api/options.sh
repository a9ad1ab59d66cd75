#!/bin/sh
# Print "VARIABLE option" for each option that the library accepts, sorted.
#
#   options.sh <source tree>
set -eu
awk '
/^static const char var_/ {
	split($0, part, /[ "[]/)
	for (i in part)
		if (part[i] ~ /^var_/)
			name = part[i]
	variable[name] = $0
	gsub(/^[^"]*"|"[^"]*$/, "", variable[name])
}
/^static const struct opt table/, /^};/ {
	if (match($0, /var_[a-z]+, "[a-z_]+"/)) {
		split(substr($0, RSTART, RLENGTH), part, /[, "]+/)
		print variable[part[1]], part[2]
	}
}' "$1/lib/umem/umem_options.c" | sort
