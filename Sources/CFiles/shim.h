// Room on a disk before it is written. glibc shows fallocate(2) to GNU sources only, and Swift cannot
// call the variadic syscall(2). Elsewhere than on Linux nothing happens.
#pragma once
#include <stdint.h>

#if defined(__linux__)
#include <linux/falloc.h>
#include <sys/syscall.h>
#include <unistd.h>

// Blocks up to this byte; the file's length stays. -1 where it is refused.
static inline int quipu_reserve(int descriptor, int64_t size) {
    return (int)syscall(SYS_fallocate, descriptor, FALLOC_FL_KEEP_SIZE, (int64_t)0, size);
}
#else
static inline int quipu_reserve(int descriptor, int64_t size) {
    (void)descriptor;
    (void)size;
    return 0;
}
#endif
