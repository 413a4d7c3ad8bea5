# The clock of the drivers: nanoseconds that never go back (on POSIX time.monotonic_ns()).
# Called by: engine/. The core never reads it: it is told the time.
# RFCs: none.

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #ifndef PYSTACK_CLOCK
    #define PYSTACK_CLOCK
    #include <stdint.h>
    #ifdef _WIN32
    #define WIN32_LEAN_AND_MEAN
    #include <windows.h>
    static inline int64_t pystack_clock_ns(void)
    {
        LARGE_INTEGER ticks, rate;
        QueryPerformanceCounter(&ticks);
        QueryPerformanceFrequency(&rate);
        return ticks.QuadPart / rate.QuadPart * 1000000000
            + ticks.QuadPart % rate.QuadPart * 1000000000 / rate.QuadPart;
    }
    #else
    #include <time.h>
    static inline int64_t pystack_clock_ns(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    #endif
    #endif
    """
    int64_t clock_ns "pystack_clock_ns" () noexcept nogil

cdef enum:
    NEVER = 0x7FFFFFFFFFFFFFFF      # no deadline
    AT_ONCE = -1                    # a deadline that has passed: do not wait
