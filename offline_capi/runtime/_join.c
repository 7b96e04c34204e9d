/* Columns of texts made of others: put one after the other row by row (the JSON of events), rearranged, without some of
   their bytes, read from files in pieces.

   Reads and writes Arrow buffers directly and releases the GIL. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#ifndef _WIN32
#include <unistd.h>
#endif

#include "_columns.h"

/* What a row writes beyond its end at most, before the next one writes over it: short texts are copied whole. */
#define SLACK 32

/* What stands before a value, the value and what stands after it; nothing where it is null. Without offsets a literal. */
typedef struct {
    Column column;
    Py_buffer before, after;
    uint8_t short_before[SLACK], short_after[SLACK];
} Piece;

static void release_pieces(Piece *pieces, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        release_column(&pieces[i].column);
        PyBuffer_Release(&pieces[i].before), PyBuffer_Release(&pieces[i].after);
    }
    PyMem_Free(pieces);
}

/* The rows that are joined, as positions in the columns; without a list the first ones. */
typedef struct {
    Py_buffer chosen;
    Py_ssize_t count;
} Rows;

static int read_piece(PyObject *given, Piece *piece) {
    Column *column = &piece->column;
    if (!PyArg_ParseTuple(given, "y*y*y*y*y*nn", &piece->before, &piece->after, &column->offsets, &column->data,
                          &column->validity, &column->first, &column->count))
        return 0;
    if (piece->before.len <= SLACK) memcpy(piece->short_before, piece->before.buf, piece->before.len);
    if (piece->after.len <= SLACK) memcpy(piece->short_after, piece->after.buf, piece->after.len);
    return !column->offsets.len || check_column(column);
}

static Py_ssize_t get_row(const Rows *rows, Py_ssize_t at) {
    return rows->chosen.len ? ((const int32_t *)rows->chosen.buf)[at] : at;
}

/* What a piece writes at most; -1 where the column lacks one of the rows. */
static int64_t bound_bytes(const Piece *piece, const Rows *rows) {
    const Column *column = &piece->column;
    const int32_t *offsets = (const int32_t *)column->offsets.buf + column->first;
    int64_t bytes = rows->count * (int64_t)(piece->before.len + piece->after.len);
    if (!column->offsets.len) return bytes;
    if (!rows->chosen.len) return rows->count > column->count ? -1 : bytes + offsets[rows->count] - offsets[0];
    for (Py_ssize_t at = 0; at < rows->count; at++) {
        Py_ssize_t row = get_row(rows, at);
        if (row < 0 || row >= column->count) return -1;
        bytes += offsets[row + 1] - offsets[row];
    }
    return bytes;
}

static uint8_t *write_literal(uint8_t *at, const Py_buffer *literal, const uint8_t *as_short) {
    if (literal->len <= SLACK)
        memcpy(at, as_short, SLACK);
    else
        memcpy(at, literal->buf, literal->len);
    return at + literal->len;
}

static uint8_t *write_row(uint8_t *at, const Piece *piece, Py_ssize_t row) {
    const Column *column = &piece->column;
    if (column->offsets.len && !is_valid(column, row)) return at;
    if (piece->before.len) at = write_literal(at, &piece->before, piece->short_before);
    if (column->offsets.len) {
        const int32_t *offsets = (const int32_t *)column->offsets.buf + column->first + row;
        const uint8_t *value = (const uint8_t *)column->data.buf + offsets[0];
        size_t length = (size_t)(offsets[1] - offsets[0]);
        if (length == 64)
            memcpy(at, value, 64); /* a digest: a copy of known length is a few instructions */
        else
            memcpy(at, value, length);
        at += length;
    }
    return piece->after.len ? write_literal(at, &piece->after, piece->short_after) : at;
}

