# Compiler flags of the library, its tests, examples and benchmarks.
include(CheckCCompilerFlag)

# NDEBUG has no meaning here, and would disarm assert() in the tests.
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELWITHDEBINFO
	"${CMAKE_C_FLAGS_RELWITHDEBINFO}")

add_library(quarry_flags INTERFACE)

target_compile_options(quarry_flags INTERFACE
	-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
	-Wpointer-arith -Wcast-qual -Wvla
	# Stack traces are taken by walking frame pointers.
	-fno-omit-frame-pointer
	-fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)

if(QUARRY_SANITIZE)
	target_compile_options(quarry_flags INTERFACE
		-fsanitize=${QUARRY_SANITIZE} -fno-sanitize-recover=all)
	target_link_options(quarry_flags INTERFACE
		-fsanitize=${QUARRY_SANITIZE})
endif()

# A branch that touches a 32-byte boundary is slow on some x86-64 processors,
# which costs more than a magazine pop.  gcc hands the flag to the assembler.
foreach(flag
	-mbranches-within-32B-boundaries
	-Wa,-mbranches-within-32B-boundaries)
	string(MAKE_C_IDENTIFIER "QUARRY_HAVE${flag}" have)
	check_c_compiler_flag(${flag} ${have})
	if(${have})
		set(QUARRY_BRANCH_FLAG ${flag})
		break()
	endif()
endforeach()
