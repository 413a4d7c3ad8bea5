# Memory that nobody may touch for now: in a build with AddressSanitizer who does is reported.
# Called by: packet, for the free packets that it keeps.
# RFCs: none.

from libc.stddef cimport size_t

cdef extern from *:
    """
    #if defined(__has_feature)
    #if __has_feature(address_sanitizer)
    #define __SANITIZE_ADDRESS__ 1
    #endif
    #endif
    #ifdef __SANITIZE_ADDRESS__
    #include <sanitizer/asan_interface.h>
    #else
    #define ASAN_POISON_MEMORY_REGION(start, size) ((void)(start), (void)(size))
    #define ASAN_UNPOISON_MEMORY_REGION(start, size) ((void)(start), (void)(size))
    #endif
    """
    void poison "ASAN_POISON_MEMORY_REGION"(const void* start, size_t size) noexcept nogil
    void unpoison "ASAN_UNPOISON_MEMORY_REGION"(const void* start, size_t size) noexcept nogil
