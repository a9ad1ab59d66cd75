/* Drop-in name for <quarry/vmem.h>. */
#include <quarry/vmem.h>
