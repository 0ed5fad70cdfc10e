// zlib is a library of the system (zlib1g-dev); this header only gives it to Swift as a module.
#ifndef QUIPU_CZLIB_SHIM_H
#define QUIPU_CZLIB_SHIM_H

#include <zlib.h>

#endif
