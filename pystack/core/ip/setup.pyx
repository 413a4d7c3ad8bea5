# IP setup: makes and releases the IP layer.
# Called by: stack.
# RFCs: none.

from libc.string cimport memset
from pystack.core.context cimport Context
from pystack.core.ip.doorman cimport doorman_close
from pystack.core.ip.fragments cimport fragments_init, fragments_release
from pystack.core.ip.icmp cimport ICMP_ERRORS_BURST, ICMP_ERRORS_PER_SECOND
from pystack.core.ip.identification cimport identification_init
from pystack.core.ip.layer cimport IpLayer
from pystack.core.ip.membership cimport membership_init, membership_release
from pystack.core.ip.networks cimport networks_release
from pystack.core.ip.path_mtu cimport path_mtu_init, path_mtu_release
from pystack.core.ip.policy cimport policy_init, policy_release
from pystack.core.ip.rate_limit cimport rate_limit_init
from pystack.core.ip.token_bucket cimport bucket_init


cdef int ip_init(IpLayer* ip, Context* context) noexcept nogil:
    """Make a layer without networks; the context has its secret, its random numbers and its time.

    0, or -1 when out of memory: then nothing is held.
    """
    memset(ip, 0, sizeof(IpLayer))
    ip.context = context
    policy_init(ip)
    path_mtu_init(ip)
    identification_init(&ip.identification, &context.random)
    bucket_init(&ip.icmp_errors, context.now, ICMP_ERRORS_PER_SECOND, ICMP_ERRORS_BURST)
    rate_limit_init(&ip.icmp_destinations, context.secret)
    if fragments_init(ip) < 0:
        return -1
    if membership_init(ip) < 0:
        fragments_release(ip)
        return -1
    return 0


cdef void ip_release(IpLayer* ip) noexcept nogil:
    """Free all that the layer holds; packets in the context's queues are the stack's."""
    doorman_close(ip)
    membership_release(ip)
    fragments_release(ip)
    path_mtu_release(ip)
    policy_release(ip)
    networks_release(ip)
