"""Congestion control: one interface, and the algorithms beside each other."""
