#!/bin/bash
# Real programs print the same, preloaded or not.
set -u

bad=0
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cd "$out" || exit 1
export LC_ALL=C
python=$(python3 -c 'import sys; print(sys.executable)')

fail() {
	echo "$*"
	bad=1
}

# same <name> <command for the shell>: its output, errors and status are the
# same with the preload, which is in all that it runs too.
same() {
	local name=$1 plain with
	shift

	rm -rf work
	mkdir work
	(cd work && sh -c "$*") >plain.out 2>plain.err
	plain=$?
	rm -rf work
	mkdir work
	(cd work && LD_PRELOAD=$QUARRY_PRELOAD sh -c "$*") >with.out 2>with.err
	with=$?
	[ $plain -eq 0 ] || fail "$name: exit status $plain without the preload"
	[ $with -eq $plain ] || fail "$name: exit status $with"
	cmp plain.out with.out || fail "$name: another output"
	cmp plain.err with.err || {
		fail "$name: other errors"
		head -n 5 with.err
	}
}

awk 'BEGIN {
	s = 42
	for (i = 0; i < 60000; i++) {
		s = (s * 1103515245 + 12345) % 2147483648
		printf "%d word%d line %d\n", s, s % 5000, i
	}
}' >lines
export LINES_FILE=$out/lines
cat >hello.c <<'END'
#include <stdio.h>
int
main(void)
{
	printf("hello\n");
	return (0);
}
END
export HELLO=$out/hello.c
export PYTHON=$python

# shellcheck disable=SC2016
{
same ls 'ls -lR /usr/include | sort | cksum'
same sort 'sort -n $LINES_FILE | cksum; sort -k2,2 -S 1M -T . $LINES_FILE | cksum'
same awk 'awk "{ n[\$2] += \$1 } END { for (w in n) print w, n[w] }" $LINES_FILE | sort | cksum'
same sed 'sed -n "s/\\(.*\\) \\(word[0-9]*\\) .*/\\2 \\1/p" $LINES_FILE | tail -n 5'
same grep 'grep -E "(word|line) ?1[0-9]+7" $LINES_FILE | cksum; grep -c word12 $LINES_FILE'
same find 'find /usr/share/doc /usr/lib/python3* -name "*e*" -type f | sort | cksum'
same perl 'perl -ne '\''
	@f = split; push @{$h{$f[1]}}, $f[0];
	END { print "$_ @{[sort @{$h{$_}}]}\n" for (sort keys %h)[0 .. 20] }
'\'' $LINES_FILE'
same python 'PYTHONHASHSEED=1 $PYTHON -c "
import json, re, sys
rows = [re.split(r\" \", line.rstrip()) for line in open(sys.argv[1])]
text = json.dumps({r[2] + r[3]: r for r in rows}, indent=1, sort_keys=True)
back = json.loads(text)
print(len(text), len(back), sum(int(r[0]) for r in back.values()))
" $LINES_FILE'
same python-threads '$PYTHON -c "
import concurrent.futures as f
def work(n):
    return sum(len(str(i) * (i % 50)) for i in range(n))
with f.ThreadPoolExecutor(8) as pool:
    print(list(pool.map(work, range(1000, 9000, 500))))
"'
same python-multiprocessing '$PYTHON -c "
import multiprocessing as m
def work(n):
    return sum(len(str(i)) for i in range(n))
if __name__ == \"__main__\":
    with m.get_context(\"fork\").Pool(4) as pool:
        print(pool.map(work, range(0, 40000, 1000)))
"'
same tar 'mkdir t && cp $LINES_FILE $HELLO t && tar cf - t | gzip -n | tee a.gz |
	gunzip | tar tf - && gunzip <a.gz | tar xOf - t/lines | cksum'
same sort-threads 'cat $LINES_FILE $LINES_FILE $LINES_FILE >big && sort --parallel=4 -S 64M big | cksum'
same gcc 'cp $HELLO . && gcc -O2 -Wall -o hello hello.c && ./hello &&
	gcc -O2 -S -o - hello.c | cksum'
same gcc-quarry 'for f in $QUARRY_SOURCE/lib/vmem/vmem_[acfs]*.c; do
	gcc -O2 -I$QUARRY_SOURCE/lib -I$QUARRY_SOURCE/include -S -o - $f || exit 1
done | cksum'
if command -v clang >/dev/null; then
same clang-quarry 'for f in $QUARRY_SOURCE/lib/vmem/vmem_[acfs]*.c; do
	clang -O2 -I$QUARRY_SOURCE/lib -I$QUARRY_SOURCE/include -S -o - $f || exit 1
done | cksum'
fi
same bash 'bash -c "
declare -A n
for ((i = 0; i < 5000; i++)); do n[\$((i % 97))]+=x\$i; done
for k in \${!n[@]}; do echo \$k \${#n[\$k]}; done | sort -n | tail -n 3
f() { local a=(\$(seq 1 2000)); echo \${#a[@]} \${a[1999]}; }
f; (f); x=\$(f | tr 0-9 a-j); echo \$x
"'
same git 'export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
	export GIT_AUTHOR_DATE="1700000000 +0000" GIT_COMMITTER_DATE="1700000000 +0000"
	git init -q -b main . && git config user.name a && git config user.email b
	split -l 500 $LINES_FILE part. && git add . && git commit -qm one
	sed -i s/word1/WORD/ part.a[a-f] && git status --short &&
	git diff | cksum && git commit -qam two && git log --stat | cksum &&
	git gc -q && git fsck && git rev-parse HEAD'
same dynamic-loading 'ldd /bin/ls | cut -d" " -f1 | grep -c libc.so; getent passwd root; locale -a | head -n 1'
}
exit $bad
