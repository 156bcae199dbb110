"""The controllers that make pods: of Deployments by way of ReplicaSets, of StatefulSets. Each looks at what is there and does the next thing.

A rolling update goes by the shares of the strategy, Recreate ends the old pods first; a StatefulSet's pods come one after another and have claims of their
own, which are bound at once to folders of this machine and go with the StatefulSet only where its retention policy says so. What they tell is what Helm waits for.
"""

import copy
import hashlib
import json
import math

from .network import ready_pods
from .store import Follower, Refused, now


def owned_by(found):
    metadata = found["metadata"]
    owner = {"apiVersion": found["apiVersion"], "kind": found["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return [{**owner, "controller": True, "blockOwnerDeletion": True}]


def is_owned_by(found, owner):
    return owner["metadata"]["uid"] in [one["uid"] for one in found["metadata"].get("ownerReferences", [])]


def share(of, text, rounded):
    return rounded(of * int(text[:-1]) / 100) if isinstance(text, str) else text


def condition(kind, is_true, reason):
    return {"type": kind, "status": "True" if is_true else "False", "reason": reason, "lastTransitionTime": now()}


def digest(template):
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


class Controllers(Follower):
    def __init__(self, store):
        self.serial = 0
        super().__init__(store)

    def take(self, changes):
        with self.store.changed:
            for deployment in self.store.find("Deployment"):
                self.deployment(deployment)
            for statefulset in self.store.find("StatefulSet"):
                self.statefulset(statefulset)

    def pods(self, owner):
        return [pod for pod in self.store.find("Pod", owner["metadata"]["namespace"]) if is_owned_by(pod, owner)]

    def ready(self, pods):
        names = {pod["metadata"]["name"] for pod in ready_pods(self.store, {})}
        return [pod for pod in pods if pod["metadata"]["name"] in names]

    def told(self, found, status):
        """Its status, written only where it differs."""
        status["observedGeneration"] = found["metadata"]["generation"]
        old = found.get("status", {})
        for new in status.get("conditions", []):
            for before in old.get("conditions", []):
                if (before["type"], before["status"], before["reason"]) == (new["type"], new["status"], new["reason"]):
                    new["lastTransitionTime"] = before["lastTransitionTime"]
        if old != status:
            self.store.update(self.store.key(found), lambda newest: newest.update(status=status))

    def make_pod(self, owner, template, name, volumes=()):
        metadata = copy.deepcopy(template["metadata"])
        metadata.update(name=name, namespace=owner["metadata"]["namespace"], ownerReferences=owned_by(owner))
        spec = copy.deepcopy(template["spec"])
        spec.setdefault("volumes", []).extend(volumes)
        # As the admission of a server does: without its account there is no pod.
        self.store.get("ServiceAccount", metadata["namespace"], spec.get("serviceAccountName", "default"))
        self.store.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def deployment(self, found):
        namespace, replicas, template = found["metadata"]["namespace"], found["spec"]["replicas"], found["spec"]["template"]
        sets = [one for one in self.store.find("ReplicaSet", namespace) if is_owned_by(one, found)]
        current = next((one for one in sets if one["metadata"]["annotations"]["template"] == digest(template)), None)
        if current is None:
            current = self.make_set(found, template)
            sets.append(current)
        counts = {}
        for one in sets:
            pods = self.pods(one)
            counts[one["metadata"]["name"]] = pods
        mine = counts[current["metadata"]["name"]]
        every = [pod for pods in counts.values() for pod in pods]
        old = [pod for pod in every if pod not in mine]
        alive = [pod for pod in mine if "deletionTimestamp" not in pod["metadata"]]
        rolling = found["spec"]["strategy"].get("rollingUpdate")
        surge = share(replicas, rolling["maxSurge"], math.ceil) if rolling else 0
        missing = share(replicas, rolling["maxUnavailable"], math.floor) if rolling else replicas
        going = [pod for pod in old if "deletionTimestamp" not in pod["metadata"]]
        spare = len(self.ready(every)) - (replicas - missing)
        for pod in going:
            is_ready = bool(self.ready([pod]))
            if not is_ready or spare > 0:
                spare -= is_ready
                self.store.delete("Pod", namespace, pod["metadata"]["name"])
        for pod in alive[replicas:]:
            self.store.delete("Pod", namespace, pod["metadata"]["name"])
        for _ in range(min(replicas - len(alive), replicas + surge - len(every))):
            self.serial += 1
            self.make_pod(current, current["spec"]["template"], f"{current['metadata']['name']}-{self.serial:05d}")
        for one in sets:
            pods = counts[one["metadata"]["name"]]
            self.told(one, {"replicas": len(pods), "readyReplicas": len(self.ready(pods)), "availableReplicas": len(self.ready(pods))})
        ready = self.ready(every)
        is_whole = len(self.ready(mine)) == len(every) == replicas
        conditions = [
            condition("Available", len(ready) >= replicas - missing, "MinimumReplicasAvailable"),
            condition("Progressing", True, "NewReplicaSetAvailable" if is_whole else "ReplicaSetUpdated"),
        ]
        self.told(found, {
            "replicas": len(every), "updatedReplicas": len(mine), "readyReplicas": len(ready), "availableReplicas": len(ready),
            "unavailableReplicas": max(0, replicas - len(ready)), "conditions": conditions,
        })  # fmt: skip

    def make_set(self, deployment, template):
        hashed = {"pod-template-hash": digest(template)}
        labelled = copy.deepcopy(template)
        labelled["metadata"]["labels"].update(hashed)
        metadata = {
            "name": f"{deployment['metadata']['name']}-{digest(template)}", "namespace": deployment["metadata"]["namespace"],
            "labels": labelled["metadata"]["labels"], "annotations": {"template": digest(template)}, "ownerReferences": owned_by(deployment),
        }  # fmt: skip
        selector = {"matchLabels": {**deployment["spec"]["selector"]["matchLabels"], **hashed}}
        spec = {"replicas": deployment["spec"]["replicas"], "selector": selector, "template": labelled}
        return self.store.create({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec})

    def statefulset(self, found):
        name, namespace, spec = found["metadata"]["name"], found["metadata"]["namespace"], found["spec"]
        revision = f"{name}-{digest(spec['template'])}"
        pods = {pod["metadata"]["name"]: pod for pod in self.pods(found)}
        stale = [pod for pod in pods.values() if pod["metadata"]["labels"]["controller-revision-hash"] != revision]
        for pod in stale:
            if "deletionTimestamp" not in pod["metadata"]:
                self.store.delete("Pod", namespace, pod["metadata"]["name"])
        for number in range(spec["replicas"]):
            own = f"{name}-{number}"
            if own not in pods:
                template = copy.deepcopy(spec["template"])
                template["metadata"]["labels"].update({"controller-revision-hash": revision, "statefulset.kubernetes.io/pod-name": own})
                self.make_pod(found, template, own, [self.claim(found, one, own) for one in spec.get("volumeClaimTemplates", [])])
            if own not in pods or not self.ready([pods[own]]):
                break
        ready = len(self.ready(list(pods.values())))
        updated = len(pods) - len(stale)
        self.told(found, {
            "replicas": len(pods), "readyReplicas": ready, "availableReplicas": ready, "currentReplicas": updated, "updatedReplicas": updated,
            "currentRevision": revision, "updateRevision": revision,
        })  # fmt: skip

    def claim(self, statefulset, template, pod):
        metadata = {"name": f"{template['metadata']['name']}-{pod}", "namespace": statefulset["metadata"]["namespace"]}
        metadata["labels"] = statefulset["spec"]["selector"]["matchLabels"]
        if statefulset["spec"].get("persistentVolumeClaimRetentionPolicy", {}).get("whenDeleted") == "Delete":
            metadata["ownerReferences"] = owned_by(statefulset)
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"], "status": {"phase": "Bound"}}
        try:
            self.store.create(claim)
        except Refused as refused:
            # One that is left from before is taken again.
            if refused.reason != "AlreadyExists":
                raise
        return {"name": template["metadata"]["name"], "persistentVolumeClaim": {"claimName": metadata["name"]}}
