/* Drop-in name for <quarry/umem.h>. */
#include <quarry/umem.h>
