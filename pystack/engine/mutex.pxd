# Mutex: for the short critical sections of the engine: of pthreads, or Windows' SRW lock.
# Called by: engine, sleeper, watch.
# RFCs: none.
#
# Python's own locks are semaphores, and up to CPython 3.12 read the clock each time they are asked.
# They remain where a thread waits for another one to give it something.

cdef extern from *:
    """
    #ifndef PYSTACK_MUTEX
    #define PYSTACK_MUTEX
    #ifdef _WIN32
    #define WIN32_LEAN_AND_MEAN
    #include <windows.h>
    typedef SRWLOCK pystack_mutex;
    static inline int pystack_mutex_open(SRWLOCK *mutex) { InitializeSRWLock(mutex); return 0; }
    static inline void pystack_mutex_close(SRWLOCK *mutex) { (void)mutex; }
    static inline int pystack_mutex_try(SRWLOCK *mutex)
    {
        return TryAcquireSRWLockExclusive(mutex) != 0;
    }
    static inline void pystack_mutex_lock(SRWLOCK *mutex) { AcquireSRWLockExclusive(mutex); }
    static inline void pystack_mutex_unlock(SRWLOCK *mutex) { ReleaseSRWLockExclusive(mutex); }
    #else
    #include <pthread.h>
    typedef pthread_mutex_t pystack_mutex;
    static inline int pystack_mutex_open(pthread_mutex_t *mutex)
    {
        return pthread_mutex_init(mutex, NULL) ? -1 : 0;
    }
    static inline void pystack_mutex_close(pthread_mutex_t *mutex) { pthread_mutex_destroy(mutex); }
    static inline int pystack_mutex_try(pthread_mutex_t *mutex)
    {
        return pthread_mutex_trylock(mutex) == 0;
    }
    static inline void pystack_mutex_lock(pthread_mutex_t *mutex) { pthread_mutex_lock(mutex); }
    static inline void pystack_mutex_unlock(pthread_mutex_t *mutex) { pthread_mutex_unlock(mutex); }
    #endif
    #endif
    """
    ctypedef struct Mutex "pystack_mutex":
        pass
    # 0, or -1 when out of memory.
    int mutex_open "pystack_mutex_open" (Mutex* mutex) noexcept nogil
    void mutex_close "pystack_mutex_close" (Mutex* mutex) noexcept nogil
    bint mutex_try "pystack_mutex_try" (Mutex* mutex) noexcept nogil
    void mutex_lock "pystack_mutex_lock" (Mutex* mutex) noexcept nogil
    # By the thread that has locked it.
    void mutex_unlock "pystack_mutex_unlock" (Mutex* mutex) noexcept nogil
