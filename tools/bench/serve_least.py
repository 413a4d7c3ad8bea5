"""The least that a Python program does to answer a ping on a TUN interface, without a stack.

usage: python serve_least.py NETWORK      until it is ended

It has the libraries that `pystack serve` has: what they take to load is the limit for that.
Called by: trial. Nothing here is pystack's.
"""

from __future__ import annotations

import fcntl
import os
import struct
import sys
from ipaddress import ip_network

import click
from pyroute2 import IPRoute

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
NAME = "least"
ECHO_REQUEST, ECHO_REPLY = 8, 0
ICMP = 1


@click.command()
@click.argument("network")
def main(network: str) -> None:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", NAME.encode(), IFF_TUN | IFF_NO_PI))
    net = ip_network(network)
    with IPRoute() as route:
        (index,) = route.link_lookup(ifname=NAME)
        route.addr("add", index=index, address=str(net[1]), prefixlen=net.prefixlen)
        route.link("set", index=index, state="up")
    while True:
        answer(tun, bytearray(os.read(tun, 2048)))


def answer(tun: int, packet: bytearray) -> None:
    """An echo request goes back as a reply, its checksum mended."""
    if packet[0] != 0x45 or packet[9] != ICMP or packet[20] != ECHO_REQUEST:
        return
    packet[12:16], packet[16:20] = packet[16:20], packet[12:16]
    packet[20] = ECHO_REPLY
    checksum = int.from_bytes(packet[22:24], "big") + (ECHO_REQUEST << 8)
    packet[22:24] = ((checksum & 0xFFFF) + (checksum >> 16)).to_bytes(2, "big")
    os.write(tun, packet)


if __name__ == "__main__":
    sys.exit(main())
