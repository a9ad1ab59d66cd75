#!/bin/sh
# No function is longer than 80 lines, and only lib/os chooses between systems
# inside a function.
#
#   shape.sh <source tree>
#
# Formatted code opens and closes a function, and nothing else, with a brace
# alone in the first column.
set -eu
cd "$1"

find . \( -name .git -o -name 'build*' \) -prune -o -name '*.[ch]' -exec awk -v max=80 '
function complain(what) {
	printf "%s:%d: %s\n", FILENAME, FNR, what
	bad = 1
}
FNR == 1 {
	start = 0
}
/^[{]$/ {
	start = FNR
}
/^[}]/ && start {
	if (FNR - start + 1 > max)
		complain("function of " FNR - start + 1 " lines")
	start = 0
}
start && /^[ \t]*#[ \t]*(if|el|endif)/ && FILENAME !~ /^\.\/lib\/os\// {
	complain("#if in a function")
}
END {
	exit bad
}' {} +
