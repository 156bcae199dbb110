"""An SSH server on loopback that forwards connections, for the user tunnel with the password from the environment.

Prints its port, then serves until its input ends.
"""

import os
import socket
import sys
import threading

import paramiko


class Forwarding(paramiko.ServerInterface):
    def __init__(self):
        self.targets = {}

    def get_allowed_auths(self, username):
        return "password"

    def check_auth_password(self, username, password):
        good = username == "tunnel" and password == os.environ["TUNNEL_PASSWORD"]
        return paramiko.AUTH_SUCCESSFUL if good else paramiko.AUTH_FAILED

    def check_channel_direct_tcpip_request(self, chanid, origin, destination):
        self.targets[chanid] = destination
        return paramiko.OPEN_SUCCEEDED


def pump(source, sink):
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    except OSError:
        pass
    finally:
        source.close()
        sink.close()


def serve(client, key):
    transport = paramiko.Transport(client)
    transport.add_server_key(key)
    server = Forwarding()
    transport.start_server(server=server)
    while transport.is_active():
        channel = transport.accept(1)
        if channel is None:
            continue
        target = socket.create_connection(server.targets.pop(channel.get_id()))
        threading.Thread(target=pump, args=(channel, target), daemon=True).start()
        threading.Thread(target=pump, args=(target, channel), daemon=True).start()


def accept(listener, key):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, key), daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
threading.Thread(target=accept, args=(listener, paramiko.RSAKey.generate(2048)), daemon=True).start()
sys.stdin.read()
