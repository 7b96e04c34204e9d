/* SHA-256 of every value of an Arrow string column, to 64 hex digits or to the first 16 bytes.

   Reads and writes Arrow buffers directly and releases the GIL. The kernel is chosen once, when the module is imported:
   SHA-NI on x86-64, the SHA-2 instructions of ARMv8, or portable C. FIPS 180-4.

   Nearly all values are short: with its padding such a value is one block. It is read as 64 bytes, and what does not
   belong to it is masked away: a copy of its own length, and the stores of single bytes, took longer than the digest. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_columns.h"

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static const uint32_t START[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};
/* From KEEP + 64 - length on: the bytes of a value of that length. From MARK + 64 - length on: the bit behind it. */
#define EIGHT 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
static const uint8_t KEEP[128] = {EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT};
static const uint8_t MARK[128] = {[64] = 0x80};
static const char DIGITS[16] = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'};
static uint16_t HEX_PAIRS[256];

#define BLOCK_BYTES 64
#define MAX_SHORT_BYTES 55 /* with a bit behind it and eight bytes of length it is one block */

typedef struct {
    const char *name;
    void (*compress)(uint32_t state[8], const uint8_t *data, size_t blocks);
    /* The digest of at most MAX_SHORT_BYTES; BLOCK_BYTES can be read from data on, whatever they are. */
    void (*hash_short)(const uint8_t *data, size_t length, uint8_t digest[32]);
    void (*write_hex)(const uint8_t digest[32], uint8_t out[64]);
} Kernel;

static const Kernel *kernel;

static uint32_t load_be32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void store_be32(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 24), at[1] = (uint8_t)(value >> 16), at[2] = (uint8_t)(value >> 8), at[3] = (uint8_t)value;
}

#define ROTR(x, n) ((x) >> (n) | (x) << (32 - (n)))

