/* Where texts stand in a list of distinct texts: a hash table with open addressing over Arrow columns.

   Reads Arrow buffers directly and releases the GIL. The table belongs to the caller: 64 bits a slot, of which the upper
   half are those of the hash and the lower half the position plus one; 0 is an empty slot. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_columns.h"

typedef struct {
    Py_buffer slots;
    uint64_t mask;
} Table;

static uint64_t read8(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

static uint64_t read4(const uint8_t *at) {
    uint32_t word;
    memcpy(&word, at, 4);
    return word;
}

/* The last 8 bytes of a text, or all of a shorter one: reads overlap, so that no loop over bytes is needed. */
static uint64_t read_end(const uint8_t *text, size_t length) {
    if (length >= 8) return read8(text + length - 8);
    if (length >= 4) return read4(text) << 32 | read4(text + length - 4);
    return length ? (uint64_t)text[0] << 16 | (uint64_t)text[length >> 1] << 8 | text[length - 1] : 0;
}

/* Multiplied and folded 8 bytes at a time. Not for texts that somebody chose to collide: those are slow, never wrong. */
static uint64_t hash_text(const uint8_t *text, size_t length) {
    uint64_t hash = length * 0x9E3779B97F4A7C15ULL;
    for (size_t at = 0; at + 8 < length; at += 8) {
        hash = (hash ^ read8(text + at)) * 0xD6E8FEB86659FD93ULL;
        hash ^= hash >> 32;
    }
    hash = (hash ^ read_end(text, length)) * 0xD6E8FEB86659FD93ULL;
    return (hash ^ hash >> 32) * 0x9E3779B97F4A7C15ULL;
}

static int are_equal(const uint8_t *one, const uint8_t *other, size_t length) {
    for (size_t at = 0; at + 8 < length; at += 8)
        if (read8(one + at) != read8(other + at)) return 0;
    return read_end(one, length) == read_end(other, length);
}

static const uint8_t *get_text(const Column *column, Py_ssize_t at, size_t *length) {
    const int32_t *offsets = (const int32_t *)column->offsets.buf + column->first + at;
    *length = (size_t)(offsets[1] - offsets[0]);
    return (const uint8_t *)column->data.buf + offsets[0];
}

/* Its position in the list, or -1 with the first empty slot. */
static Py_ssize_t find_text(const Table *table, const Column *list, const uint8_t *text, size_t length, uint64_t *slot) {
    const uint64_t *slots = table->slots.buf;
    uint64_t hash = hash_text(text, length), at = (hash ^ hash >> 32) & table->mask;
    for (uint64_t tried = 0; tried <= table->mask && slots[at]; tried++, at = (at + 1) & table->mask) {
        Py_ssize_t position = (Py_ssize_t)(uint32_t)slots[at] - 1;
        if (slots[at] >> 32 != hash >> 32 || position < 0 || position >= list->count) continue;
        size_t other_length;
        const uint8_t *other = get_text(list, position, &other_length);
        if (length == other_length && are_equal(text, other, length)) return position;
    }
    *slot = at;
    return -1;
}

static int check_table(Table *table, const Column *list) {
    uint64_t slots = (uint64_t)table->slots.len / sizeof(uint64_t);
    table->mask = slots - 1;
    if (slots && !(slots & table->mask) && list->count >= 0 && slots > (uint64_t)list->count) return check_column(list);
    PyErr_SetString(PyExc_ValueError, "a table has a power of two of slots, and more of them than texts");
    return 0;
}

static PyObject *find(PyObject *self, PyObject *arguments) {
    Table table = {0};
    Column list = {0}, texts = {0};
    Py_buffer out = {0};
    Py_ssize_t unknown = 0;
    int good = PyArg_ParseTuple(arguments, "y*(y*y*y*nn)(y*y*y*nn)w*", &table.slots, &list.offsets, &list.data,
                                &list.validity, &list.first, &list.count, &texts.offsets, &texts.data, &texts.validity,
                                &texts.first, &texts.count, &out)
               && check_table(&table, &list) && check_column(&texts);
    if (good && out.len < texts.count * (Py_ssize_t)sizeof(int32_t)) {
        PyErr_SetString(PyExc_ValueError, "an output is too short");
        good = 0;
    }
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; i < texts.count; i++) {
            uint64_t slot;
            size_t length;
            const uint8_t *text = get_text(&texts, i, &length);
            int valid = is_valid(&texts, i);
            Py_ssize_t position = valid ? find_text(&table, &list, text, length, &slot) : -1;
            unknown += valid && position < 0;
            ((int32_t *)out.buf)[i] = (int32_t)position;
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&table.slots), release_column(&list), release_column(&texts), PyBuffer_Release(&out);
    return good ? PyLong_FromSsize_t(unknown) : NULL;
}

static PyObject *add(PyObject *self, PyObject *arguments) {
    Table table = {0};
    Column list = {0};
    Py_ssize_t start;
    int good = PyArg_ParseTuple(arguments, "w*(y*y*y*nn)n", &table.slots, &list.offsets, &list.data, &list.validity,
                                &list.first, &list.count, &start)
               && check_table(&table, &list);
    if (good && start < 0) {
        PyErr_SetString(PyExc_ValueError, "a position is negative");
        good = 0;
    }
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = start; i < list.count; i++) {
            uint64_t slot;
            size_t length;
            const uint8_t *text = get_text(&list, i, &length);
            if (find_text(&table, &list, text, length, &slot) < 0)
                ((uint64_t *)table.slots.buf)[slot] = hash_text(text, length) >> 32 << 32 | (uint64_t)(i + 1);
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&table.slots), release_column(&list);
    if (!good) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"find", find, METH_VARARGS,
     "find(slots, list, texts, out_positions) -> texts that are not in the list; a column is (offsets, data, validity, first, count)"},
    {"add", add, METH_VARARGS, "add(slots, list, start): the texts of the list from start on"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_lookup", "See offline_capi.runtime.lookup.", -1, METHODS};

PyMODINIT_FUNC PyInit__lookup(void) { return PyModule_Create(&MODULE); }
