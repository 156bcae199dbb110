"""Kubernetes' protobuf, as far as Helm 4 insists on sending it: the Secrets that hold its releases, and how they are to be deleted. Answers are JSON.

In: the bytes of a request. Out: the object, as JSON would have it. The numbers are those of the fields in k8s.io/api and k8s.io/apimachinery.
"""

import base64

from .store import Refused

MAGIC = b"k8s\x00"
TEXT, NUMBER, BYTES = "text", "number", "bytes"
META = {1: ("name", TEXT), 3: ("namespace", TEXT), 5: ("uid", TEXT), 6: ("resourceVersion", TEXT), 11: ("labels", {TEXT}), 12: ("annotations", {TEXT})}
KINDS = {
    "Secret": {1: ("metadata", META), 2: ("data", {BYTES}), 3: ("type", TEXT)},
    "DeleteOptions": {1: ("gracePeriodSeconds", NUMBER), 4: ("propagationPolicy", TEXT)},
}


def decoded(body):
    if not body.startswith(MAGIC):
        raise Refused(400, "BadRequest", "this is not Kubernetes' protobuf")
    envelope = dict(fields(body[len(MAGIC) :]))
    kind = dict(fields(envelope[1]))[2].decode()
    if kind not in KINDS:
        raise Refused(415, "UnsupportedMediaType", f"a {kind} in protobuf")
    return message(envelope[2], KINDS[kind])


def fields(data):
    """Number and value of each field: an int, or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 0:
            value, at = varint(data, at)
        elif key & 7 == 2:
            length, at = varint(data, at)
            value, at = data[at : at + length], at + length
        else:
            raise Refused(400, "BadRequest", f"a field of the wire type {key & 7}")
        yield key >> 3, value


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return value, at


def message(data, known):
    result = {}
    for number, value in fields(data):
        if number not in known:
            continue
        name, form = known[number]
        if isinstance(form, set):
            (inner,) = form
            entry = {1: b"", 2: b"", **dict(fields(value))}
            result.setdefault(name, {})[entry[1].decode()] = plain(entry[2], inner)
        elif isinstance(form, dict):
            result[name] = message(value, form)
        elif value != b"":
            result[name] = plain(value, form)
    return result


def plain(value, form):
    if form is BYTES:
        return base64.b64encode(value).decode()
    return value.decode() if form is TEXT else value
