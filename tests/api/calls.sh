#!/bin/sh
# No object refers to a symbol that a higher floor defines.
#
#   calls.sh <object file>...
#
# The floor of an object is the directory it was compiled from.
set -eu
nm -A -g "$@" | awk '
BEGIN {
	n = split("base os meta vmem umem mtype contig kmalloc mpipe files malloc",
	    floors, " ")
	for (i = 1; i <= n; i++)
		rank[floors[i]] = i
}
{
	file = $1
	sub(/:.*/, "", file)
	n = split(file, parts, "/")
	floor = (parts[n - 1] in rank) ? parts[n - 1] : "files"
	symbol = $NF
}
$(NF - 1) == "U" {
	user[++users] = file
	uses[users] = symbol
	from[users] = floor
	next
}
{
	defined[symbol] = floor
}
END {
	for (i = 1; i <= users; i++) {
		symbol = uses[i]
		if (symbol in defined && rank[defined[symbol]] > rank[from[i]]) {
			printf "%s (%s) uses %s (%s)\n",
			    user[i], from[i], symbol, defined[symbol]
			bad = 1
		}
	}
	if (!users) {
		print "no symbols"
		bad = 1
	}
	exit bad
}'
