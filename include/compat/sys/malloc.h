/* Drop-in name for <quarry/malloc_type.h> and <quarry/contigmalloc.h>. */
#include <quarry/contigmalloc.h>
#include <quarry/malloc_type.h>
