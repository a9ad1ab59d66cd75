#!/usr/bin/env bash
# aarch64.sh - the tests on an aarch64 machine that is emulated.
set -euo pipefail

usage='aarch64.sh [options] - build for aarch64, start a machine with the kernel
and the C library of this Debian release in an emulator, and run the tests that
are programs of C there, also under the preload, once with restartable sequences
and once without.  That takes an hour or two: an emulated instruction takes as
long as twenty.
  --only PATTERN   tests whose name matches, as the shell has it (*)
  --cpus N         of the machine (2)
  --memory SIZE    of the machine (6G)
  --limit SECONDS  for each test (1800)
Exit status: 0, 1 when a test failed, 2 when none can run.'
. "$(dirname "$0")/../bench/lib.sh"

only='*'
cpus=2
memory=6G
limit=1800
take_options --only= --cpus= --memory= --limit= -- "$@"

start_work
need_toolchain
need gcc-aarch64-linux-gnu=aarch64-linux-gnu-gcc \
	g++-aarch64-linux-gnu=aarch64-linux-gnu-g++ \
	libc6-dev-arm64-cross=/usr/aarch64-linux-gnu/include/stdlib.h \
	qemu-system-arm=qemu-system-aarch64 \
	cpio=cpio pkg-config=pkg-config python3=python3

# ---- packages of that machine, unpacked where nothing else is ----

sysroot=$work/sysroot
apt=(-qq -o "Dir::State=$work/apt" -o "Dir::Cache=$work/apt"
	-o Dir::State::status=/dev/null -o Debug::NoLocking=1
	-o APT::Sandbox::User=root
	-o APT::Architecture=arm64 -o APT::Architectures::=arm64)
mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/packages" "$sysroot"
say 'fetching packages for arm64'
(
	cd "$work/packages" &&
		apt-get "${apt[@]}" update &&
		kernel=$(apt-cache "${apt[@]}" depends linux-image-arm64 |
			sed -n 's/^ *Depends: //p') &&
		apt-get "${apt[@]}" download "$kernel" busybox-static libc6 \
			libgcc-s1 libcmocka0 libcmocka-dev &&
		for package in *.deb; do
			dpkg -x "$package" "$sysroot" || exit
		done
) >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2 && die 'no packages for arm64'; }
kernel=("$sysroot"/boot/vmlinuz-*)

# ---- the build ----

build=$root/build/aarch64
say "building in ${build#"$root"/}"
(
	cd "$root"
	export QUARRY_SYSROOT=$sysroot
	cmake --fresh --preset aarch64 && cmake --build --preset aarch64
) >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2 && die 'the build failed'; }

# ---- the machine: all it has is in memory ----

machine=$work/machine
mkdir -p "$machine"/{bin,dev,proc,sys,tmp} "$machine/lib/aarch64-linux-gnu"
busybox=("$sysroot"/bin/busybox "$sysroot"/usr/bin/busybox)
cp "$(ls "${busybox[@]}" 2>/dev/null)" "$machine/bin/"
cp -L "$sysroot"/lib/ld-linux-aarch64.so.1 "$machine/lib/"
cp -L "$sysroot"/lib/aarch64-linux-gnu/*.so.[0-9]* \
	"$sysroot"/usr/lib/aarch64-linux-gnu/libcmocka.so.[0-9] \
	"$machine/lib/aarch64-linux-gnu/"
cat >"$machine/init" <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir /dev/shm
mount -t tmpfs shm /dev/shm
echo 0 >/proc/sys/kernel/printk
export QR_TEST_QUICK=1
passed=0 failed=0 skipped=0
# run NAME [VARIABLE=VALUE...] COMMAND...
run()
{
	name=$1
	shift
	timeout "$limit" env "$@" >/tmp/out 2>&1
	case $? in
	0) passed=$((passed + 1)) && echo "passed $name" ;;
	77) skipped=$((skipped + 1)) && echo "skipped $name" ;;
	*)
		failed=$((failed + 1)) && echo "FAILED $name"
		grep -v '^\[ *\(OK\|RUN\) ' /tmp/out | tail -n 40
		;;
	esac
}
. /tests
echo "$passed passed, $failed failed, $skipped skipped"
poweroff -f
END
chmod +x "$machine/init"
ctest --test-dir "$build" --show-only=json-v1 |
	python3 -c '
import fnmatch, json, os, shlex, shutil, sys

build, machine, only, limit = sys.argv[1:]
print("limit=" + limit)


def run(name, variables, command):
    if fnmatch.fnmatch(name, only) and command[0].startswith(build):
        os.makedirs(machine + os.path.dirname(command[0]), exist_ok=True)
        shutil.copy(command[0], machine + command[0])
        print(shlex.join(["run", name] + variables + command))


for test in json.load(sys.stdin)["tests"]:
    name = test["name"]
    if name.split("/")[0] in ("unit", "model", "oom", "stress", "misuse", "example"):
        run(name, [v for p in test["properties"] if p["name"] == "ENVIRONMENT"
                   for v in p["value"]], test.get("command", [""]))
for name in "sizes realloc pairs info threads early fork turnover".split():
    for form, tunables in ("", ""), ("_norseq", "glibc.pthread.rseq=0"):
        run("preload/" + name + form,
            ["LD_PRELOAD=" + build + "/libquarry_malloc.so.1",
             "GLIBC_TUNABLES=" + tunables], [build + "/tests/preload/" + name])
' "$build" "$machine" "$only" "$limit" >"$machine/tests"
grep -q '^run ' "$machine/tests" || die "no test matches $only"
find "$machine$build" -type f -exec aarch64-linux-gnu-strip -g {} +
mkdir -p "$machine$build"
cp -L "$build"/libquarry.so.1 "$build"/libquarry_malloc.so.1 "$machine$build/"
(cd "$machine" && find . | cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initrd"

say "starting it: $(grep -c '^run ' "$machine/tests") tests"
qemu-system-aarch64 -M virt -cpu max -accel tcg,thread=multi \
	-smp "$cpus" -m "$memory" -nographic -no-reboot -net none \
	-kernel "${kernel[0]}" -initrd "$work/initrd" \
	-append 'console=ttyAMA0 quiet panic=-1' </dev/null |
	sed -u 's/\r$//' | tee "$work/out"
grep -q '^[0-9]* passed, 0 failed' "$work/out"
