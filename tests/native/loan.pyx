# A stream of which parts are lent, as tests see it.
# Called by: tests/unit/test_loan.
# RFCs: none.

from libc.stdint cimport uint32_t
from pystack.core.memory.loan cimport (
    LOAN_LEAST, SPANS, Lender, Loans, Spans, lender_repay, loan_add, loan_release,
    loan_repay_below, loan_spans,
)
from pystack.core.memory.ring cimport (
    Ring, RingPool, ring_consume, ring_extend, ring_pool_release, ring_put, ring_release,
    ring_reserve,
)

LEAST = LOAN_LEAST

ctypedef struct Counted:
    Lender lender
    uint32_t* repaid


cdef void count(Lender* lender) noexcept nogil:
    (<Counted*>lender).repaid[0] += 1


cdef class LentStream:
    """Its ring begins at `head`; what is lent stays here until it is freed."""

    cdef Ring ring
    cdef RingPool pool
    cdef Loans loans
    cdef Counted[64] lenders
    cdef readonly uint32_t head
    cdef readonly uint32_t lent
    cdef readonly uint32_t repaid
    cdef list kept

    def __init__(self, uint32_t head):
        self.head = head
        self.kept = []

    def __dealloc__(self):
        loan_release(&self.loans)
        ring_release(&self.ring, &self.pool)
        ring_pool_release(&self.pool)

    def copy(self, bytes data):
        assert ring_reserve(&self.ring, &self.pool, self.ring.length + len(data)) == 0
        ring_put(&self.ring, self.ring.length, data, len(data))
        ring_extend(&self.ring, len(data))

    def lend(self, list pieces):
        """One lender's bytes, in one loan or several."""
        cdef Counted* lender = &self.lenders[self.lent]
        cdef bytes data
        self.lent += 1
        lender.lender.repaid = count
        lender.repaid = &self.repaid
        lender.lender.loans = 1
        for data in pieces:
            self.kept.append(data)
            assert loan_add(&self.loans, &lender.lender, data, self.head + self.ring.length,
                            len(data)) == 0
            ring_extend(&self.ring, len(data))
        lender_repay(&lender.lender)

    def consume(self, uint32_t count):
        ring_consume(&self.ring, count)
        self.head += count
        loan_repay_below(&self.loans, self.head)

    def release(self):
        ring_release(&self.ring, &self.pool)
        loan_release(&self.loans)

    def spans(self, uint32_t offset, uint32_t count):
        """The pieces of memory that hold it."""
        cdef Spans spans
        loan_spans(&self.loans, &self.ring, self.head, self.head + offset, count, &spans)
        pieces = []
        for i in range(SPANS):
            if spans.length[i] == 0:
                break
            pieces.append(spans.at[i][:spans.length[i]])
        return pieces
