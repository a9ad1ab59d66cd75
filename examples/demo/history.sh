#!/bin/sh
# history.sh - import a history into a new repository, pack it, read it.
#
#	history.sh STREAM DIRECTORY
#
# One thread packs, so that the pack is the same every time.
#
# SPDX-License-Identifier: BSD-2-Clause
set -eu
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
stream=$1
directory=$2

git init --quiet --bare --initial-branch=main "$directory"
cd "$directory"
git fast-import --quiet <"$stream"
git -c pack.threads=1 repack -a -d -f --quiet
git fsck --full --strict --no-progress
git log --numstat --format='%H %an %at %s'
git rev-list --objects --all
cat objects/pack/*.pack | cksum
