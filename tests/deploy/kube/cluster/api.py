"""An API server for tests: as much of Kubernetes' HTTP API as Helm and kubectl use for the chart, over HTTP on loopback, for anybody.

Discovery, the verbs on objects, watches as lines of JSON, logs and exec of pods. An object that does not match Kubernetes' own schema, strictly, is refused
as a real server does with fieldValidation=Strict. Not here: users and their rights, admission beyond that, values that schemas let pass, field managers, the status
subresource of clients, answers in protobuf.
"""

import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import kubernetes_validate
import yaml

from . import discovery, exec as execution, patches, protobuf
from .kinds import BY_PLURAL, VERSION
from .store import Refused

PATH = re.compile(
    r"^/(?:api/v1|apis/(?P<group>[a-z0-9.]+)/v1)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>[a-z]+))?$"
)


def parsed_selector(text):
    """Labels that must be so; also what a field selector asks of an object's name."""
    pairs = [re.split(r"==?", part, maxsplit=1) for part in text.split(",") if part]
    if any(len(pair) != 2 for pair in pairs):
        raise Refused(400, "BadRequest", f"a selector that these tests do not know: {text}")
    return {key.strip(): value.strip() for key, value in pairs}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = node = None

    def log_message(self, *_):
        pass

    def do(self):
        url = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(url.query)
        try:
            length = int(self.headers.get("Content-Length") or 0)
            self.body = self.rfile.read(length)
            self.answer(url.path)
        except Refused as refused:
            self.say(refused.code, status(refused))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

    def answer(self, path):
        found = discovery.answer(path) if self.command == "GET" else None
        if found is not None:
            return self.say(200, found)
        # A namespace is in no namespace.
        asked = PATH.match(path) or re.match(r"^/api/v1/(?P<plural>namespaces)/(?P<name>[^/]+)$", path)
        asked = {"group": None, "namespace": None, "name": None, "part": None, **asked.groupdict()} if asked else {}
        kind = BY_PLURAL.get((asked.get("group") or "", asked.get("plural")))
        if kind is None:
            raise Refused(404, "NotFound", f"the server could not find the requested resource: {path}")
        namespace, name, part = asked["namespace"] or "", asked["name"], asked["part"]
        if part == "exec":
            return execution.serve(self, self.node.pod(namespace, name), self.query)
        if part == "log":
            return self.say_text(self.node.pod(namespace, name).log(self.query["container"][0]))
        if part not in (None, "status"):
            raise Refused(404, "NotFound", f"no {part} here")
        verb = {"GET": self.get if name else self.list, "POST": self.post, "PUT": self.put, "PATCH": self.patch, "DELETE": self.delete}
        verb[self.command](kind, namespace, name)

    def first(self, key, default=""):
        return self.query.get(key, [default])[0]

    def get(self, kind, namespace, name):
        self.say(200, self.store.get(kind.kind, namespace, name))

    def list(self, kind, namespace, _):
        selector, fields = parsed_selector(self.first("labelSelector")), parsed_selector(self.first("fieldSelector"))
        matches = lambda one: (
            one["kind"] == kind.kind
            and (not namespace or one["metadata"].get("namespace") == namespace)
            and all(one["metadata"].get("labels", {}).get(key) == value for key, value in selector.items())
            and all(one["metadata"].get(key.removeprefix("metadata.")) == value for key, value in fields.items())
        )
        if self.first("watch") in ("true", "1"):
            return self.watch(kind, matches)
        with self.store.changed:
            items = [one for one in self.store.find(kind.kind) if matches(one)]
            version = str(self.store.version)
        self.say(200, {"apiVersion": kind.api_version, "kind": kind.kind + "List", "metadata": {"resourceVersion": version}, "items": items})

    def watch(self, kind, matches):
        """Changes as they come, until whoever asked has gone or its time is over."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        since = self.first("resourceVersion")
        version = int(since or 0)
        if self.first("sendInitialEvents") == "true" or since in ("", "0"):
            with self.store.changed:
                version = self.store.version
                present = [one for one in self.store.find(kind.kind) if matches(one)]
            for one in present:
                self.event("ADDED", one)
            if self.first("sendInitialEvents") == "true":
                end = {"resourceVersion": str(version), "annotations": {"k8s.io/initial-events-end": "true"}}
                self.event("BOOKMARK", {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": end})
        waited = 0
        while waited < int(self.first("timeoutSeconds", "600")) and not self.server.over.is_set():
            changes = self.store.changes_after(version, 1)
            waited += 1
            for number, event, found in changes:
                version = number
                if matches(found):
                    self.event(event, found)
        self.wfile.write(b"0\r\n\r\n")

    def event(self, event, found):
        line = json.dumps({"type": event, "object": found}).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()

    def post(self, kind, namespace, _):
        found = self.taken(kind, namespace, self.sent())
        if kind.namespaced:
            self.store.get("Namespace", "", namespace)
        self.say(201, found if self.is_dry() else self.store.create(found))

    def put(self, kind, namespace, _):
        found = self.taken(kind, namespace, self.sent())
        self.say(200, found if self.is_dry() else self.store.replace(found))

    def patch(self, kind, namespace, name):
        form, sent = self.headers["Content-Type"].partition(";")[0], self.sent()
        with self.store.changed:
            try:
                old = self.store.get(kind.kind, namespace, name)
            except Refused:
                if form != "application/apply-patch+yaml":
                    raise
                found = self.taken(kind, namespace, sent)
                return self.say(201, found if self.is_dry() else self.store.create(found))
            if form == "application/merge-patch+json":
                found = patches.merge(old, sent)
            elif form == "application/strategic-merge-patch+json":
                found = patches.strategic(old, sent, patches.schema_of(kind.group, kind.kind))
            elif form == "application/apply-patch+yaml":
                found = patches.apply(old, sent)
            else:
                raise Refused(415, "UnsupportedMediaType", form)
            found = self.taken(kind, namespace, found)
            found = found if self.is_dry() else self.store.replace(found)
        self.say(200, found)

    def delete(self, kind, namespace, name):
        options = self.sent() if self.body else {}
        if options.get("propagationPolicy") == "Orphan":
            raise Refused(400, "BadRequest", "nothing here orphans anything")
        if self.is_dry():
            return self.say(200, self.store.get(kind.kind, namespace, name))
        self.say(200, self.store.delete(kind.kind, namespace, name, options.get("gracePeriodSeconds")))

    def is_dry(self):
        return self.first("dryRun") == "All"

    def sent(self):
        form = self.headers.get("Content-Type", "")
        if "protobuf" in form:
            return protobuf.decoded(self.body)
        return yaml.safe_load(self.body) if "yaml" in form else json.loads(self.body)

    def taken(self, kind, namespace, found):
        """An object as a client sent it, if a server would take it."""
        found.setdefault("apiVersion", kind.api_version)
        found.setdefault("kind", kind.kind)
        if kind.namespaced:
            found["metadata"].setdefault("namespace", namespace)
        for key in ("managedFields", "generateName", "selfLink"):
            found["metadata"].pop(key, None)
        # Null is absent: clients in Go write a creationTimestamp so.
        found["metadata"] = {key: value for key, value in found["metadata"].items() if value is not None}
        try:
            kubernetes_validate.validate({key: value for key, value in found.items() if key != "status"}, VERSION, strict=True)
        except kubernetes_validate.ValidationError as wrong:
            place = ".".join(map(str, wrong.path))
            raise Refused(422, "Invalid", f'{kind.kind} "{found["metadata"].get("name")}" is invalid: {place}: {wrong.message[:500]}') from wrong
        return found

    def say(self, code, found):
        self.say_bytes(code, json.dumps(found).encode(), "application/json")

    def say_text(self, text):
        self.say_bytes(200, text.encode(), "text/plain")

    def say_bytes(self, code, body, form):
        self.send_response(code)
        self.send_header("Content-Type", form)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def status(refused):
    said = {"status": "Failure", "message": refused.message, "reason": refused.reason, "code": refused.code}
    return {"apiVersion": "v1", "kind": "Status", "metadata": {}, **said}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, store, node, port):
        self.over = threading.Event()
        super().__init__(("127.0.0.1", port), type("Bound", (Handler,), {"store": store, "node": node}))
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def close(self):
        self.over.set()
        self.shutdown()
        self.thread.join()
        self.server_close()