static PyObject *join(PyObject *self, PyObject *arguments) {
    PyObject *given;
    Py_ssize_t good = 0, written = 0;
    int64_t bound = SLACK;
    Rows rows;
    Py_buffer out_offsets, out;
    if (!PyArg_ParseTuple(arguments, "O!ny*w*w*", &PyTuple_Type, &given, &rows.count, &rows.chosen, &out_offsets, &out))
        return NULL;
    Py_ssize_t count = PyTuple_Size(given);
    Piece *pieces = PyMem_Calloc(count + 1, sizeof(Piece));
    if (!pieces) PyErr_NoMemory();
    int fits = pieces && rows.count >= 0 && rows.count <= INT32_MAX
               && (!rows.chosen.len || rows.chosen.len >= rows.count * (Py_ssize_t)sizeof(int32_t))
               && out_offsets.len >= (rows.count + 1) * (Py_ssize_t)sizeof(int32_t);
    for (; fits && good < count; good++) {
        fits = read_piece(PyTuple_GetItem(given, good), &pieces[good]);
        int64_t bytes = fits ? bound_bytes(&pieces[good], &rows) : -1;
        bound += bytes;
        fits = fits && bytes >= 0 && bound <= INT32_MAX;
    }
    fits = fits && bound <= out.len;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        int32_t *ends = out_offsets.buf;
        uint8_t *at = out.buf;
        ends[0] = 0;
        for (Py_ssize_t i = 0; i < rows.count; i++) {
            Py_ssize_t row = get_row(&rows, i);
            for (Py_ssize_t piece = 0; piece < count; piece++) at = write_row(at, &pieces[piece], row);
            ends[i + 1] = (int32_t)(at - (uint8_t *)out.buf);
        }
        written = at - (uint8_t *)out.buf;
        Py_END_ALLOW_THREADS
    } else if (!PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError, "a column lacks a row, or an output is too short or would hold more than 2 GiB");
    }
    if (pieces) release_pieces(pieces, count);
    PyBuffer_Release(&rows.chosen), PyBuffer_Release(&out_offsets), PyBuffer_Release(&out);
    return fits ? PyLong_FromSsize_t(written) : NULL;
}

static PyObject *take(PyObject *self, PyObject *arguments) {
    Column column = {0};
    Py_buffer indices, out_offsets, out;
    if (!PyArg_ParseTuple(arguments, "y*y*nny*w*w*", &column.offsets, &column.data, &column.first, &column.count,
                          &indices, &out_offsets, &out))
        return NULL;
    Py_ssize_t rows = indices.len / (Py_ssize_t)sizeof(int64_t), row = 0;
    int64_t written = 0;
    int fits = check_column(&column) && out_offsets.len >= (rows + 1) * (Py_ssize_t)sizeof(int32_t) && out.len <= INT32_MAX;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        const int32_t *offsets = (const int32_t *)column.offsets.buf + column.first;
        const int64_t *wanted = indices.buf;
        int32_t *ends = out_offsets.buf;
        ends[0] = 0;
        for (; row < rows; row++) {
            int64_t from = wanted[row];
            if (from < 0 || from >= column.count) break;
            int64_t length = offsets[from + 1] - offsets[from];
            if (length > out.len - written) break;
            memcpy((uint8_t *)out.buf + written, (const uint8_t *)column.data.buf + offsets[from], (size_t)length);
            ends[row + 1] = (int32_t)(written += length);
        }
        Py_END_ALLOW_THREADS
    }
    if (!PyErr_Occurred() && (!fits || row < rows))
        PyErr_SetString(PyExc_IndexError, "an index lies outside of the column, or an output is too short");
    release_column(&column);
    PyBuffer_Release(&indices), PyBuffer_Release(&out_offsets), PyBuffer_Release(&out);
    return PyErr_Occurred() ? NULL : PyLong_FromLongLong(written);
}

/* A 64-bit number has at most 19 digits and a sign. */
#define INTEGER_CHARS 20

static uint8_t *write_integer(uint8_t *at, int64_t value) {
    uint8_t digits[INTEGER_CHARS];
    int first = INTEGER_CHARS;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do digits[--first] = (uint8_t)('0' + left % 10);
    while (left /= 10);
    if (value < 0) digits[--first] = '-';
    memcpy(at, digits + first, (size_t)(INTEGER_CHARS - first));
    return at + INTEGER_CHARS - first;
}

static PyObject *write_integers(PyObject *self, PyObject *arguments) {
    Py_buffer values, out_offsets, out;
    if (!PyArg_ParseTuple(arguments, "y*w*w*", &values, &out_offsets, &out)) return NULL;
    Py_ssize_t count = values.len / (Py_ssize_t)sizeof(int64_t), written = 0;
    int good = count <= INT32_MAX / INTEGER_CHARS && out.len >= count * INTEGER_CHARS
               && out_offsets.len >= (count + 1) * (Py_ssize_t)sizeof(int32_t);
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        const int64_t *numbers = values.buf;
        int32_t *ends = out_offsets.buf;
        uint8_t *at = out.buf;
        ends[0] = 0;
        for (Py_ssize_t i = 0; i < count; i++) {
            at = write_integer(at, numbers[i]);
            ends[i + 1] = (int32_t)(at - (uint8_t *)out.buf);
        }
        written = at - (uint8_t *)out.buf;
        Py_END_ALLOW_THREADS
    } else {
        PyErr_SetString(PyExc_ValueError, "an output is too short, or would hold more than 2 GiB");
    }
    PyBuffer_Release(&values), PyBuffer_Release(&out_offsets), PyBuffer_Release(&out);
    return good ? PyLong_FromSsize_t(written) : NULL;
}

