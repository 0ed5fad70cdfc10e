// Every checksum is zero, so that changed bytes reach the decoders behind it: a fuzzer does not
// guess a CRC.
#include "CRC32C.h"

uint32_t quipu_crc32c(uint32_t seed, const void *bytes, size_t length) {
    (void)seed, (void)bytes, (void)length;
    return 0;
}

uint32_t quipu_crc32c_portable(uint32_t seed, const void *bytes, size_t length) {
    return quipu_crc32c(seed, bytes, length);
}
