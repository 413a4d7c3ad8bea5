# Loans: stretches of a stream whose bytes are not in its ring but where the application has them.
# Called by: tcp (send side).
# RFCs: none.

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from pystack.core.memory.check cimport check
from pystack.core.memory.ring cimport Ring, ring_spans


cdef int loan_add(Loans* loans, Lender* lender, const uint8_t* data, uint32_t begin,
                  uint32_t count) noexcept nogil:
    cdef Loan* loan = <Loan*>malloc(sizeof(Loan))
    if loan == NULL:
        return -1
    loan.next = NULL
    loan.lender = lender
    loan.data = data
    loan.begin = begin
    loan.end = begin + count
    if loans.last != NULL:
        loans.last.next = loan
    else:
        loans.first = loan
    loans.last = loan
    lender.loans += 1
    return 0


cdef void repay_first(Loans* loans) noexcept nogil:
    cdef Loan* loan = loans.first
    loans.first = loan.next
    if loans.first == NULL:
        loans.last = NULL
    lender_repay(loan.lender)
    free(loan)


cdef void loan_repay_below(Loans* loans, uint32_t bound) noexcept nogil:
    while loans.first != NULL and <int32_t>(bound - loans.first.end) >= 0:
        repay_first(loans)


cdef void loan_release(Loans* loans) noexcept nogil:
    while loans.first != NULL:
        repay_first(loans)


cdef void loan_spans(const Loans* loans, const Ring* ring, uint32_t head, uint32_t begin,
                     uint32_t count, Spans* spans) noexcept nogil:
    cdef const Loan* loan = loans.first
    cdef uint32_t used = 0
    cdef uint32_t stretch
    while count:
        check(used < SPANS)
        while loan != NULL and <int32_t>(begin - loan.end) >= 0:
            loan = loan.next
        if loan != NULL and <int32_t>(begin - loan.begin) >= 0:
            stretch = min(count, loan.end - begin)
            spans.at[used] = loan.data + (begin - loan.begin)
            spans.length[used] = stretch
            used += 1
        else:
            stretch = count if loan == NULL else min(count, loan.begin - begin)
            ring_spans(ring, begin - head, stretch, &spans.at[used], &spans.length[used])
            used += 2 if spans.length[used + 1] else 1
        begin += stretch
        count -= stretch
    if used < SPANS:
        spans.length[used] = 0
