#!/bin/sh
# The manual pages document what there is: every public function has a
# synopsis that agrees with its header, every function of the malloc family is
# described, the options are those that the library accepts, the members of
# statistics are named, the examples are the files they say they are, and
# quarry(7) leads to all of it.
#
#   documented.sh <source tree>
set -eu
cd "$1"
api=tests/api
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

# same <what 1 is> <what 2 is>: files 1 and 2 are equal.
same()
{
	diff -u --label "$1" "$work/1" --label "$2" "$work/2" || bad=1
}

# A page that names a function has its prototype, and the other way round; a
# page without prototypes is about a subject.
$api/data_symbols.sh . >"$work/data"
$api/map_symbols.sh lib/quarry.map | comm -23 - "$work/data" >"$work/1"
for page in man/*.3; do
	grep -q '^\.Ft ' "$page" || continue
	sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \([a-z0-9_]*\).*/\1/p' "$page"
done | sort >"$work/2"
same lib/quarry.map 'NAME of man/*.3'

# .Ft type, .Fn name "argument" ... or .Fo name, .Fa "argument" ..., .Fc
awk '
/^\.Sh / {
	synopsis = $2 == "SYNOPSIS"
}
!synopsis {
	next
}
$1 == ".In" {
	print "#include <" $2 ">"
}
$1 == ".Ft" {
	type = substr($0, 5)
}
$1 == ".Fn" {
	name = $2
	line = substr($0, index($0, name) + length(name) + 1)
	if (line !~ /"/)
		line = "\"" line "\""
	gsub(/" +"/, ", ", line)
	gsub(/"/, "", line)
	print type " " name "(" line ");"
}
$1 == ".Fo" {
	name = $2
	line = ""
}
$1 == ".Fa" {
	line = line (line == "" ? "" : ", ") substr($0, 5)
}
$1 == ".Fc" {
	gsub(/"/, "", line)
	print type " " name "(" line ");"
}' man/*.3 >"$work/synopsis.c"
gcc -Iinclude -fsyntax-only "$work/synopsis.c" || bad=1
sed -n 's/^[^(]*[ *]\([a-z0-9_]*\)(.*/\1/p' "$work/synopsis.c" |
	sort >"$work/2"
same lib/quarry.map 'SYNOPSIS of man/*.3'

$api/map_symbols.sh lib/malloc/malloc.map | grep -v '^_Z' >"$work/1"
sed -n 's/^\.Fn \([a-z0-9_]*\).*/\1/p' man/quarry_malloc.7 | sort -u |
	comm -12 - "$work/1" >"$work/2"
same lib/malloc/malloc.map man/quarry_malloc.7

$api/options.sh . >"$work/1"
awk '
/^\.Sh / { environment = $2 == "ENVIRONMENT" }
environment && /^\.It Ev/ { variable = $3 }
environment && /^\.It Cm/ { print variable, $3 }
' man/*.7 | sort >"$work/2"
same lib/umem/umem_options.c 'ENVIRONMENT of man/*.7'

# quarry(7) names every other page and every header.
{
	(cd man && ls ./*.[1-9]) | sed -n 's/^\.\/\(.*\)\.\([0-9]\)$/.Xr \1 \2/p' |
		grep -vx '\.Xr quarry 7'
	(cd include && find quarry -name '*.h') | sed 's/^/.In /'
	(cd include/compat && find . -name '*.h') | sed 's/^\.\//.In /'
} | sort >"$work/1"
sed -n 's/^\(\.\(Xr\|In\) [^ ]*\( [0-9]\)*\)\( ,\)*$/\1/p' man/quarry.7 | sort -u |
	comm -12 "$work/1" - >"$work/2"
same 'pages and headers' man/quarry.7

# quarry(3) names the members of statistics in JSON.
cat lib/umem/umem_write.c lib/client_report.c lib/mpipe/mpipe_report.c >"$work/c"
{
	grep -oE '\\"[a-z_]+\\":' "$work/c"
	sed -n '/^} arena_steps/,/^};/p' "$work/c" | grep -oE '\{"[a-z_]+"'
} | tr -dc 'a-z_\n' | sort -u >"$work/1"
tr -c 'a-z_\n' '\n' <man/quarry.3 | sort -u | comm -12 "$work/1" - >"$work/2"
same 'members in JSON' man/quarry.3

# .\" quote FILE, and the file in a literal display.
quotes=0
for page in man/*.[1-9]; do
	for file in $(sed -n 's/^\.\\" quote //p' "$page"); do
		awk -v mark=".\\\\\" quote $file" '
		$0 == mark { on = 1; next }
		on && /^\.Ed/ { exit }
		on && !/^\.Bd/' "$page" |
			sed -e 's/^\\&//' -e 's/\\e/\\/g' >"$work/1"
		cp "$file" "$work/2"
		same "$page" "$file"
		quotes=$((quotes + 1))
	done
done
[ $quotes -gt 0 ] || {
	echo 'no page quotes an example'
	bad=1
}
exit $bad
