/* SHA-256 of every value of an Arrow string column, to 64 hex digits or to the first 16 bytes.

   Reads and writes Arrow buffers directly and releases the GIL. The compression function is chosen once, when the module
   is imported: SHA-NI on x86-64, the SHA-2 instructions of ARMv8, or portable C. FIPS 180-4. */

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
static uint16_t HEX_PAIRS[256];

typedef void (*compress_fn)(uint32_t state[8], const uint8_t *data, size_t blocks);

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

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>
#include <immintrin.h>

__attribute__((target("sha,sse4.1,ssse3")))
static void compress_sha_ni(uint32_t state[8], const uint8_t *data, size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bULL, 0x0405060700010203ULL);
    __m128i dcba = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xB1);
    __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(dcba, hgfe, 8), cdgh = _mm_blend_epi16(hgfe, dcba, 0xF0);
    for (; blocks; blocks--, data += 64) {
        __m128i m[4], abef_before = abef, cdgh_before = cdgh;
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i *now = &m[i & 3];
            if (i < 4) {
                *now = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * i)), swap);
            } else {
                __m128i last = m[(i + 3) & 3];
                __m128i mixed = _mm_sha256msg1_epu32(*now, m[(i + 1) & 3]);
                mixed = _mm_add_epi32(mixed, _mm_alignr_epi8(last, m[(i + 2) & 3], 4));
                *now = _mm_sha256msg2_epu32(mixed, last);
            }
            __m128i words = _mm_add_epi32(*now, _mm_loadu_si128((const __m128i *)(K + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, words);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(words, 0x0E));
        }
        abef = _mm_add_epi32(abef, abef_before), cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static int has_sha_ni(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 9)) || !(c & (1u << 19))) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1u << 29));
}
#define HARDWARE "sha-ni"
#define has_hardware has_sha_ni
#define compress_hardware compress_sha_ni

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
#define HARDWARE "armv8"
#define has_hardware has_armv8_sha2
#define compress_hardware compress_armv8
#endif

static compress_fn compress = compress_portable;
static const char *kernel = "portable";

static void hash_value(const uint8_t *data, size_t length, uint8_t digest[32]) {
    uint32_t state[8];
    uint8_t tail[128];
    size_t whole = length / 64, rest = length % 64, blocks = rest < 56 ? 1 : 2;
    memcpy(state, START, sizeof state);
    if (whole) compress(state, data, whole);
    memset(tail, 0, 64 * blocks);
    memcpy(tail, data + 64 * whole, rest);
    tail[rest] = 0x80;
    store_be32(tail + 64 * blocks - 8, (uint32_t)(length >> 29));
    store_be32(tail + 64 * blocks - 4, (uint32_t)(length << 3));
    compress(state, tail, blocks);
    for (int i = 0; i < 8; i++) store_be32(digest + 4 * i, state[i]);
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
        const int32_t *offsets = (const int32_t *)column.offsets.buf + column.first;
        int32_t *ends = out_offsets.buf;
        uint8_t digest[32], *at = out.buf;
        ends[0] = 0;
        for (Py_ssize_t i = 0; i < column.count; i++) {
            if (is_valid(&column, i)) {
                hash_value((const uint8_t *)column.data.buf + offsets[i], (size_t)(offsets[i + 1] - offsets[i]), digest);
                for (int j = 0; j < 32; j++) memcpy(at + 2 * j, &HEX_PAIRS[digest[j]], 2);
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
        const int32_t *offsets = (const int32_t *)column.offsets.buf + column.first;
        uint8_t digest[32], *at = out.buf;
        for (Py_ssize_t i = 0; i < column.count; i++, at += 16) {
            if (is_valid(&column, i))
                hash_value((const uint8_t *)column.data.buf + offsets[i], (size_t)(offsets[i + 1] - offsets[i]), digest);
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
    compress = compress_portable, kernel = "portable";
#ifdef HARDWARE
    if (!portable && has_hardware()) compress = compress_hardware, kernel = HARDWARE;
#endif
    return PyUnicode_FromString(kernel);
}

static PyMethodDef METHODS[] = {
    {"hash_to_hex", hash_to_hex, METH_VARARGS,
     "hash_to_hex(offsets, data, validity, first, count, out_offsets, out) -> bytes written"},
    {"hash_to_keys", hash_to_keys, METH_VARARGS, "hash_to_keys(offsets, data, validity, first, count, out)"},
    {"choose_kernel", choose_kernel, METH_VARARGS,
     "choose_kernel(portable=False) -> name of the compression function that is used from now on"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_sha256", "See offline_capi.runtime.sha256.", -1, METHODS};

PyMODINIT_FUNC PyInit__sha256(void) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 256; i++) {
        char pair[2] = {digits[i >> 4], digits[i & 15]};
        memcpy(&HEX_PAIRS[i], pair, 2);
    }
    PyObject *module = PyModule_Create(&MODULE);
#ifdef HARDWARE
    if (module && has_hardware()) compress = compress_hardware, kernel = HARDWARE;
#endif
    return module;
}
