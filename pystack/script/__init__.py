"""Packet scripts: a language for what a TCP/IP stack must do, and a runner for them.

Called by: the command line, tests.
RFCs: none.
"""
