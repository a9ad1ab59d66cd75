# No include in lib/ reaches up a floor.
#
#   cmake -DROOT=<source tree> -P CheckLayers.cmake
#
# Floors, lowest first; an include names a file of its own floor or of a lower
# one.  The clients are the rooms from mtype to mpipe and the files of lib/
# itself: they stand on public headers, locks and formatting, and see neither
# caches nor arenas from inside.
cmake_minimum_required(VERSION 3.25)

set(clients mtype contig kmalloc mpipe files)
set(floors base os meta vmem umem ${clients} malloc)
set(closed_to_clients meta vmem umem)

# Where what a public header declares is defined.
set(floor_of_quarry/vmem.h vmem)
set(floor_of_quarry/id_space.h vmem)
set(floor_of_quarry/umem.h umem)
set(floor_of_quarry/quarry.h vmem)
set(floor_of_quarry/malloc_type.h mtype)
set(floor_of_quarry/physpool.h contig)
set(floor_of_quarry/contigmalloc.h contig)
set(floor_of_quarry/mpipe.h mpipe)

# floor_of_include(<result> <text between include and the end of the name>)
function(floor_of_include result name)
	set(floor base)
	if(name MATCHES "^<(quarry/.*)$")
		set(floor ${floor_of_${CMAKE_MATCH_1}})
	elseif(name MATCHES "^\"([a-z]+)/[^/]*$")
		set(floor ${CMAKE_MATCH_1})
	elseif(name MATCHES "^\"")
		set(floor files)
	endif()
	set(${result} ${floor} PARENT_SCOPE)
endfunction()

set(seen 0)
file(GLOB_RECURSE files RELATIVE ${ROOT}/lib ${ROOT}/lib/*.c ${ROOT}/lib/*.h)
foreach(file ${files})
	set(floor files)
	if(file MATCHES "^([^/]+)/")
		set(floor ${CMAKE_MATCH_1})
	endif()
	list(FIND floors ${floor} rank)
	if(rank EQUAL -1)
		message(SEND_ERROR "lib/${file}: ${floor} is not a floor")
	endif()

	file(STRINGS ${ROOT}/lib/${file} lines
		REGEX "^[ \t]*#[ \t]*include[ \t]*[<\"]")
	foreach(line ${lines})
		string(REGEX MATCH "[<\"][^>\"]*" name "${line}")
		floor_of_include(target "${name}")
		list(FIND floors ${target} target_rank)
		math(EXPR seen "${seen} + 1")
		if(target_rank EQUAL -1 OR target_rank GREATER rank)
			message(SEND_ERROR
				"lib/${file} (${floor}) includes ${name}, floor ${target}")
		elseif(floor IN_LIST clients AND name MATCHES "^\"" AND
			target IN_LIST closed_to_clients)
			message(SEND_ERROR "lib/${file} includes ${name}, a private header")
		endif()
	endforeach()
endforeach()

if(seen EQUAL 0)
	message(SEND_ERROR "${ROOT}/lib: no include found")
endif()
