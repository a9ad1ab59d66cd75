/*
 * os_module.h - from an address of code to the file it comes from, and back to
 * a line of source by a tool that runs later.
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
	uintptr_t om_start, om_end;   /* the mapping that has it */
	unsigned om_idlen;            /* bytes of the build-id, or 0 */
	unsigned char om_id[OS_MODULE_ID];
};

/*
 * Find pc in /proc/self/maps.  False when no executable mapping has it, or the
 * file cannot be read.  Takes no lock, and calls neither malloc nor the
 * dynamic linker.
 */
bool os_module_find(uintptr_t pc, struct os_module *om);

#endif /* QR_OS_MODULE_H */
