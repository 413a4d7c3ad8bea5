# The MSG_ flags of this system's send and recv; 0 where it lacks one.
# Called by: tcp, datagram.
# RFCs: none.

cdef extern from *:
    """
    #ifndef _WIN32
    #include <sys/socket.h>
    #else
    #include <winsock2.h>
    #endif
    #ifndef MSG_DONTWAIT
    #define MSG_DONTWAIT 0
    #endif
    #ifndef MSG_WAITALL
    #define MSG_WAITALL 0
    #endif
    #ifndef MSG_TRUNC
    #define MSG_TRUNC 0
    #endif
    #ifndef MSG_MORE
    #define MSG_MORE 0
    #endif
    #ifndef MSG_ERRQUEUE
    #define MSG_ERRQUEUE 0
    #endif
    #ifndef MSG_FASTOPEN
    #define MSG_FASTOPEN 0
    #endif
    """
    const int MSG_OOB
    const int MSG_PEEK
    const int MSG_DONTWAIT
    const int MSG_WAITALL
    const int MSG_TRUNC
    const int MSG_MORE
    const int MSG_ERRQUEUE
    const int MSG_FASTOPEN
