NAMES: tuple[str, ...]  # of the algorithms, by their numbers