static void compress_portable(uint32_t state[8], const uint8_t *data, size_t blocks) {
    for (; blocks; blocks--, data += 64) {
        uint32_t w[64], s[8];
        for (int i = 0; i < 16; i++) w[i] = load_be32(data + 4 * i);
        for (int i = 16; i < 64; i++) {
            uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + w[i - 7] + (ROTR(a, 7) ^ ROTR(a, 18) ^ a >> 3) + (ROTR(b, 17) ^ ROTR(b, 19) ^ b >> 10);
        }
        memcpy(s, state, sizeof s);
        for (int i = 0; i < 64; i++) {
            uint32_t e = s[4], a = s[0];
            uint32_t t1 = s[7] + (ROTR(e, 6) ^ ROTR(e, 11) ^ ROTR(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + K[i] + w[i];
            uint32_t t2 = (ROTR(a, 2) ^ ROTR(a, 13) ^ ROTR(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
            memmove(s + 1, s, 7 * sizeof *s);
            s[4] += t1, s[0] = t1 + t2;
        }
        for (int i = 0; i < 8; i++) state[i] += s[i];
    }
}

static void store_state(const uint32_t state[8], uint8_t digest[32]) {
    for (int i = 0; i < 8; i++) store_be32(digest + 4 * i, state[i]);
}

static void hash_short_portable(const uint8_t *data, size_t length, uint8_t digest[32]) {
    uint8_t block[BLOCK_BYTES];
    uint32_t state[8];
    for (size_t i = 0; i < BLOCK_BYTES; i++) block[i] = (data[i] & KEEP[64 - length + i]) | MARK[64 - length + i];
    block[62] = (uint8_t)(length >> 5), block[63] = (uint8_t)(length << 3);
    memcpy(state, START, sizeof state);
    kernel->compress(state, block, 1);
    store_state(state, digest);
}

static void write_hex_portable(const uint8_t digest[32], uint8_t out[64]) {
    for (int i = 0; i < 32; i++) memcpy(out + 2 * i, &HEX_PAIRS[digest[i]], 2);
}

static const Kernel PORTABLE = {"portable", compress_portable, hash_short_portable, write_hex_portable};

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>
#include <immintrin.h>

#define SHA_NI __attribute__((target("sha,sse4.1,ssse3")))
#define LOAD(from) _mm_loadu_si128((const __m128i *)(from))
#define STORE(to, value) _mm_storeu_si128((__m128i *)(to), value)
/* The bytes of each word turned round. */
#define SWAP _mm_set_epi64x(0x0c0d0e0f08090a0bULL, 0x0405060700010203ULL)

/* The state as the instructions want it: a, b, e, f and c, d, g, h. */
typedef struct {
    __m128i abef, cdgh;
} State;

SHA_NI static inline State load_state(const uint32_t words[8]) {
    __m128i dcba = _mm_shuffle_epi32(LOAD(words), 0xB1), hgfe = _mm_shuffle_epi32(LOAD(words + 4), 0x1B);
    return (State){_mm_alignr_epi8(dcba, hgfe, 8), _mm_blend_epi16(hgfe, dcba, 0xF0)};
}

SHA_NI static inline State compress_block(State state, __m128i m[4]) {
    State before = state;
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        __m128i *now = &m[i & 3];
        if (i >= 4) {
            __m128i last = m[(i + 3) & 3], mixed = _mm_sha256msg1_epu32(*now, m[(i + 1) & 3]);
            mixed = _mm_add_epi32(mixed, _mm_alignr_epi8(last, m[(i + 2) & 3], 4));
            *now = _mm_sha256msg2_epu32(mixed, last);
        }
        __m128i words = _mm_add_epi32(*now, LOAD(K + 4 * i));
        state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, words);
        state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, _mm_shuffle_epi32(words, 0x0E));
    }
    return (State){_mm_add_epi32(state.abef, before.abef), _mm_add_epi32(state.cdgh, before.cdgh)};
}

SHA_NI static inline void order_state(State state, __m128i *dcba, __m128i *hgfe) {
    __m128i feba = _mm_shuffle_epi32(state.abef, 0x1B), dchg = _mm_shuffle_epi32(state.cdgh, 0xB1);
    *dcba = _mm_blend_epi16(feba, dchg, 0xF0), *hgfe = _mm_alignr_epi8(dchg, feba, 8);
}

SHA_NI static void compress_sha_ni(uint32_t words[8], const uint8_t *data, size_t blocks) {
    __m128i m[4], dcba, hgfe;
    State state = load_state(words);
    for (; blocks; blocks--, data += BLOCK_BYTES) {
        for (int i = 0; i < 4; i++) m[i] = _mm_shuffle_epi8(LOAD(data + 16 * i), SWAP);
        state = compress_block(state, m);
    }
    order_state(state, &dcba, &hgfe);
    STORE(words, dcba), STORE(words + 4, hgfe);
}

SHA_NI static void hash_short_sha_ni(const uint8_t *data, size_t length, uint8_t digest[32]) {
    const uint8_t *keep = KEEP + 64 - length, *mark = MARK + 64 - length;
    __m128i m[4], dcba, hgfe;
    for (int i = 0; i < 4; i++) {
        __m128i bytes = _mm_and_si128(LOAD(data + 16 * i), LOAD(keep + 16 * i));
        m[i] = _mm_shuffle_epi8(_mm_or_si128(bytes, LOAD(mark + 16 * i)), SWAP);
    }
    m[3] = _mm_or_si128(m[3], _mm_set_epi32((int)(length << 3), 0, 0, 0));
    order_state(compress_block(load_state(START), m), &dcba, &hgfe);
    STORE(digest, _mm_shuffle_epi8(dcba, SWAP)), STORE(digest + 16, _mm_shuffle_epi8(hgfe, SWAP));
}

SHA_NI static void write_hex_sha_ni(const uint8_t digest[32], uint8_t out[64]) {
    const __m128i digits = LOAD(DIGITS), low_half = _mm_set1_epi8(15);
    for (int i = 0; i < 2; i++, digest += 16, out += 32) {
        __m128i bytes = LOAD(digest), low = _mm_and_si128(bytes, low_half);
        __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), low_half);
        STORE(out, _mm_shuffle_epi8(digits, _mm_unpacklo_epi8(high, low)));
        STORE(out + 16, _mm_shuffle_epi8(digits, _mm_unpackhi_epi8(high, low)));
    }
}

