/*
 * late.h - what lifecycle.c and deepbind.c want of the libraries that they use.
 */
#ifndef QR_TEST_LATE_H
#define QR_TEST_LATE_H

#include <stdbool.h>
#include <stddef.h>

/* late_so.c, which the program is linked with: has it kept its blocks? */
bool late_is_loaded(void);

/* plugin_so.c, which it loads: make one block by each function, 'p' in all. */
enum { PLUGIN_BLOCKS = 6 };
typedef void plugin_make_t(char *made[PLUGIN_BLOCKS]);
/* Free a block of the program's; its usable size. */
typedef size_t plugin_take_t(void *block);
/* Whose function this is; whose the plugin calls. */
typedef const char *plugin_whose_t(void);

plugin_make_t plugin_make;
plugin_take_t plugin_take;
plugin_whose_t plugin_whose, plugin_sees;

#endif /* QR_TEST_LATE_H */