static PyObject *keep_bytes(PyObject *self, PyObject *arguments) {
    Column column;
    Py_buffer kept, out_offsets, out;
    int32_t written = 0;
    if (!PyArg_ParseTuple(arguments, "y*y*y*nny*w*w*", &column.offsets, &column.data, &column.validity, &column.first,
                          &column.count, &kept, &out_offsets, &out))
        return NULL;
    int good = check_column(&column);
    const int32_t *offsets = (const int32_t *)column.offsets.buf + column.first;
    if (good && (kept.len != 256 || out_offsets.len < (column.count + 1) * (Py_ssize_t)sizeof(int32_t)
                 || out.len < offsets[column.count] - offsets[0])) {
        PyErr_SetString(PyExc_ValueError, "an output is too short, or not every byte is said to stay or to go");
        good = 0;
    }
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        const uint8_t *data = column.data.buf, *stays = kept.buf;
        uint8_t *to = out.buf;
        int32_t *ends = out_offsets.buf;
        ends[0] = 0;
        for (Py_ssize_t row = 0; row < column.count; row++) {
            for (int32_t at = offsets[row]; at < offsets[row + 1]; at++) {
                to[written] = data[at]; /* what goes is written over by the next: there is no branch to be guessed wrong */
                written += stays[data[at]] != 0;
            }
            ends[row + 1] = written;
        }
        Py_END_ALLOW_THREADS
    }
    release_column(&column), PyBuffer_Release(&kept), PyBuffer_Release(&out_offsets), PyBuffer_Release(&out);
    return good ? PyLong_FromLong(written) : NULL;
}

#ifndef _WIN32
/* A piece of a file and its place in the output, all four as the caller has them in one array. */
typedef struct {
    int64_t file, start, bytes, place;
} FilePiece;

static PyObject *read_pieces(PyObject *self, PyObject *arguments) {
    Py_buffer given, out;
    if (!PyArg_ParseTuple(arguments, "y*w*", &given, &out)) return NULL;
    const FilePiece *pieces = given.buf;
    Py_ssize_t count = given.len / (Py_ssize_t)sizeof(FilePiece), at = 0;
    int64_t total = 0;
    int fault = 0;
    Py_BEGIN_ALLOW_THREADS
    for (; at < count && !fault; at++) {
        FilePiece left = pieces[at];
        if (left.bytes < 0 || left.place < 0 || left.place > out.len || left.bytes > out.len - left.place) break;
        while (left.bytes > 0) {
            ssize_t read = pread((int)left.file, (uint8_t *)out.buf + left.place, (size_t)left.bytes, (off_t)left.start);
            if (read < 0 && errno == EINTR) continue;
            if (read < 0) fault = errno;
            if (read <= 0) break;
            left.start += read, left.place += read, left.bytes -= read, total += read;
        }
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&given), PyBuffer_Release(&out);
    if (fault) {
        errno = fault;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (at < count) {
        PyErr_SetString(PyExc_ValueError, "a piece lies outside of the output");
        return NULL;
    }
    return PyLong_FromLongLong(total);
}
#endif

static PyMethodDef METHODS[] = {
    {"join", join, METH_VARARGS,
     "join(((before, after, offsets, data, validity, first, count), ...), rows, chosen, out_offsets, out) -> bytes written; "
     "chosen: the positions of the rows as int32, or nothing: the first ones"},
    {"take", take, METH_VARARGS,
     "take(offsets, data, first, count, indices, out_offsets, out) -> bytes written; of a column without nulls"},
    {"write_integers", write_integers, METH_VARARGS, "write_integers(values, out_offsets, out) -> bytes written"},
    {"keep_bytes", keep_bytes, METH_VARARGS,
     "keep_bytes(offsets, data, validity, first, count, kept, out_offsets, out) -> bytes written; kept: 0 for each of 256 "
     "bytes that goes"},
#ifndef _WIN32
    {"read_pieces", read_pieces, METH_VARARGS,
     "read_pieces(pieces, out) -> bytes read; pieces: file, start, bytes and place in out of each, as int64"},
#endif
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_join", "See offline_capi.runtime.join.", -1, METHODS};

PyMODINIT_FUNC PyInit__join(void) { return PyModule_Create(&MODULE); }
