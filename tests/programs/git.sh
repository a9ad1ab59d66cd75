#!/bin/bash
# git: commits, packs by threads, fsck
# needs git=git
set -e
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
git init -q -b main .
git config user.name a
git config user.email b
split -l 500 "$INPUTS/lines" part.
git add .
git commit -qm one
sed -i s/word1/WORD/ part.a[a-f]
git status --short
git diff | cksum
git commit -qam two
git log --stat | cksum
git -c pack.threads=4 gc -q
git fsck
git grep --threads 4 -c WORD7
git blame -s part.aa | cksum
git clone -q --no-local . ../run/clone
git -C clone rev-parse HEAD
