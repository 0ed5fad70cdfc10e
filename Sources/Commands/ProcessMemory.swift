#if canImport(Glibc)
    import CMalloc
#endif

/// How the process's allocator deals with what is freed.
enum ProcessMemory {
    /// For processes through which bodies of a few hundred kilobytes go all the time.
    ///
    /// glibc gives memory of that size back to the kernel when it is freed, and asks for it again
    /// with the next body, page by page, each of which the kernel clears first. With these bounds
    /// it keeps it. They stay below those to which glibc itself goes once a buffer of a few
    /// megabytes was freed (32 and 64 MiB), so that the peak is none of their making; and unlike
    /// its own they do not grow.
    static func keepFreedBuffers() {
        #if canImport(Glibc)
            // A size that the allocator does not take leaves it as it was.
            _ = mallopt(M_MMAP_THRESHOLD, 8 << 20)
            _ = mallopt(M_TRIM_THRESHOLD, 32 << 20)
        #endif
    }
}
