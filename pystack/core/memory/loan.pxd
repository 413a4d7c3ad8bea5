# Loans: stretches of a stream whose bytes are not in its ring but where the application has them.
# Called by: tcp (send side); lenders are the engine's. Knows no protocol: positions are 32-bit
# numbers modulo 2^32.
# RFCs: none.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.memory.ring cimport Ring

cdef enum:
    LOAN_LEAST = 64 << 10       # bytes: what is shorter costs less to copy than to keep
    SPANS = 4                   # a train holds no more pieces: two ends of loans, a ring that wraps

# Whose bytes they are. They may not change before `repaid`.
ctypedef struct Lender:
    # Nothing is lent any more; but packets that were made before may still have borrowed.
    void (*repaid)(Lender* lender) noexcept nogil
    uint32_t loans              # and one for the call that lends

ctypedef struct Loan:
    Loan* next
    Lender* lender
    const uint8_t* data
    uint32_t begin
    uint32_t end                # exclusive

# In the order of the stream. All zero: none.
ctypedef struct Loans:
    Loan* first
    Loan* last

# Memory in the order of the stream; the first length that is 0 ends it.
ctypedef struct Spans:
    const uint8_t* at[SPANS]
    uint32_t length[SPANS]

# Lend [begin, begin + count), which begins behind all that was lent before. 0; -1: no memory.
cdef int loan_add(Loans* loans, Lender* lender, const uint8_t* data, uint32_t begin,
                  uint32_t count) noexcept nogil
# Repay what ends at `bound` or before.
cdef void loan_repay_below(Loans* loans, uint32_t bound) noexcept nogil
cdef void loan_release(Loans* loans) noexcept nogil
# Where [begin, begin + count) of a stream is whose ring begins at `head`: lent, or in the ring.
cdef void loan_spans(const Loans* loans, const Ring* ring, uint32_t head, uint32_t begin,
                     uint32_t count, Spans* spans) noexcept nogil


cdef inline void lender_repay(Lender* lender) noexcept nogil:
    lender.loans -= 1
    if lender.loans == 0:
        lender.repaid(lender)
