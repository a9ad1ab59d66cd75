/*
 * os_module.h - what is mapped at an address: of code, the file it comes from,
 * and where in it, so that a tool finds the line of source later.
 */
#ifndef QR_OS_MODULE_H
#define QR_OS_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OS_MODULE_PATH = 512, OS_MODULE_ID = 20 };

struct os_module {
	char om_path[OS_MODULE_PATH]; /* cut off when longer */
	uintptr_t om_offset;          /* of the address, as in the file */
	unsigned om_idlen;            /* bytes of the build-id, or 0 */
	unsigned char om_id[OS_MODULE_ID];
	/* From the file's first byte to behind the mapping of the address. */
	uintptr_t om_start, om_end;
	bool om_unknown; /* not found, for want of /proc/self/maps */
};

/*
 * Find pc in /proc/self/maps.  False when no executable mapping has it, or the
 * file cannot be read.  Takes no lock, and calls neither malloc nor the
 * dynamic linker.
 */
bool os_module_find(uintptr_t pc, struct os_module *om);

/* The same for any address: the mapping that has it, if it can be read. */
bool os_mapping_find(uintptr_t addr, uintptr_t *start, uintptr_t *end);

#endif /* QR_OS_MODULE_H */
