/* Keys of two 64-bit halves, evenly spread: a hash table with open addressing of the last ones, and a search in the fence
   of sorted ones. See offline_capi.guards.key_set.

   Reads and writes the caller's arrays directly and releases the GIL. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#define COUNT(buffer, type) ((buffer).len / (Py_ssize_t)sizeof(type))

static int refuse(const char *why) {
    PyErr_SetString(PyExc_ValueError, why);
    return 0;
}

/* Digests need no hashing. A caller's own hashes may have few bits in one place: both halves count. */
static uint64_t spread(uint64_t high, uint64_t low) {
    uint64_t hash = (high ^ low * 0x9E3779B97F4A7C15ULL) * 0xD6E8FEB86659FD93ULL;
    return hash ^ hash >> 32;
}

static PyObject *add(PyObject *self, PyObject *arguments) {
    Py_buffer slots_, high_, low_, new_high, new_low, places_, rows_;
    Py_ssize_t used, fresh = 0;
    if (!PyArg_ParseTuple(arguments, "w*w*w*ny*y*w*w*", &slots_, &high_, &low_, &used, &new_high, &new_low, &places_, &rows_))
        return NULL;
    Py_ssize_t room = COUNT(high_, uint64_t), count = COUNT(new_high, uint64_t), slot_count = COUNT(slots_, uint32_t);
    int good = (slot_count > room && !(slot_count & (slot_count - 1)) && room < INT32_MAX)
               || refuse("a table has a power of two of slots, and more of them than keys");
    good = good && ((used >= 0 && count <= room - used && COUNT(low_, uint64_t) >= room) || refuse("there is no room for the keys"));
    good = good && ((COUNT(new_low, uint64_t) >= count && COUNT(places_, int32_t) >= count && COUNT(rows_, int32_t) >= count)
                    || refuse("an array is too short"));
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        uint32_t *slots = slots_.buf;
        uint64_t *high = high_.buf, *low = low_.buf, mask = (uint64_t)slot_count - 1;
        int32_t *places = places_.buf, *rows = rows_.buf;
        for (Py_ssize_t i = 0; i < count; i++) {
            uint64_t own_high = ((const uint64_t *)new_high.buf)[i], own_low = ((const uint64_t *)new_low.buf)[i];
            uint64_t at = spread(own_high, own_low) & mask;
            Py_ssize_t place = used + fresh;
            for (uint64_t tried = 0; tried <= mask && slots[at]; tried++, at = (at + 1) & mask) {
                Py_ssize_t other = (Py_ssize_t)slots[at] - 1;
                if (other < used + fresh && high[other] == own_high && low[other] == own_low) {
                    place = other;
                    break;
                }
            }
            if (place == used + fresh) {
                high[place] = own_high, low[place] = own_low, slots[at] = (uint32_t)place + 1;
                rows[fresh++] = (int32_t)i;
            }
            places[i] = (int32_t)place;
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&slots_), PyBuffer_Release(&high_), PyBuffer_Release(&low_), PyBuffer_Release(&new_high);
    PyBuffer_Release(&new_low), PyBuffer_Release(&places_), PyBuffer_Release(&rows_);
    return good ? PyLong_FromSsize_t(fresh) : NULL;
}

static PyObject *search(PyObject *self, PyObject *arguments) {
    Py_buffer starts_, rests_, high_, rows_, places_;
    int bucket_bits = 0;
    Py_ssize_t skipped, found = 0;
    if (!PyArg_ParseTuple(arguments, "y*y*ny*w*w*", &starts_, &rests_, &skipped, &high_, &rows_, &places_)) return NULL;
    Py_ssize_t buckets = COUNT(starts_, uint32_t) - 1, number = COUNT(rests_, uint16_t), count = COUNT(high_, uint64_t);
    while (bucket_bits < 40 && (Py_ssize_t)1 << bucket_bits < buckets) bucket_bits++;
    int good = (buckets > 1 && (Py_ssize_t)1 << bucket_bits == buckets && skipped >= 0 && skipped + bucket_bits + 16 <= 64)
               || refuse("a fence has a power of two of buckets, two at least");
    good = good && ((COUNT(rows_, int32_t) >= count && COUNT(places_, int32_t) >= count && count < INT32_MAX && number < INT32_MAX)
                    || refuse("an array is too short"));
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        const uint32_t *starts = starts_.buf;
        const uint16_t *rests = rests_.buf;
        for (Py_ssize_t i = 0; i < count; i++) {
            uint64_t seen = ((const uint64_t *)high_.buf)[i] << skipped >> (64 - bucket_bits - 16);
            uint16_t rest = (uint16_t)seen;
            Py_ssize_t at = starts[seen >> 16], stop = starts[(seen >> 16) + 1], up = stop;
            if (stop > number) continue; /* no fence of ours */
            while (at < up) {
                Py_ssize_t middle = (at + up) >> 1;
                if (rests[middle] < rest)
                    at = middle + 1;
                else
                    up = middle;
            }
            if (at < stop && rests[at] == rest) {
                ((int32_t *)rows_.buf)[found] = (int32_t)i;
                ((int32_t *)places_.buf)[found++] = (int32_t)at;
            }
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&starts_), PyBuffer_Release(&rests_), PyBuffer_Release(&high_);
    PyBuffer_Release(&rows_), PyBuffer_Release(&places_);
    return good ? PyLong_FromSsize_t(found) : NULL;
}

static PyMethodDef METHODS[] = {
    {"add", add, METH_VARARGS,
     "add(slots, high, low, used, new_high, new_low, out_places, out_rows) -> how many are new; they stand from used on, "
     "in the order of their rows"},
    {"search", search, METH_VARARGS,
     "search(starts, rests, skipped_bits, high, out_rows, out_places) -> how many may be there, and the first place of each"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_keys", "See offline_capi.guards.key_set.", -1, METHODS};

PyMODINIT_FUNC PyInit__keys(void) { return PyModule_Create(&MODULE); }
