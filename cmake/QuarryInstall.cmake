# What `cmake --install` puts where.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/quarry)
set(compat_dir ${CMAKE_INSTALL_INCLUDEDIR}/quarry-compat)

# <umem.h>, <sys/vmem.h> and the other names that ported code includes.
add_library(quarry_compat INTERFACE)
target_link_libraries(quarry_compat INTERFACE quarry)
target_include_directories(quarry_compat INTERFACE
	$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include/compat>
	$<INSTALL_INTERFACE:${compat_dir}>)

set_target_properties(quarry_compat PROPERTIES EXPORT_NAME compat)
set_target_properties(quarry_malloc PROPERTIES EXPORT_NAME malloc)
set_target_properties(quarry_malloc_static PROPERTIES EXPORT_NAME malloc_static)

install(TARGETS
	quarry quarry_static quarry_malloc quarry_malloc_static quarry_compat
	EXPORT quarryTargets)

# The installed names, for a project that contains this one.
add_library(quarry::quarry ALIAS quarry)
add_library(quarry::compat ALIAS quarry_compat)
add_library(quarry::malloc ALIAS quarry_malloc)
add_library(quarry::quarry_static ALIAS quarry_static)
add_library(quarry::malloc_static ALIAS quarry_malloc_static)

install(DIRECTORY include/quarry DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY include/compat/ DESTINATION ${compat_dir})
install(EXPORT quarryTargets
	NAMESPACE quarry::
	DESTINATION ${package_dir})

configure_package_config_file(cmake/quarryConfig.cmake.in quarryConfig.cmake
	INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(quarryConfigVersion.cmake
	COMPATIBILITY SameMajorVersion)
install(FILES
	${PROJECT_BINARY_DIR}/quarryConfig.cmake
	${PROJECT_BINARY_DIR}/quarryConfigVersion.cmake
	DESTINATION ${package_dir})

# The .pc files find their prefix from where they lie, so that an installed
# tree can be moved.
file(RELATIVE_PATH pc_prefix
	${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" pc_prefix ${pc_prefix})
foreach(name quarry quarry-compat quarry-malloc)
	configure_file(cmake/${name}.pc.in ${name}.pc @ONLY)
	install(FILES ${PROJECT_BINARY_DIR}/${name}.pc
		DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

foreach(section 1 3 7)
	file(GLOB pages CONFIGURE_DEPENDS man/*.${section})
	install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
endforeach()

# Each function that a page names leads to it.
file(GLOB pages CONFIGURE_DEPENDS man/*.3)
foreach(page ${pages})
	cmake_path(GET page FILENAME file)
	cmake_path(GET page STEM subject)
	file(STRINGS ${page} names REGEX "^\\.Nm [a-z_]")
	foreach(name ${names})
		string(REGEX REPLACE "^\\.Nm ([a-z0-9_]+).*" "\\1" name ${name})
		if(NOT name STREQUAL subject)
			file(CONFIGURE OUTPUT man/${name}.3
				CONTENT ".so man3/${file}\n")
			install(FILES ${PROJECT_BINARY_DIR}/man/${name}.3
				DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
		endif()
	endforeach()
endforeach()
