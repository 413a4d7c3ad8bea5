# Lending: bytes objects that connections send from where they lie, and the references to them.
# Called by: engine.
# RFCs: none.

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, malloc
from pystack.core.memory.loan cimport LOAN_LEAST, Lender


cdef void put_on_list(Lender* lender) noexcept nogil:
    cdef Lending* lending = <Lending*>lender
    lending.next = lending.repaid[0]
    lending.repaid[0] = lending


cdef Lending* lending_new(Lending** repaid, object data, Py_ssize_t size):
    cdef Lending* lending
    cdef object owner
    if size < LOAN_LEAST:
        return NULL
    owner = data.obj if type(data) is memoryview else data
    if type(owner) is not bytes:
        return NULL
    lending = <Lending*>malloc(sizeof(Lending))
    if lending != NULL:
        Py_INCREF(owner)
        lending.owner = <PyObject*>owner
        lending.repaid = repaid
        lending.lender.loans = 1
        lending.lender.repaid = put_on_list
    return lending


cdef void lending_drop(Lending* first):
    cdef Lending* lending
    while first != NULL:
        lending = first
        first = lending.next
        Py_DECREF(<object>lending.owner)
        free(lending)
