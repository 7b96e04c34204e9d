/* Values that a finite automaton accepts, rewritten as it reads them; see offline_capi.runtime.automaton.

   Reads and writes Arrow buffers directly and releases the GIL. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_columns.h"

#define BYTES 256
#define DEAD 0
#define START 1

/* For each byte and state the next state; for each state whether it accepts, and whether what was written is dropped
   there; for each byte what is written for it, 0: nothing; and what stands before each value. */
typedef struct {
    Py_buffer moves, accepts, cuts, written_as, before;
} Rewriter;

static int check_rewriter(const Rewriter *rewriter) {
    Py_ssize_t states = rewriter->accepts.len, count = rewriter->moves.len / (Py_ssize_t)sizeof(uint16_t);
    const uint16_t *moves = rewriter->moves.buf;
    uint16_t last = 0;
    for (Py_ssize_t i = 0; i < count; i++) last = moves[i] > last ? moves[i] : last;
    if (states > START && states <= UINT16_MAX && count == states * BYTES && last < states && rewriter->cuts.len == states
        && rewriter->written_as.len == BYTES)
        return 1;
    PyErr_SetString(PyExc_ValueError, "not an automaton: a table is too short, or names a state that there is not");
    return 0;
}

/* Writes the value and answers where it ends; NULL where it is not accepted. ``has_cuts`` is known when this is compiled. */
static inline uint8_t *rewrite_value(const Rewriter *rewriter, const uint8_t *value, const uint8_t *end, uint8_t *out,
                                     int has_cuts) {
    const uint16_t *moves = rewriter->moves.buf;
    const uint8_t *cuts = rewriter->cuts.buf, *written_as = rewriter->written_as.buf;
    size_t states = (size_t)rewriter->accepts.len, state = START;
    memcpy(out, rewriter->before.buf, (size_t)rewriter->before.len);
    uint8_t *start = out + rewriter->before.len;
    for (out = start; value < end; value++) {
        uint8_t written = written_as[*value];
        state = moves[*value * states + state]; /* by byte first: a step waits for one load only, that of the last step */
        *out = written; /* written over by the next one where it is nothing: there is no branch to be guessed wrong */
        out += written != 0;
        if (has_cuts) out = cuts[state] ? start : out;
    }
    return ((const uint8_t *)rewriter->accepts.buf)[state] ? out : NULL;
}

static PyObject *rewrite(PyObject *self, PyObject *arguments) {
    Column column = {0};
    Rewriter rewriter = {0};
    Py_buffer out_offsets, out_validity, out;
    Py_ssize_t accepted = 0;
    if (!PyArg_ParseTuple(arguments, "(y*y*y*nn)(y*y*y*y*y*)w*w*w*", &column.offsets, &column.data, &column.validity,
                          &column.first, &column.count, &rewriter.moves, &rewriter.accepts, &rewriter.cuts,
                          &rewriter.written_as, &rewriter.before, &out_offsets, &out_validity, &out))
        return NULL;
    int good = check_column(&column) && check_rewriter(&rewriter);
    const int32_t *offsets = (const int32_t *)column.offsets.buf + column.first;
    if (good) {
        /* A value that is not accepted is written too before that is known, and one byte may be written behind the last. */
        int64_t bound = (int64_t)offsets[column.count] - offsets[0] + (int64_t)column.count * rewriter.before.len + 1;
        if (bound > INT32_MAX || out.len < bound || out_validity.len < (column.count + 7) / 8
            || out_offsets.len < (column.count + 1) * (Py_ssize_t)sizeof(int32_t)) {
            PyErr_SetString(PyExc_ValueError, "an output is too short, or would hold more than 2 GiB");
            good = 0;
        }
    }
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        const uint8_t *data = column.data.buf;
        uint8_t *at = out.buf, *validity = out_validity.buf;
        int32_t *ends = out_offsets.buf;
        int has_cuts = memchr(rewriter.cuts.buf, 1, (size_t)rewriter.cuts.len) != NULL;
        memset(validity, 0, (size_t)out_validity.len);
        ends[0] = 0;
        for (Py_ssize_t i = 0; i < column.count; i++) {
            const uint8_t *from = data + offsets[i], *to = data + offsets[i + 1];
            uint8_t *end = !is_valid(&column, i) ? NULL
                           : has_cuts            ? rewrite_value(&rewriter, from, to, at, 1)
                                                 : rewrite_value(&rewriter, from, to, at, 0);
            if (end) {
                validity[i >> 3] |= (uint8_t)(1 << (i & 7));
                at = end;
                accepted++;
            }
            ends[i + 1] = (int32_t)(at - (uint8_t *)out.buf);
        }
        Py_END_ALLOW_THREADS
    }
    release_column(&column);
    PyBuffer_Release(&rewriter.moves), PyBuffer_Release(&rewriter.accepts), PyBuffer_Release(&rewriter.cuts);
    PyBuffer_Release(&rewriter.written_as), PyBuffer_Release(&rewriter.before);
    PyBuffer_Release(&out_offsets), PyBuffer_Release(&out_validity), PyBuffer_Release(&out);
    return good ? PyLong_FromSsize_t(accepted) : NULL;
}

static PyMethodDef METHODS[] = {
    {"rewrite", rewrite, METH_VARARGS,
     "rewrite((offsets, data, validity, first, count), (moves, accepts, cuts, written_as, before), out_offsets, "
     "out_validity, out) -> how many values are accepted"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_automaton", "See offline_capi.runtime.automaton.", -1, METHODS};

PyMODINIT_FUNC PyInit__automaton(void) { return PyModule_Create(&MODULE); }
