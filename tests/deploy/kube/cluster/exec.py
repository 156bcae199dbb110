"""`kubectl exec`, as its WebSocket protocol (v5.channel.k8s.io) has it: each message begins with the number of its channel, 1 for what the command writes,
2 for what it complains of, 3 for how it ended. Nothing is typed in, and there is no terminal.
"""

import base64
import hashlib
import json
import struct

from .store import Refused

PROTOCOL, MAGIC = "v5.channel.k8s.io", b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE = 1, 2, 8


def serve(handler, pod, query):
    if PROTOCOL not in handler.headers.get("Sec-WebSocket-Protocol", ""):
        raise Refused(400, "BadRequest", f"exec is had by WebSocket alone, in the protocol {PROTOCOL}")
    if query.get("stdin", ["false"])[0] == "true" or query.get("tty", ["false"])[0] == "true":
        raise Refused(400, "BadRequest", "nothing can be typed in here")
    key = handler.headers["Sec-WebSocket-Key"].encode()
    handler.send_response(101)
    handler.send_header("Upgrade", "websocket")
    handler.send_header("Connection", "Upgrade")
    handler.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode())
    handler.send_header("Sec-WebSocket-Protocol", PROTOCOL)
    handler.end_headers()
    container = query.get("container", [pod.mains[0]["name"]])[0]
    ended = pod.exec(container, *query["command"], check=False)
    for channel, text in ((1, ended.stdout), (2, ended.stderr)):
        if text:
            send(handler, BINARY, bytes([channel]) + text.encode())
    send(handler, BINARY, b"\x03" + json.dumps(outcome(ended.returncode)).encode())
    send(handler, CLOSE, struct.pack("!H", 1000))
    handler.close_connection = True


def outcome(code):
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    causes = [{"reason": "ExitCode", "message": str(code)}]
    message = f"command terminated with non-zero exit code: exit status {code}"
    return {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": message, "details": {"causes": causes}}


def send(handler, kind, payload):
    """One frame, unmasked, as servers send them."""
    length = len(payload)
    if length < 126:
        size = bytes([length])
    elif length < 1 << 16:
        size = b"\x7e" + struct.pack("!H", length)
    else:
        size = b"\x7f" + struct.pack("!Q", length)
    handler.wfile.write(bytes([0x80 | kind]) + size + payload)
    handler.wfile.flush()