static const Kernel HARDWARE = {"sha-ni", compress_sha_ni, hash_short_sha_ni, write_hex_sha_ni};
#define HAS_HARDWARE has_sha_ni()

static int has_sha_ni(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 9)) || !(c & (1u << 19))) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
}

#elif defined(__aarch64__) && (defined(__linux__) || defined(__APPLE__)) && (defined(__GNUC__) || defined(__clang__))
#include <arm_neon.h>
#ifdef __linux__
#include <sys/auxv.h>
#ifndef HWCAP_SHA2
#define HWCAP_SHA2 (1 << 6)
#endif
#endif
#if defined(__clang__)
__attribute__((target("sha2")))
#else
__attribute__((target("+crypto")))
#endif
static void compress_armv8(uint32_t state[8], const uint8_t *data, size_t blocks) {
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);
    for (; blocks; blocks--, data += 64) {
        uint32x4_t m[4], abcd_before = abcd, efgh_before = efgh;
        for (int i = 0; i < 16; i++) {
            uint32x4_t *now = &m[i & 3];
            if (i < 4)
                *now = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(data + 16 * i)));
            else
                *now = vsha256su1q_u32(vsha256su0q_u32(*now, m[(i + 1) & 3]), m[(i + 2) & 3], m[(i + 3) & 3]);
            uint32x4_t words = vaddq_u32(*now, vld1q_u32(K + 4 * i)), abcd_now = abcd;
            abcd = vsha256hq_u32(abcd, efgh, words);
            efgh = vsha256h2q_u32(efgh, abcd_now, words);
        }
        abcd = vaddq_u32(abcd, abcd_before), efgh = vaddq_u32(efgh, efgh_before);
    }
    vst1q_u32(state, abcd), vst1q_u32(state + 4, efgh);
}

static int has_armv8_sha2(void) {
#ifdef __linux__
    return (getauxval(AT_HWCAP) & HWCAP_SHA2) != 0;
#else
    return 1;
#endif
}

static const Kernel HARDWARE = {"armv8", compress_armv8, hash_short_portable, write_hex_portable};
#define HAS_HARDWARE has_armv8_sha2()
#endif

static void choose(int portable) {
    kernel = &PORTABLE;
#ifdef HAS_HARDWARE
    if (!portable && HAS_HARDWARE) kernel = &HARDWARE;
#endif
}

static void hash_long(const uint8_t *data, size_t length, uint8_t digest[32]) {
    uint32_t state[8];
    uint8_t tail[128];
    size_t whole = length / 64, rest = length % 64, blocks = rest < 56 ? 1 : 2;
    memcpy(state, START, sizeof state);
    if (whole) kernel->compress(state, data, whole);
    memset(tail, 0, 64 * blocks);
    memcpy(tail, data + 64 * whole, rest);
    tail[rest] = 0x80;
    store_be32(tail + 64 * blocks - 8, (uint32_t)(length >> 29));
    store_be32(tail + 64 * blocks - 4, (uint32_t)(length << 3));
    kernel->compress(state, tail, blocks);
    store_state(state, digest);
}

/* The digest of value number ``i`` of the column. */
static void hash_value(const Column *column, Py_ssize_t i, uint8_t digest[32]) {
    const int32_t *offsets = (const int32_t *)column->offsets.buf + column->first + i;
    const uint8_t *data = (const uint8_t *)column->data.buf + offsets[0];
    size_t length = (size_t)(offsets[1] - offsets[0]);
    if (length > MAX_SHORT_BYTES) {
        hash_long(data, length, digest);
    } else if (column->data.len - offsets[0] >= BLOCK_BYTES) {
        kernel->hash_short(data, length, digest);
    } else { /* one of the last of the buffer: behind it nothing may be read */
        uint8_t block[BLOCK_BYTES] = {0};
        memcpy(block, data, length);
        kernel->hash_short(block, length, digest);
    }
}

