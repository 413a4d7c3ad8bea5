# Lending: bytes objects that connections send from where they lie, and the references to them.
# Called by: engine.
# RFCs: none.

from cpython.object cimport PyObject
from pystack.core.memory.loan cimport Lender

ctypedef struct Lending:
    Lender lender               # first: what the core knows of it
    PyObject* owner             # ours, until somebody who has the GIL drops it
    Lending** repaid            # the list that it comes to then, under the lock of the stack
    Lending* next

# `data` is a buffer of `size` bytes. NULL: too short to be lent, or somebody may change it.
cdef Lending* lending_new(Lending** repaid, object data, Py_ssize_t size)
# Give up a list, and the references.
cdef void lending_drop(Lending* first)
