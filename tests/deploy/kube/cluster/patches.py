"""The three ways in which Helm and kubectl change an object: JSON merge patch, strategic merge patch, server-side apply.

A strategic merge patch merges lists by the keys that Kubernetes' own schemas name. Server-side apply is that of a server with one applier: what is applied
replaces all that was, but for what the server and its controllers write. Who owns which field (managedFields) is not kept.
"""

import copy
import functools
import json

import importlib_resources

from .kinds import VERSION

SERVERS = ("uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp", "ownerReferences")


def merge(old, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def apply(old, wanted):
    result = copy.deepcopy(wanted)
    for key in SERVERS:
        result["metadata"].pop(key, None)
        if key in old["metadata"]:
            result["metadata"][key] = old["metadata"][key]
    if "status" in old:
        result["status"] = old["status"]
    return result


@functools.cache
def definitions():
    file = importlib_resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{VERSION}.0-local" / "_definitions.json"
    return json.loads(file.read_text())["$defs"]


@functools.cache
def name_of(group, kind):
    wanted = {"group": group, "kind": kind, "version": "v1"}
    return next(name for name, schema in definitions().items() if wanted in schema.get("x-kubernetes-group-version-kind", []))


def schema_of(group, kind):
    return definitions()[name_of(group, kind)]


def resolved(schema):
    return definitions()[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def strategic(old, patch, schema):
    """A mapping merged by its schema; an empty schema knows nothing, and lists are replaced there."""
    result = dict(old)
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        inner = resolved(schema.get("properties", {}).get(key, {}))
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = strategic(result.get(key) or {}, value, inner)
        elif isinstance(value, list) and inner.get("x-kubernetes-patch-strategy", "").startswith("merge"):
            result[key] = merged_list(result.get(key) or [], value, inner)
        else:
            result[key] = copy.deepcopy(value)
    for key, kept in patch.items():
        if key == "$retainKeys":
            result = {name: value for name, value in result.items() if name in kept}
        elif key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [one for one in result.get(name, []) if one not in kept]
        elif key.startswith("$setElementOrder/"):
            name = key.partition("/")[2]
            by = resolved(schema.get("properties", {}).get(name, {})).get("x-kubernetes-patch-merge-key")
            place = [one[by] if by else one for one in kept]
            where = lambda one: place.index(one[by] if by else one) if (one[by] if by else one) in place else len(place)
            result[name] = sorted(result.get(name, []), key=where)
    return result


def merged_list(old, patch, schema):
    by = schema.get("x-kubernetes-patch-merge-key")
    if by is None:
        return old + [one for one in patch if one not in old]
    if any(one.get("$patch") == "replace" for one in patch):
        return [one for one in patch if "$patch" not in one]
    result = {one[by]: one for one in old}
    for one in patch:
        if one.get("$patch") == "delete":
            result.pop(one[by], None)
        else:
            result[one[by]] = strategic(result.get(one[by], {}), one, resolved(schema.get("items", {})))
    return list(result.values())
