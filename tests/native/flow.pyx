# Flow table and SipHash, as tests see them.
# Called by: tests/unit/test_flow, tests/unit/exhaustion.
# RFCs: none.

from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from pystack.core.memory.flow cimport (
    FlowKey, FlowTable, flow_find, flow_insert, flow_next, flow_remove, flow_table_init,
    flow_table_release,
)
from pystack.core.memory.flow cimport siphash as c_siphash


def siphash(uint64_t k0, uint64_t k1, bytes data):
    cdef uint64_t[2] secret = [k0, k1]
    return c_siphash(secret, data, <uint32_t>len(data))


cdef class Key:
    """A flow key at an address of its own. It must outlive its stay in a table."""
    cdef FlowKey key

    def __init__(self, local=0, remote=0, local_port=0, remote_port=0, protocol=0, prefix_length=0):
        self.key.local.hi, self.key.local.lo = local >> 64, local & 0xFFFFFFFFFFFFFFFF
        self.key.remote.hi, self.key.remote.lo = remote >> 64, remote & 0xFFFFFFFFFFFFFFFF
        self.key.local_port = local_port
        self.key.remote_port = remote_port
        self.key.protocol = protocol
        self.key.prefix_length = prefix_length

    def __bytes__(self):
        return (<const char*>&self.key)[:sizeof(FlowKey)]


cdef class Table:
    cdef FlowTable table
    cdef dict keys      # address of a FlowKey -> its Key

    def __cinit__(self, uint64_t k0=0, uint64_t k1=0):
        cdef uint64_t[2] secret = [k0, k1]
        flow_table_init(&self.table, secret)
        self.keys = {}

    def __dealloc__(self):
        flow_table_release(&self.table)

    @property
    def count(self):
        return self.table.count

    @property
    def slots(self):
        return self.table.mask + 1 if self.table.slots != NULL else 0

    @property
    def hashes(self):
        return [self.table.hashes[i] for i in range(self.slots) if self.table.slots[i] != NULL]

    def insert(self, Key key not None):
        code = flow_insert(&self.table, &key.key)
        if code == 0:
            self.keys[<uintptr_t>&key.key] = key
        return code

    def find(self, Key key not None):
        return self.keys.get(<uintptr_t>flow_find(&self.table, &key.key))

    def remove(self, Key key not None):
        flow_remove(&self.table, &key.key)
        self.keys.pop(<uintptr_t>&key.key, None)

    def walk(self):
        cdef uint32_t cursor = 0
        cdef FlowKey* key = flow_next(&self.table, &cursor)
        while key != NULL:
            yield self.keys[<uintptr_t>key]
            key = flow_next(&self.table, &cursor)

    def release(self):
        flow_table_release(&self.table)
        self.keys.clear()
