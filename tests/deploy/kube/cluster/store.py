"""What the API server knows: the objects, a version for each change, and the changes for whoever watches.

Laws: what goes in and out is a copy; each change has the next version; what an owner's deletion leaves without an owner is deleted as well; a pod that has
containers is only marked as deleted, until its node has ended them.
"""

import copy
import datetime
import threading
import uuid

from .kinds import BY_KIND, with_defaults


class Refused(Exception):
    """What a server answers with a Status: a code and a reason."""

    def __init__(self, code, reason, message):
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def selected(found, selector):
    labels = found["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in selector.items())


class Store:
    def __init__(self):
        self.changed = threading.Condition(threading.RLock())
        self.objects, self.log, self.version, self.addresses = {}, [], 0, 0
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}, "status": {"phase": "Active"}})
        self.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}})

    @staticmethod
    def key(found):
        return found["kind"], found["metadata"].get("namespace", ""), found["metadata"]["name"]

    def get(self, kind, namespace, name):
        with self.changed:
            found = self.objects.get((kind, namespace, name))
            if found is None:
                raise Refused(404, "NotFound", f'{BY_KIND[kind].plural} "{name}" not found')
            return copy.deepcopy(found)

    def find(self, kind, namespace=None, selector=None):
        with self.changed:
            mine = [one for (k, n, _), one in sorted(self.objects.items()) if k == kind and namespace in (None, n)]
            return [copy.deepcopy(one) for one in mine if selected(one, selector or {})]

    def create(self, found):
        found = with_defaults(copy.deepcopy(found))
        with self.changed:
            if self.key(found) in self.objects:
                name = found["metadata"]["name"]
                raise Refused(409, "AlreadyExists", f'{BY_KIND[found["kind"]].plural} "{name}" already exists')
            found["metadata"].update(uid=str(uuid.uuid4()), creationTimestamp=now(), generation=1)
            if found["kind"] == "Service" and "clusterIP" not in found["spec"]:
                self.addresses += 1
                found["spec"]["clusterIP"] = f"10.96.{self.addresses // 250}.{self.addresses % 250 + 1}"
            return self._put("ADDED", found)

    def replace(self, found):
        """A whole object for the one that is there; its version, if it says one, must be the newest."""
        found = with_defaults(copy.deepcopy(found))
        with self.changed:
            old = self.get(*self.key(found))
            wanted = found["metadata"].get("resourceVersion")
            if wanted not in (None, "", old["metadata"]["resourceVersion"]):
                raise Refused(409, "Conflict", "the object has been modified; please apply your changes to the latest version and try again")
            for key in ("uid", "creationTimestamp", "generation", "deletionTimestamp"):
                if key in old["metadata"]:
                    found["metadata"][key] = old["metadata"][key]
            if found["kind"] == "Service":
                found["spec"].setdefault("clusterIP", old["spec"]["clusterIP"])
            if found.get("spec") != old.get("spec"):
                found["metadata"]["generation"] += 1
            found["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            return old if found == old else self._put("MODIFIED", found)

    def update(self, key, change):
        """`change` is called with a copy of the newest; nothing happens where the object is gone."""
        with self.changed:
            if key in self.objects:
                found = copy.deepcopy(self.objects[key])
                change(found)
                return self.replace(found)

    def delete(self, kind, namespace, name, grace=None):
        with self.changed:
            found = self.get(kind, namespace, name)
            if kind == "Pod" and found.get("status", {}).get("podIP") and grace != 0:
                if "deletionTimestamp" not in found["metadata"]:
                    found["metadata"]["deletionTimestamp"] = now()
                    found["metadata"]["deletionGracePeriodSeconds"] = found["spec"]["terminationGracePeriodSeconds"]
                    self._put("MODIFIED", found)
                return found
            return self.remove(found)

    def remove(self, found):
        with self.changed:
            if self.objects.pop(self.key(found), None) is None:
                return found
            self._tell("DELETED", found)
            uid = found["metadata"]["uid"]
            for one in list(self.objects.values()):
                if uid in [owner["uid"] for owner in one["metadata"].get("ownerReferences", [])]:
                    self.delete(*self.key(one))
            return found

    def _put(self, event, found):
        self.objects[self.key(found)] = found
        self._tell(event, found)
        return copy.deepcopy(found)

    def _tell(self, event, found):
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        self.log.append((self.version, event, copy.deepcopy(found)))
        self.changed.notify_all()

    def changes_after(self, version, within):
        """Those after a version; waits for some."""
        with self.changed:
            self.changed.wait_for(lambda: self.version > version, within)
            # Each change has one version, and the first is 1.
            return self.log[version:]


class Follower:
    """Looks at the changes of a store in a thread of its own, from its creation until it is closed. What goes wrong there ends it, and is kept."""

    def __init__(self, store):
        self.store, self.over, self.failure = store, threading.Event(), None
        self.thread = threading.Thread(target=self._follow)
        self.thread.start()

    def close(self):
        self.over.set()
        self.thread.join()

    def take(self, changes):
        """Does what these changes call for."""
        raise NotImplementedError

    def _follow(self):
        version = 0
        while not self.over.is_set():
            changes = self.store.changes_after(version, 0.5)
            if changes:
                version = changes[-1][0]
                try:
                    self.take(changes)
                except Exception as failure:
                    self.failure = failure
                    raise
