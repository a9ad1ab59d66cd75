#!/bin/sh
# git holds no file over 64 KiB and no compiled one.
#
#   files.sh <source tree>
set -eu
cd "$1"
git -c safe.directory='*' rev-parse --git-dir >/dev/null 2>&1 || exit 77

git -c safe.directory='*' ls-files | {
	bad=0
	while IFS= read -r file; do
		[ -f "$file" ] || continue
		if [ "$(wc -c <"$file")" -gt 65536 ]; then
			echo "$file: over 64 KiB"
			bad=1
		fi
		# ELF, ar and PE.
		case $(head -c 4 "$file" | od -An -c | tr -d ' ') in
		177ELF | '!<ar' | MZ*)
			echo "$file: compiled"
			bad=1
			;;
		esac
	done
	exit $bad
}
