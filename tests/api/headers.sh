#!/bin/sh
# Each public header compiles alone, twice over, as C99, C11 and C++17.
#
#   headers.sh <source tree>
set -eu
cd "$1/include"

bad=0
check()
{
	printf '#include <%s>\n#include <%s>\n' "$header" "$header" |
		"$@" -I. -Icompat -Wall -Wextra -Werror -pedantic \
			-fsyntax-only - || {
		echo "$header: refused by $*"
		bad=1
	}
}

for header in $(find quarry -name '*.h') $(cd compat && find . -name '*.h'); do
	header=${header#./}
	check gcc -std=c99 -x c
	check gcc -std=c11 -x c
	check clang -std=c99 -x c
	check clang -std=c11 -x c
	check g++ -std=c++17 -x c++
	check clang++ -std=c++17 -x c++
done
exit $bad
