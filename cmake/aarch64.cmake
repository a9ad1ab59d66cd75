# For aarch64 on another machine, with Debian's cross compiler.  Programs built so
# find the libraries of that machine under QUARRY_SYSROOT, if that is set.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_OBJCOPY aarch64-linux-gnu-objcopy)
set(ENV{PKG_CONFIG_SYSROOT_DIR} "$ENV{QUARRY_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR}
	"$ENV{QUARRY_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig")
