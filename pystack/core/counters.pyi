from enum import IntEnum

Counter: type[IntEnum]
NAMES: tuple[str, ...]  # of the counters, in lower case, by their numbers
