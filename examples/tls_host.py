"""HTTPS on a virtual host: the standard library's server and TLS, at an address of a stack.

    sudo python tls_host.py 10.3.0.0/24 10.3.0.5 cert.pem
    curl --cacert cert.pem https://10.3.0.5/

See docs/how-to/tls-host.md.
"""

import ssl
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Listens on a virtual host; each connection shakes hands in its own thread."""

    daemon_threads = True

    def __init__(self, stack, address, context, handler=SimpleHTTPRequestHandler):
        super().__init__(address, handler, bind_and_activate=False)
        self.socket.close()
        self.server_name, self.server_port = address
        self.socket = context.wrap_socket(
            stack.create_server(address), server_side=True, do_handshake_on_connect=False
        )

    def finish_request(self, request, client_address):
        request.settimeout(30)  # also of the handshake, which the first read begins
        super().finish_request(request, client_address)


def context_from(pem):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def main(network, host, pem):
    from pystack import Stack, TunDevice

    with (
        Stack(network, device=TunDevice("tls0")) as stack,
        Server(stack, (host, 443), context_from(pem)) as server,
    ):
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:4])
