from pystack.engine.engine import Engine

STATES: tuple[str, ...]

def connections(
    engine: Engine, limit: int
) -> list[tuple[bytes, int, bytes, int, str, bool, int, int, int, int]]: ...
