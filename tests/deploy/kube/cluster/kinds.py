"""Which kinds of objects the API server of these tests has: those that the chart and Helm use, with what a server adds to them by default."""

from dataclasses import dataclass

VERSION = "1.35"


@dataclass(frozen=True)
class Kind:
    group: str
    kind: str
    plural: str
    short: tuple = ()
    namespaced: bool = True

    @property
    def api_version(self):
        return f"{self.group}/v1" if self.group else "v1"


KINDS = [
    Kind("", "Namespace", "namespaces", ("ns",), namespaced=False),
    Kind("", "Pod", "pods", ("po",)),
    Kind("", "Service", "services", ("svc",)),
    Kind("", "Secret", "secrets"),
    Kind("", "ConfigMap", "configmaps", ("cm",)),
    Kind("", "ServiceAccount", "serviceaccounts", ("sa",)),
    Kind("", "PersistentVolumeClaim", "persistentvolumeclaims", ("pvc",)),
    Kind("apps", "Deployment", "deployments", ("deploy",)),
    Kind("apps", "ReplicaSet", "replicasets", ("rs",)),
    Kind("apps", "StatefulSet", "statefulsets", ("sts",)),
    Kind("batch", "Job", "jobs"),
    Kind("policy", "PodDisruptionBudget", "poddisruptionbudgets", ("pdb",)),
    Kind("networking.k8s.io", "NetworkPolicy", "networkpolicies", ("netpol",)),
    Kind("networking.k8s.io", "Ingress", "ingresses", ("ing",)),
]
BY_PLURAL = {(kind.group, kind.plural): kind for kind in KINDS}
BY_KIND = {kind.kind: kind for kind in KINDS}


def with_defaults(found):
    """The defaults that clients look at: Helm's waiting is none where the strategy is not said."""
    spec = found.get("spec", {})
    if found["kind"] == "Deployment":
        spec.setdefault("replicas", 1)
        spec.setdefault("progressDeadlineSeconds", 600)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            strategy.setdefault("rollingUpdate", {"maxSurge": "25%", "maxUnavailable": "25%"})
    elif found["kind"] == "StatefulSet":
        spec.setdefault("replicas", 1)
        spec.setdefault("podManagementPolicy", "OrderedReady")
        spec.setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    elif found["kind"] == "Service":
        spec.setdefault("type", "ClusterIP")
        for port in spec.get("ports", []):
            port.setdefault("protocol", "TCP")
            port.setdefault("targetPort", port["port"])
    elif found["kind"] == "Pod":
        spec.setdefault("restartPolicy", "Always")
        spec.setdefault("terminationGracePeriodSeconds", 30)
    elif found["kind"] == "Secret":
        found.setdefault("type", "Opaque")
    return found
