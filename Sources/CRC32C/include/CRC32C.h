// CRC-32C (Castagnoli), the checksum of frames, log records and table blocks.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Extends `seed` (0 for the first call) by `length` bytes. Uses the processor's instruction where it
// has one, else a table. The result does not depend on which.
uint32_t quipu_crc32c(uint32_t seed, const void *bytes, size_t length);

// The table-driven path alone, for the test that compares both.
uint32_t quipu_crc32c_portable(uint32_t seed, const void *bytes, size_t length);
