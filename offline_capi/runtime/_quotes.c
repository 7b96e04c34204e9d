/* How the quotes of a CSV stand, and which of its lines end inside a quoted value. See offline_capi.sources.files.quotes.

   Sixty-four bytes at a time, a bit for each. Reads and writes the caller's buffers directly and releases the GIL. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#define BLOCK 64

/* Where each of these bytes stands among 64, that of the first byte lowest. */
typedef struct {
    uint64_t quotes, delimiters, feeds, returns;
} Masks;

#if defined(__x86_64__)
static uint64_t find_byte(const __m128i bytes[4], uint8_t sought) {
    const __m128i pattern = _mm_set1_epi8((char)sought);
    uint64_t found = 0;
    for (int i = 0; i < 4; i++)
        found |= (uint64_t)(uint16_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes[i], pattern)) << 16 * i;
    return found;
}

static Masks find_marks(const uint8_t *at, uint8_t delimiter) {
    __m128i bytes[4];
    for (int i = 0; i < 4; i++) bytes[i] = _mm_loadu_si128((const __m128i *)(at + 16 * i));
    return (Masks){find_byte(bytes, '"'), find_byte(bytes, delimiter), find_byte(bytes, '\n'), find_byte(bytes, '\r')};
}
#else
static Masks find_marks(const uint8_t *at, uint8_t delimiter) {
    Masks masks = {0, 0, 0, 0};
    for (int i = 0; i < BLOCK; i++) {
        masks.quotes |= (uint64_t)(at[i] == '"') << i, masks.delimiters |= (uint64_t)(at[i] == delimiter) << i;
        masks.feeds |= (uint64_t)(at[i] == '\n') << i, masks.returns |= (uint64_t)(at[i] == '\r') << i;
    }
    return masks;
}
#endif

static int count_trailing_zeros(uint64_t word) {
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_ctzll(word);
#else
    int count = 0;
    for (; !(word & 1); word >>= 1) count++;
    return count;
#endif
}

/* Of each bit whether the bits up to it are odd. */
static uint64_t fill_between(uint64_t bits) {
    for (int width = 1; width < BLOCK; width <<= 1) bits ^= bits << width;
    return bits;
}

typedef struct {
    Py_ssize_t feeds, inside; /* line feeds, and those of them inside a value */
    int is_standard, is_open, has_lone_return;
} Found;

/* Of the line feeds ``room`` are written down at most, and all are counted. */
static Found scan_block(const uint8_t *data, Py_ssize_t size, uint8_t delimiter, int32_t *ends, uint8_t *is_inside,
                        Py_ssize_t room) {
    Found found = {0, 0, 1, 0, 0};
    uint64_t was_open = 0, was_allowed = 1; /* the beginning counts as a separator */
    uint64_t is_pending = 0, was_return = 0; /* a closing quote and a carriage return as the last byte before */
    for (Py_ssize_t start = 0; start <= size; start += BLOCK) {
        uint8_t last[BLOCK] = {0};
        Py_ssize_t left = size - start;
        if (left < BLOCK) memcpy(last, data + start, (size_t)left);
        Masks masks = find_marks(left < BLOCK ? last : data + start, delimiter);
        if (left < BLOCK && !delimiter) masks.delimiters &= ((uint64_t)1 << left) - 1;
        uint64_t inside = fill_between(masks.quotes) ^ was_open;
        uint64_t allowed = masks.delimiters | masks.feeds | masks.returns | masks.quotes;
        if (left < BLOCK) allowed |= (uint64_t)1 << left; /* and so does the end */
        uint64_t opening = masks.quotes & inside, closing = masks.quotes & ~inside;
        if (opening & ~(allowed << 1 | was_allowed) || (closing & ~(allowed >> 1) & ~((uint64_t)1 << 63)) || (is_pending & ~allowed & 1))
            found.is_standard = 0;
        if ((masks.returns & ~(masks.feeds >> 1) & ~((uint64_t)1 << 63)) || (was_return & ~masks.feeds & 1)) found.has_lone_return = 1;
        for (uint64_t feeds = masks.feeds; feeds; feeds &= feeds - 1) {
            int at = count_trailing_zeros(feeds);
            if (found.feeds < room) ends[found.feeds] = (int32_t)(start + at), is_inside[found.feeds] = inside >> at & 1;
            found.inside += inside >> at & 1, found.feeds++;
        }
        was_open = (uint64_t)0 - (inside >> 63), was_allowed = allowed >> 63;
        is_pending = closing >> 63, was_return = masks.returns >> 63;
    }
    found.is_open = was_open != 0;
    return found;
}

static PyObject *scan(PyObject *self, PyObject *arguments) {
    Py_buffer data, ends, is_inside;
    unsigned char delimiter;
    Found found = {0};
    if (!PyArg_ParseTuple(arguments, "y*bw*w*", &data, &delimiter, &ends, &is_inside)) return NULL;
    int good = data.len < INT32_MAX && ends.len >= is_inside.len * (Py_ssize_t)sizeof(int32_t);
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        found = scan_block(data.buf, data.len, delimiter, ends.buf, is_inside.buf, is_inside.len);
        Py_END_ALLOW_THREADS
        good = found.feeds <= is_inside.len;
    }
    if (!good) PyErr_SetString(PyExc_ValueError, "an output is too short, or the block has more than 2 GiB");
    PyBuffer_Release(&data), PyBuffer_Release(&ends), PyBuffer_Release(&is_inside);
    if (!good) return NULL;
    return Py_BuildValue("iiin", found.is_standard, found.is_open, found.has_lone_return, found.inside);
}

static PyMethodDef METHODS[] = {
    {"scan", scan, METH_VARARGS,
     "scan(data, delimiter, out_ends, out_is_inside) -> whether quotes stand as RFC 4180 has them, whether one is open at "
     "the end, whether a carriage return stands alone, and how many line feeds are inside"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_quotes", "See offline_capi.sources.files.quotes.", -1, METHODS};

PyMODINIT_FUNC PyInit__quotes(void) { return PyModule_Create(&MODULE); }
