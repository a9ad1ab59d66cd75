#!/bin/bash
# tar, gzip, bzip2, xz and rsync: back and forth
# needs bzip2=bzip2 xz-utils=xz rsync=rsync
set -e
mkdir from
cp "$INPUTS/lines" from
cp -r "$QUARRY_SOURCE/lib" from
tar --sort=name --mtime=@0 -cf plain.tar from
for by in 'gzip -n' 'bzip2 -9' 'xz -T4 --block-size=512KiB -2'; do
	$by <plain.tar >packed
	echo "$by $(cksum <packed)"
	${by%% *} -d <packed | cmp - plain.tar
	tar -t --"${by%% *}" -f packed | cksum
done

rsync -a --exclude='*log*' from/ to
sed -i s/word1/WORD/ from/lines
find from -name 'i*' -type f -delete
# What it would do, what it does, and nothing to do.
rsync -rlc --delete -n --itemize-changes from/ to | sort | cksum
rsync -rlc --delete --no-whole-file --compress from/ to
rsync -rlc --delete -n --itemize-changes from/ to
diff -r from to
