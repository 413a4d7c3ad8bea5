# Bytes objects that are filled before anyone else sees them, then cut to size without a copy.
# Called by: tcp, datagram.
# RFCs: none.

from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport uint8_t

cdef extern from "Python.h":
    PyObject* unfilled_bytes "PyBytes_FromStringAndSize" (
        const char* source, Py_ssize_t size) except NULL
    uint8_t* bytes_start "(uint8_t*)PyBytes_AS_STRING" (PyObject* string) nogil
    Py_ssize_t Py_SIZE(PyObject* string) nogil
    int resize_bytes "_PyBytes_Resize" (PyObject** string, Py_ssize_t size) except -1


cdef inline object filled_bytes(PyObject* string, Py_ssize_t size):
    """Take over the reference of a new string, of which `size` bytes were filled."""
    cdef object whole
    if Py_SIZE(string) != size:
        resize_bytes(&string, size)
    whole = <object>string
    Py_XDECREF(string)
    return whole
