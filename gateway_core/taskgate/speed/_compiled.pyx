# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The compiled module: the few loops that run for every byte. `plain` is its equal in Python and its documentation.

Every offset is checked against the buffer before it is read: what stands here runs on bytes from the network.
"""

from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE, _PyBytes_Resize,
)
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc, realloc, strtod
from libc.string cimport memchr, memcmp, memcpy

from zlib import crc32

include "_messages.pxi"
include "_buffers.pxi"
include "_kinds.pxi"
include "_folding.pxi"
include "_views.pxi"
include "_sieve.pxi"
include "_rows.pxi"
include "_records.pxi"
include "_exchanges.pxi"