static PyObject *hash_to_hex(PyObject *self, PyObject *arguments) {
    Column column;
    Py_buffer out_offsets, out;
    if (!PyArg_ParseTuple(arguments, "y*y*y*nnw*w*", &column.offsets, &column.data, &column.validity, &column.first,
                          &column.count, &out_offsets, &out))
        return NULL;
    Py_ssize_t written = 0;
    int good = check_column(&column);
    if (good && (out.len < column.count * 64 || out_offsets.len < (column.count + 1) * (Py_ssize_t)sizeof(int32_t)
                 || column.count > INT32_MAX / 64)) {
        PyErr_SetString(PyExc_ValueError, "an output is too short, or holds more than 2 GiB");
        good = 0;
    }
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        int32_t *ends = out_offsets.buf;
        uint8_t digest[32], *at = out.buf;
        ends[0] = 0;
        for (Py_ssize_t i = 0; i < column.count; i++) {
            if (is_valid(&column, i)) {
                hash_value(&column, i, digest);
                kernel->write_hex(digest, at);
                at += 64;
            }
            ends[i + 1] = (int32_t)(at - (uint8_t *)out.buf);
        }
        written = at - (uint8_t *)out.buf;
        Py_END_ALLOW_THREADS
    }
    release_column(&column), PyBuffer_Release(&out_offsets), PyBuffer_Release(&out);
    return good ? PyLong_FromSsize_t(written) : NULL;
}

static PyObject *hash_to_keys(PyObject *self, PyObject *arguments) {
    Column column;
    Py_buffer out;
    if (!PyArg_ParseTuple(arguments, "y*y*y*nnw*", &column.offsets, &column.data, &column.validity, &column.first,
                          &column.count, &out))
        return NULL;
    int good = check_column(&column);
    if (good && out.len < column.count * 16) {
        PyErr_SetString(PyExc_ValueError, "the output is too short");
        good = 0;
    }
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        uint8_t digest[32], *at = out.buf;
        for (Py_ssize_t i = 0; i < column.count; i++, at += 16) {
            if (is_valid(&column, i))
                hash_value(&column, i, digest);
            else
                memset(digest, 0, 16);
            memcpy(at, digest, 16);
        }
        Py_END_ALLOW_THREADS
    }
    release_column(&column), PyBuffer_Release(&out);
    if (!good) return NULL;
    Py_RETURN_NONE;
}

static PyObject *choose_kernel(PyObject *self, PyObject *arguments) {
    int portable = 0;
    if (!PyArg_ParseTuple(arguments, "|p", &portable)) return NULL;
    choose(portable);
    return PyUnicode_FromString(kernel->name);
}

static PyMethodDef METHODS[] = {
    {"hash_to_hex", hash_to_hex, METH_VARARGS,
     "hash_to_hex(offsets, data, validity, first, count, out_offsets, out) -> bytes written"},
    {"hash_to_keys", hash_to_keys, METH_VARARGS, "hash_to_keys(offsets, data, validity, first, count, out)"},
    {"choose_kernel", choose_kernel, METH_VARARGS,
     "choose_kernel(portable=False) -> name of the kernel that is used from now on"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_sha256", "See offline_capi.runtime.sha256.", -1, METHODS};

PyMODINIT_FUNC PyInit__sha256(void) {
    for (int i = 0; i < 256; i++) {
        char pair[2] = {DIGITS[i >> 4], DIGITS[i & 15]};
        memcpy(&HEX_PAIRS[i], pair, 2);
    }
    choose(0);
    return PyModule_Create(&MODULE);
}
