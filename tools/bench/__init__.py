"""The bench of pystack: systems side by side in one run. `python tools/bench --help`."""
