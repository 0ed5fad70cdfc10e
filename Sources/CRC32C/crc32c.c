#include "CRC32C.h"
#include <pthread.h>
#include <string.h>

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void build_table(void) {
    for (uint32_t index = 0; index < 256; index++) {
        uint32_t value = index;
        for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0x82f63b78u : value >> 1;
        table[0][index] = value;
    }
    for (uint32_t index = 0; index < 256; index++)
        for (int slice = 1; slice < 8; slice++)
            table[slice][index] =
                table[slice - 1][index] >> 8 ^ table[0][table[slice - 1][index] & 255];
}

uint32_t quipu_crc32c_portable(uint32_t seed, const void *bytes, size_t length) {
    pthread_once(&table_once, build_table);
    const uint8_t *cursor = bytes;
    uint32_t crc = ~seed;
    while (length >= 8) {
        uint32_t low = crc ^ ((uint32_t)cursor[0] | (uint32_t)cursor[1] << 8 |
                              (uint32_t)cursor[2] << 16 | (uint32_t)cursor[3] << 24);
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^
              table[4][low >> 24] ^ table[3][cursor[4]] ^ table[2][cursor[5]] ^
              table[1][cursor[6]] ^ table[0][cursor[7]];
        cursor += 8;
        length -= 8;
    }
    while (length--) crc = crc >> 8 ^ table[0][(crc ^ *cursor++) & 255];
    return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t hardware(uint32_t seed, const uint8_t *cursor,
                                                           size_t length) {
    uint64_t crc = ~seed;
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, cursor, 8);
        crc = _mm_crc32_u64(crc, word);
        cursor += 8;
        length -= 8;
    }
    while (length--) crc = _mm_crc32_u8((uint32_t)crc, *cursor++);
    return ~(uint32_t)crc;
}

uint32_t quipu_crc32c(uint32_t seed, const void *bytes, size_t length) {
    if (__builtin_cpu_supports("sse4.2")) return hardware(seed, bytes, length);
    return quipu_crc32c_portable(seed, bytes, length);
}
#else
uint32_t quipu_crc32c(uint32_t seed, const void *bytes, size_t length) {
    return quipu_crc32c_portable(seed, bytes, length);
}
#endif
