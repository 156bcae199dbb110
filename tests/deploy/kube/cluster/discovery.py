"""What a client asks before anything else: the server's version, its groups and kinds, and whether it validates fields itself."""

import hashlib

from .kinds import KINDS, VERSION

VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]
GROUPS = sorted({kind.group for kind in KINDS} - {""})


def answer(path):
    """The document at a path; None where it is none of these."""
    major, minor = VERSION.split(".")
    if path == "/version":
        return {"major": major, "minor": minor, "gitVersion": f"v{VERSION}.0", "platform": "linux/amd64"}
    if path in ("/healthz", "/livez", "/readyz"):
        return {"status": "ok"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in GROUPS]}
    if path == "/openapi/v3":
        return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest(name)}"} for name in map(root, ["", *GROUPS])}}
    for name in ["", *GROUPS]:
        if path == f"/{root(name)}":
            return resources(name)
        if path == f"/openapi/v3/{root(name)}":
            return schema(name)
        if name and path == f"/apis/{name}":
            return {"kind": "APIGroup", "apiVersion": "v1", **group(name)}
    return None


def root(group):
    return f"apis/{group}/v1" if group else "api/v1"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def group(name):
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def resources(group):
    mine = [kind for kind in KINDS if kind.group == group]
    listed = [
        {"name": kind.plural, "singularName": kind.kind.lower(), "namespaced": kind.namespaced, "kind": kind.kind, "verbs": VERBS, "shortNames": list(kind.short)}
        for kind in mine
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/v1" if group else "v1", "resources": listed}


def schema(group):
    """Only that each kind takes fieldValidation: then clients leave the validation to the server."""
    paths = {}
    for kind in (kind for kind in KINDS if kind.group == group):
        takes = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string", "uniqueItems": True}}]
        operation = {
            "parameters": takes,
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": {"group": group, "kind": kind.kind, "version": "v1"},
        }
        place = "/namespaces/{namespace}" if kind.namespaced else ""
        paths[f"/{root(group)}{place}/{kind.plural}/{{name}}"] = {"patch": operation}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": f"v{VERSION}.0"}, "paths": paths, "components": {"schemas": {}}}
