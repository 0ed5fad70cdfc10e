// Only glibc has it; elsewhere the module is empty.
#if __has_include(<malloc.h>)
#include <malloc.h>
#endif
