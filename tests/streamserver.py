#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What nginx and haproxy of streamlab.py have behind them, and what they cannot do themselves:
HTTP/1.1 with sums of what comes and with trailers (port 8000), WebSocket echo (8081), a stream of
HTTP/2 that answers while it is asked (9444).  In a folder with server.crt and server.key."""
import asyncio
import hashlib
import http.server
import socket
import ssl
import threading

import h2.config
import h2.connection
import h2.events
import websockets


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def body(self):
        """Sum and trailers of a request"""
        h, trailers = hashlib.sha256(), []
        if self.headers.get("Transfer-Encoding") == "chunked":
            while n := int(self.rfile.readline(), 16):
                h.update(self.rfile.read(n))
                self.rfile.readline()
            while (line := self.rfile.readline().strip()):
                trailers.append(line.decode())
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, 1 << 18))
            if not piece:
                raise ConnectionError
            h.update(piece)
            left -= len(piece)
        return h.hexdigest(), trailers

    def do_PUT(self):
        total, trailers = self.body()
        text = (" ".join([total] + trailers) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_PUT

    def do_GET(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Trailer", "X-Sum")
        self.end_headers()
        data, h = b"0123456789" * 1000, hashlib.sha256()
        for _ in range(20):
            h.update(data)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\nX-Sum: %s\r\n\r\n" % h.hexdigest().encode())

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 512


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def web_sockets():
    async with websockets.serve(echo, None, 8081, max_size=None):
        await asyncio.Future()


def stream(sock):
    """One connection of HTTP/2 whose streams' data comes back at once"""
    c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    c.initiate_connection()
    sock.sendall(c.data_to_send())
    late = []
    while data := sock.recv(65536):
        for e in c.receive_data(data):
            if isinstance(e, h2.events.RequestReceived):
                c.send_headers(e.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
            elif isinstance(e, h2.events.DataReceived):
                c.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
                c.send_data(e.stream_id, e.data.upper())
            elif isinstance(e, h2.events.TrailersReceived):
                late = list(e.headers)
            elif isinstance(e, h2.events.StreamEnded):
                c.send_headers(e.stream_id, [("grpc-status", "0")] + late, end_stream=True)
        sock.sendall(c.data_to_send())


def streams():
    ctx = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ctx.load_cert_chain("server.crt", "server.key")
    ctx.set_alpn_protocols(["h2"])
    listener = socket.create_server(("::", 9444), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=one, args=(ctx, sock), daemon=True).start()


def one(ctx, sock):
    try:
        with ctx.wrap_socket(sock, server_side=True) as s:
            stream(s)
    except OSError:
        pass


threading.Thread(target=Server(("::", 8000), Origin).serve_forever, daemon=True).start()
threading.Thread(target=streams, daemon=True).start()
asyncio.run(web_sockets())
