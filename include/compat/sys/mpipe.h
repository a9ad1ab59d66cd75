/* Drop-in name for <quarry/mpipe.h>. */
#include <quarry/mpipe.h>
