// How the scheduler treats the calling thread. glibc has a name for the call from 2.41 on only, and
// Swift cannot call the variadic syscall(2). Elsewhere than on Linux nothing happens.
#pragma once
#include <stdint.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

// sched_setattr(2), version 0 of its structure.
struct quipu_sched_attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

// Gives the thread a niceness and asks for turns of so many nanoseconds. -1 where it is refused.
static inline int quipu_set_turn(int nice, uint64_t nanoseconds) {
    struct quipu_sched_attr attr = {
        .size = sizeof(struct quipu_sched_attr), .nice = nice, .runtime = nanoseconds};
    return (int)syscall(SYS_sched_setattr, 0, &attr, 0);
}
#else
static inline int quipu_set_turn(int nice, uint64_t nanoseconds) {
    (void)nice;
    (void)nanoseconds;
    return 0;
}
#endif

// Whether the thread was told before; threads of a pool that others make are told when they are met.
static inline int quipu_is_first_meeting(void) {
    static __thread int is_known;
    return is_known ? 0 : (is_known = 1);
}
