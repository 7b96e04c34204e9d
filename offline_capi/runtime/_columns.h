/* A column of texts as Arrow lays it out: offsets (int32), data, validity (bits, or empty: all valid), and which of its
   values are meant. Checked before it is read. */

#ifndef OFFLINE_CAPI_COLUMNS_H
#define OFFLINE_CAPI_COLUMNS_H

#include <Python.h>
#include <stdint.h>

typedef struct {
    Py_buffer offsets, data, validity;
    Py_ssize_t first, count;
} Column;

static int check_column(const Column *column) {
    Py_ssize_t ends = column->first + column->count;
    if (column->first < 0 || column->count < 0 || ends > PY_SSIZE_T_MAX / 64 - 1
        || column->offsets.len < (ends + 1) * (Py_ssize_t)sizeof(int32_t)
        || (column->validity.len && column->validity.len < (ends + 7) / 8)) {
        PyErr_SetString(PyExc_ValueError, "a buffer is shorter than its column");
        return 0;
    }
    const int32_t *offsets = (const int32_t *)column->offsets.buf + column->first;
    int64_t before = offsets[0];
    for (Py_ssize_t i = 0; i <= column->count; before = offsets[i], i++)
        if (offsets[i] < before || offsets[i] > column->data.len || before < 0) {
            PyErr_SetString(PyExc_ValueError, "an offset lies outside of the data");
            return 0;
        }
    return 1;
}

static int is_valid(const Column *column, Py_ssize_t at) {
    at += column->first;
    return !column->validity.len || ((const uint8_t *)column->validity.buf)[at >> 3] >> (at & 7) & 1;
}

static void release_column(Column *column) {
    PyBuffer_Release(&column->offsets), PyBuffer_Release(&column->data), PyBuffer_Release(&column->validity);
}

#endif
