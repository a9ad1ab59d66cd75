/* Drop-in name for <quarry/id_space.h>. */
#include <quarry/id_space.h>
