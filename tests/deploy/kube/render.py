"""The chart rendered over a matrix of values by both majors of Helm, and judged without a cluster.

By the schemas of two versions of Kubernetes; by what those do not see (enums, mounts, references, names); by the program itself, which reads the settings
that the chart writes; and by Python, which compiles the base. The overlay for Apache's own chart is judged by the keys that that chart documents.
"""

import ast
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import kubernetes_validate
import yaml

from chart import CHART, HERE, MAJORS, PROGRAM, RELEASE, helm, merged, rendered

KUBERNETES = ("1.29", "1.35")
LEAST = {
    "zookeeper": {"connect": "zk1:2181,zk2:2181"},
    "superset": {"secret": {"databaseUri": "postgresql://u:p@db/superset", "celeryBroker": "redis://redis:6379/0"}},
}
EVERYTHING = {
    "fullnameOverride": "a-name-that-is-rather-long-but-still-within-bounds",
    "commonLabels": {"team": "data"},
    "imagePullSecrets": [{"name": "registry"}],
    "superset": {
        "image": {"digest": "sha256:" + "a" * 64},
        "base": "ROW_LIMIT = 5\n\nMAPBOX_API_KEY = ''",
        "initialConfig": {"FEATURE_FLAGS": {"ALERT_REPORTS": True}},
        "extraEnv": [{"name": "A", "value": "b"}],
        "extraEnvFrom": [{"configMapRef": {"name": "more"}}],
        "extraVolumes": [{"name": "drivers", "emptyDir": {}}, {"name": "tls", "secret": {"secretName": "zookeeper-tls"}}],
        "extraVolumeMounts": [{"name": "drivers", "mountPath": "/drivers"}],
    },
    "agent": {
        "cluster": "production",
        "labels": {"zone": "1"},
        "username": "setkeeper",
        "secret": {"zookeeperPassword": "canary-zk", "supersetPassword": "canary-superset"},
        "settings": {"rollout": {"slots": 2}, "render": {"allow_env": ["A"]}, "log": {"format": "json"}},
        "extraEnv": [{"name": "SETKEEPER_SECRET_SALES", "valueFrom": {"secretKeyRef": {"name": "sales", "key": "password"}}}],
        "extraEnvFrom": [{"secretRef": {"name": "still-more"}}],
        "extraVolumeMounts": [{"name": "tls", "mountPath": "/run/secrets/tls", "readOnly": True}],
    },
    "zookeeper": {"username": "setkeeper"},
    "web": {"podLabels": {"tier": "front"}, "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]},
    "metrics": {"enabled": True, "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "120"},
        "hosts": [{"host": "superset.example"}, {"host": "*.bi.example", "paths": [{"path": "/superset", "pathType": "Exact"}]}],
        "tls": [{"hosts": ["superset.example"], "secretName": "superset-tls"}],
    },
    "networkPolicy": {"enabled": True, "from": [{"podSelector": {}}], "metricsFrom": [{"namespaceSelector": {}}]},
}
TRIAL = {"zookeeper": {"enabled": True}, "postgresql": {"enabled": True}, "redis": {"enabled": True}}
EXISTING = {
    "zookeeper": {"connect": "zk:2181"},
    "superset": {"existingSecret": "mine", "initialConfig": None},
    "agent": {"existingSecret": "mine-too"},
    "migrate": {"createAccount": False},
    "serviceAccount": {"create": False},
    "podDisruptionBudget": {"enabled": False},
    "worker": {"enabled": False},
    "beat": {"enabled": False},
}
SETS = {"least": LEAST, "everything": merged(LEAST, EVERYTHING), "trial": TRIAL, "existing": EXISTING}
MODES = {
    "sidecar": {},
    "own": {"agent": {"runIn": "own"}},
    "supervisor": {"mode": "supervisor"},
    "unmigrated": {"migrate": {"enabled": False}},
}
MATRIX = {f"{one}, {other}": merged(SETS[one], MODES[other]) for one, other in itertools.product(SETS, MODES)}

# What the schemas let pass although a server would not.
ENUMS = {
    "imagePullPolicy": {"Always", "IfNotPresent", "Never"},
    "restartPolicy": {"Always", "Never"},
    "protocol": {"TCP"},
    "whenUnsatisfiable": {"DoNotSchedule", "ScheduleAnyway"},
    "pathType": {"Exact", "Prefix"},
}


def pods(objects):
    for found in objects:
        if found["kind"] == "Pod":
            yield found["metadata"]["name"], found["spec"]
        elif "template" in found.get("spec", {}):
            yield found["metadata"]["name"], found["spec"]["template"]["spec"]


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def everywhere(value):
    if isinstance(value, dict):
        yield from value.items()
        for inner in value.values():
            yield from everywhere(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everywhere(inner)


def own(objects, kind, name):
    return next(found for found in objects if found["kind"] == kind and found["metadata"]["name"].endswith(name))


class Chart(unittest.TestCase):
    def each(self):
        for (name, values), major in itertools.product(MATRIX.items(), MAJORS):
            with self.subTest(values=name, helm=major):
                yield rendered(major, values)

    def test_lint_finds_nothing(self):
        for (name, values), major in itertools.product({"defaults": {}, **MATRIX}.items(), MAJORS):
            with self.subTest(values=name, helm=major):
                helm(major, "lint", "--strict", CHART, values=values)

    def test_both_majors_render_the_same(self):
        # What is made at random differs from run to run.
        text = re.compile(r"(SUPERSET_SECRET_KEY|SETKEEPER_SECRET_SUPERSET): .*")
        for name, values in MATRIX.items():
            first, second = (text.sub("", helm(major, "template", RELEASE, CHART, values=values).stdout) for major in MAJORS)
            self.assertEqual(first, second, name)

    def test_a_server_would_take_every_object(self):
        for objects in self.each():
            self.assertEqual(len({(found["kind"], found["metadata"]["name"]) for found in objects}), len(objects))
            for found, version in itertools.product(objects, KUBERNETES):
                # A kind that others define.
                if found["kind"] != "ServiceMonitor":
                    kubernetes_validate.validate(found, version, strict=True)
                self.assertRegex(found["metadata"]["name"], r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")

    def test_what_schemas_let_pass_is_right(self):
        for objects in self.each():
            for key, value in everywhere(objects):
                if key in ENUMS and isinstance(value, str):
                    self.assertIn(value, ENUMS[key], key)
            for deployment in (found for found in objects if found["kind"] == "Deployment"):
                strategy = deployment["spec"].get("strategy", {}).get("type", "RollingUpdate")
                self.assertEqual(strategy, "Recreate" if deployment["metadata"]["name"].endswith("-beat") else "RollingUpdate")
            for name, spec in pods(objects):
                volumes = [volume["name"] for volume in spec["volumes"]] if "volumes" in spec else ["data"]
                self.assertEqual(len(set(volumes)), len(volumes), name)
                names = [container["name"] for container in containers(spec)]
                self.assertEqual(len(set(names)), len(names), name)
                for container in containers(spec):
                    mounts = container.get("volumeMounts", [])
                    paths = [mount["mountPath"] for mount in mounts]
                    self.assertEqual(len(set(paths)), len(paths), f"{name}: a path is mounted twice")
                    self.assertLessEqual({mount["name"] for mount in mounts}, set(volumes), name)
                    variables = [variable["name"] for variable in container.get("env", [])]
                    self.assertEqual(len(set(variables)), len(variables), f"{name}: a variable is given twice")
                    ports = {port["name"] for port in container.get("ports", [])}
                    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                        asked = container.get(probe, {}).get("httpGet", {}).get("port")
                        self.assertIn(asked, ports | {None}, name)

    def test_what_is_named_is_there(self):
        given = {"mine", "mine-too", "registry", "sales", "more", "still-more"}
        for objects in self.each():
            made = {found["metadata"]["name"] for found in objects if found["kind"] in ("ConfigMap", "Secret")}
            for name, spec in pods(objects):
                named = {value["name"] for key, value in everywhere(spec) if key in ("configMapRef", "secretRef", "configMap", "secretKeyRef")}
                self.assertLessEqual(named, made | given, name)
            for service in (found for found in objects if found["kind"] == "Service"):
                selector = service["spec"]["selector"].items()
                templates = [found["spec"]["template"]["metadata"]["labels"].items() for found in objects if "template" in found.get("spec", {})]
                self.assertTrue(any(selector <= labels for labels in templates), service["metadata"]["name"])

    def test_nobody_has_more_rights_than_needed(self):
        for objects in self.each():
            kinds = {found["kind"] for found in objects}
            self.assertFalse(kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}, kinds)
            for account in (found for found in objects if found["kind"] == "ServiceAccount"):
                self.assertIs(account["automountServiceAccountToken"], False)
            for name, spec in pods(objects):
                self.assertIs(spec["automountServiceAccountToken"], False, name)
                self.assertIs(spec["securityContext"]["runAsNonRoot"], True, name)
                for container in containers(spec):
                    context = container["securityContext"]
                    self.assertIs(context["allowPrivilegeEscalation"], False, name)
                    self.assertEqual(context["capabilities"], {"drop": ["ALL"]}, name)
                    if not name.endswith(("-zookeeper", "-postgresql", "-redis")):
                        self.assertIs(context["readOnlyRootFilesystem"], True, name)

    def test_an_agents_death_leaves_its_pod_ready(self):
        """No readiness hangs on the agent, and no container ends with it."""
        for objects in self.each():
            for name, spec in pods(objects):
                for container in containers(spec):
                    words = container.get("command", [])
                    self.assertNotIn("setkeeper", " ".join(container.get("readinessProbe", {}).get("exec", {}).get("command", [])), name)
                    if "run" in words:
                        self.assertTrue({"--restart", "--"} & set(words), f"{name}: {words}")

    def test_each_mode_has_its_shape(self):
        for mode, values in MODES.items():
            objects = rendered(MAJORS[0], merged(LEAST, values))
            for component in ("web", "worker", "beat"):
                spec = own(objects, "Deployment", f"-{component}")["spec"]["template"]["spec"]
                sidecars = [container["name"] for container in spec["initContainers"] if container.get("restartPolicy") == "Always"]
                is_supervised = mode == "supervisor" or component == "beat"
                self.assertEqual(sidecars, [] if is_supervised else ["setkeeper"], (mode, component))
                self.assertEqual(spec.get("shareProcessNamespace", False), not is_supervised)
                # The sidecar is the last to start before Superset, and sees what is published and migrated.
                if sidecars:
                    self.assertEqual(spec["initContainers"][-1]["name"], "setkeeper")
                    image = spec["initContainers"][-1]["image"]
                    self.assertEqual("superset:" in image, not (mode == "own" and component == "web"), image)
                names = [container["name"] for container in spec["initContainers"]]
                self.assertEqual([name for name in names if name in ("database", "migrate")], [] if mode == "unmigrated" else ["database", "migrate"])

    def test_agent_and_superset_have_one_environment(self):
        """A check in another environment than Superset's would prove nothing."""
        for objects in self.each():
            for name, spec in pods(objects):
                by_name = {container["name"]: container for container in containers(spec)}
                if "setkeeper" not in by_name:
                    continue
                has = lambda container, key: [json.dumps(one) for one in by_name[container].get(key, [])]
                for key in ("env", "envFrom"):
                    self.assertLessEqual(set(has("superset", key)), set(has("setkeeper", key)), name)
                user = lambda container: by_name[container]["securityContext"].get("runAsUser")
                self.assertEqual(user("superset"), user("setkeeper"), "signals need the same user")

    def test_the_test_has_what_an_agents_settings_may_name(self):
        """It reads such settings: without the files of TLS it would not reach ZooKeeper."""
        for major in MAJORS:
            spec = own(rendered(major, MATRIX["everything, sidecar"]), "Pod", "-test")["spec"]
            (rollout,) = (container for container in spec["containers"] if container["name"] == "rollout")
            for part, (extra, key) in itertools.product(
                ("superset", "agent"), (("extraEnv", "env"), ("extraEnvFrom", "envFrom"), ("extraVolumeMounts", "volumeMounts"))
            ):
                for one in EVERYTHING[part][extra]:
                    self.assertIn(one, rollout[key], (part, extra))
            for volume in EVERYTHING["superset"]["extraVolumes"]:
                self.assertIn(volume, spec["volumes"])

    def test_a_network_policy_lets_the_releases_own_pods_in(self):
        asked = EVERYTHING["networkPolicy"]["from"]
        for major in MAJORS:
            objects = rendered(major, MATRIX["everything, sidecar"])
            (policy,) = (found for found in objects if found["kind"] == "NetworkPolicy")
            superset = policy["spec"]["ingress"][0]
            self.assertEqual(superset["ports"], [{"port": 8088, "protocol": "TCP"}])
            self.assertEqual(superset["from"][:-1], asked)
            selector = superset["from"][-1]["podSelector"]["matchLabels"].items()
            self.assertTrue(selector, "an empty one is everybody in the namespace")
            self.assertLessEqual(selector, own(objects, "Pod", "-test")["metadata"]["labels"].items())
            self.assertLessEqual(selector, own(objects, "Deployment", "-worker")["spec"]["template"]["metadata"]["labels"].items())
            free = rendered(major, merged(LEAST, {"networkPolicy": {"enabled": True}}))
            (policy,) = (found for found in free if found["kind"] == "NetworkPolicy")
            self.assertNotIn("from", policy["spec"]["ingress"][0], "nobody is named, so nobody is kept out")

    def test_the_program_takes_the_settings(self):
        for objects in self.each():
            settings = next(found for found in objects if found["kind"] == "ConfigMap")["data"]
            for component in ("web", "worker", "beat"):
                with tempfile.TemporaryDirectory() as folder:
                    file = Path(folder) / "settings.yaml"
                    # Whatever else is true of them is as in the cluster; the tree is one that is here.
                    read = yaml.safe_load(settings[f"{component}.yaml"])
                    self.assertEqual(read["instance"]["labels"]["role"], component)
                    file.write_text(settings[f"{component}.yaml"])
                    asked = self.ask(file, "render")
                    self.assertIn("failed to connect to", asked.stderr, "settings are right, and only ZooKeeper is missing")
                    read["nonsense"] = 1
                    file.write_text(yaml.safe_dump(read))
                    self.assertIn("nonsense", self.ask(file, "render").stderr)

    def ask(self, file, *words):
        # A port on which nobody listens stands for a ZooKeeper that is away.
        environment = {"SETKEEPER_SOURCE__ZOOKEEPER__CONNECT": "127.0.0.1:1", "SETKEEPER_SECRET_ZOOKEEPER": "x", "SETKEEPER_SECRET_SUPERSET": "x"}
        return subprocess.run([PROGRAM, "--config", file, *words], env=environment, capture_output=True, text=True, timeout=30)

    def test_every_command_of_a_pod_is_understood(self):
        for objects in self.each():
            for name, spec in pods(objects):
                for container in containers(spec):
                    probes = [container.get(probe, {}).get("exec", {}).get("command", []) for probe in ("startupProbe", "livenessProbe")]
                    for words in [container.get("command", []), *probes]:
                        if words and words[0].endswith("/setkeeper"):
                            before = list(itertools.takewhile(lambda word: word != "--", words[1:]))
                            known = subprocess.run([PROGRAM, *before, "--help"], capture_output=True, text=True, timeout=30)
                            self.assertEqual(known.returncode, 0, f"{name}: {words}: {known.stderr}")
                            # What --help forgives, an argument that is missing, is 2; that nobody is there to be asked is 1.
                            if before[0] in ("health", "rollout"):
                                asked = subprocess.run([PROGRAM, "--config", "/dev/null", "--connect", "127.0.0.1:1", *before], capture_output=True, timeout=30)
                                self.assertEqual(asked.returncode, 1, f"{name}: {words}: {asked.stderr}")

    def test_the_base_is_python(self):
        for objects in self.each():
            texts = next(found for found in objects if found["kind"] == "ConfigMap")["data"]
            for name in ("base.py", "account.py", "database.py"):
                if name in texts:
                    ast.parse(texts[name])

    def test_an_ingress_leads_to_superset(self):
        for major in MAJORS:
            self.assertNotIn("Ingress", [found["kind"] for found in rendered(major, LEAST)])
            objects = rendered(major, MATRIX["everything, sidecar"])
            (ingress,) = (found for found in objects if found["kind"] == "Ingress")
            service = own(objects, "Service", ingress["metadata"]["name"])
            ports = {port["name"] for port in service["spec"]["ports"]}
            paths = [(rule["host"], path["path"], path["pathType"]) for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
            self.assertEqual(paths, [("superset.example", "/", "Prefix"), ("*.bi.example", "/superset", "Exact")])
            for rule in ingress["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    backend = path["backend"]["service"]
                    self.assertEqual(backend["name"], service["metadata"]["name"])
                    self.assertIn(backend["port"]["name"], ports)
            self.assertEqual(ingress["spec"]["ingressClassName"], "nginx")
            self.assertEqual(ingress["spec"]["tls"], EVERYTHING["ingress"]["tls"])
            self.assertEqual(ingress["metadata"]["annotations"], EVERYTHING["ingress"]["annotations"])
            bare = merged(LEAST, {"ingress": {"enabled": True, "hosts": [{"host": "superset.example"}]}})
            (ingress,) = (found for found in rendered(major, bare) if found["kind"] == "Ingress")
            self.assertEqual(set(ingress["spec"]), {"rules"}, "the class is the cluster's")
            notes = self.notes(major, MATRIX["everything, sidecar"])
            self.assertIn("  https://superset.example/\n  https://*.bi.example/superset\n", notes)
            self.assertIn("  http://superset.example/\n", self.notes(major, bare))

    def test_secrets_are_in_secrets_alone(self):
        text = helm(MAJORS[0], "template", RELEASE, CHART, values=MATRIX["everything, sidecar"]).stdout
        others = [found for found in yaml.safe_load_all(text) if found and found["kind"] != "Secret"]
        for canary in ("canary-zk", "canary-superset", "u:p@db"):
            self.assertNotIn(canary, yaml.safe_dump(others))

    def test_what_is_wrong_is_refused_with_its_place(self):
        for values, said in [
            ({"mode": "side"}, "mode"),
            ({"agent": {"runin": "own"}}, "runin"),
            ({"web": {"replicas": "two"}}, "replicas"),
            ({"zookeeper": {"connect": ""}}, "zookeeper.connect"),
            ({"superset": {"secret": {"databaseUri": ""}}}, "superset.secret.databaseUri"),
            ({"superset": {"secret": {"celeryBroker": ""}}}, "superset.secret.celeryBroker"),
            ({"zookeeper": {"username": "a"}}, "agent.secret.zookeeperPassword"),
            ({"ingress": {"enabled": True}}, "ingress.hosts"),
            ({"ingress": {"hosts": [{"host": "a", "paths": [{"path": "/", "pathType": "prefix"}]}]}}, "pathType"),
        ]:
            for major in MAJORS:
                refused = helm(major, "template", RELEASE, CHART, values=merged(LEAST, values), check=False)
                self.assertNotEqual(refused.returncode, 0, values)
                self.assertIn(said, refused.stderr)

    def test_the_schema_knows_every_value_and_no_other(self):
        def keys(schema, path=""):
            for name, inner in schema.get("properties", {}).items():
                yield path + name
                yield from keys(inner, f"{path}{name}.")

        def values(value, known, path=""):
            for name, inner in value.items():
                yield path + name
                if isinstance(inner, dict) and any(key.startswith(f"{path}{name}.") for key in known):
                    yield from values(inner, known, f"{path}{name}.")

        known = set(keys(json.loads((CHART / "values.schema.json").read_text()))) - {"global"}
        written = set(values(yaml.safe_load((CHART / "values.yaml").read_text()), known))
        # What only some images, or nobody by default, have.
        optional = {key for key in known if key.endswith("image.digest")}
        self.assertEqual(known - optional, written - optional)

    def test_notes_name_what_there_is(self):
        for (name, values), major in itertools.product(MATRIX.items(), MAJORS):
            notes = self.notes(major, values)
            self.assertIn("helm -n default test it", notes, name)
            self.assertNotIn("<no value>", notes)
            objects = rendered(major, values)
            for kind, found in re.findall(r"\b(deploy|svc|secret)[/ ]([a-z][a-z0-9-]+)", notes):
                wanted = {"deploy": "Deployment", "svc": "Service", "secret": "Secret"}[kind]
                names = {one["metadata"]["name"] for one in objects if one["kind"] == wanted} | {"mine-too"}
                self.assertIn(found, names, notes)
            for words in re.findall(r"-- /opt/setkeeper/setkeeper (.*)", notes):
                known = subprocess.run(["sh", "-c", f'"$0" {words} --help', PROGRAM], capture_output=True, text=True, timeout=30)
                self.assertEqual(known.returncode, 0, words)

    def notes(self, major, values):
        """As an object of the chart: Helm itself shows them only where it has a cluster."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copytree(CHART, Path(folder) / "setkeeper"))
            text = (copy / "templates" / "NOTES.txt").read_text()
            (copy / "templates" / "_notes.tpl").write_text('{{ define "notes" }}' + text + "{{ end }}")
            (copy / "templates" / "notes.yaml").write_text('text: {{ include "notes" . | toJson }}\n')
            shown = helm(major, "template", RELEASE, copy, "--show-only", "templates/notes.yaml", values=values).stdout
        return yaml.safe_load(shown)["text"]

    def test_the_readmes_installations_render(self):
        section = (CHART.parents[1] / "README.md").read_text().partition("## Install on Kubernetes")[2].partition("\n## ")[0]
        commands = re.findall(r"^helm install superset helm/setkeeper (.*)$", section.replace("\\\n", " "), re.M)
        (values,) = re.findall(r"^```yaml\n(.*?)^```", section, re.M | re.S)
        self.assertEqual(len(commands), 2, section)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "values.yaml").write_text(values)
            for command, major in itertools.product(commands, MAJORS):
                words = [word.replace("values.yaml", f"{folder}/values.yaml") for word in command.split()]
                objects = [found for found in yaml.safe_load_all(helm(major, "template", "superset", CHART, *words).stdout) if found]
                images = [container["image"] for _, spec in pods(objects) for container in containers(spec)]
                self.assertIn("registry.example/setkeeper:0.1.0", images)
                self.assertIn("registry.example/superset:6.1.0", images)

    def test_it_packs(self):
        for major in MAJORS:
            with tempfile.TemporaryDirectory() as folder:
                helm(major, "package", CHART, "--destination", folder)
                self.assertEqual([name.split("-")[0] for name in os.listdir(folder)], ["setkeeper"])


class Overlay(unittest.TestCase):
    """`helm/values-for-apache-superset.yaml`, by the keys that Apache's chart documents and what its templates do with them."""

    def setUp(self):
        self.values = yaml.safe_load((CHART.parent / "values-for-apache-superset.yaml").read_text())

    def test_only_documented_keys_are_used(self):
        documented = yaml.safe_load((HERE / "apache-superset-keys.yaml").read_text())
        for key, value in self.values.items():
            self.assertIn(key, documented)
            if isinstance(documented[key], list):
                self.assertLessEqual(set(value), set(documented[key]), key)

    def test_nothing_is_mounted_where_that_chart_mounts(self):
        paths = [mount["mountPath"] for mount in self.values["extraVolumeMounts"]]
        self.assertEqual(len(set(paths)), len(paths))
        self.assertFalse({"/app/pythonpath", "/app/configs"} & set(paths))
        self.assertEqual({mount["name"] for mount in self.values["extraVolumeMounts"]}, {volume["name"] for volume in self.values["extraVolumes"]})

    def test_what_is_rendered_lies_in_a_volume_and_has_the_charts_config_as_its_base(self):
        environment = self.values["extraEnv"]
        folder = environment["SETKEEPER_RENDER__SUPERSET_CONFIG__PATH"].rsplit("/", 1)[0]
        self.assertIn(folder, [mount["mountPath"] for mount in self.values["extraVolumeMounts"]])
        self.assertEqual(environment["SETKEEPER_RENDER__SUPERSET_CONFIG__BASE"], "/app/pythonpath/superset_config.py")

    def test_the_program_takes_the_settings(self):
        environment = {**self.values["extraEnv"], "SETKEEPER_SECRET_SUPERSET": "x", "SETKEEPER_SOURCE__ZOOKEEPER__CONNECT": "127.0.0.1:1"}
        for role in ("web", "worker", "beat"):
            environment["SETKEEPER_INSTANCE__LABELS__ROLE"] = role
            asked = subprocess.run([PROGRAM, "--config", "/dev/null", "render"], env=environment, capture_output=True, text=True, timeout=30)
            self.assertIn("failed to connect to", asked.stderr)

    def test_pods_come_of_it_as_that_charts_template_makes_them(self):
        """That chart gives init containers and commands to `tpl`, and its variables to the last init container."""
        for component in ("supersetNode", "supersetWorker", "supersetCeleryBeat"):
            part = self.values[component]
            template = (
                'apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  initContainers: {{- tpl (toYaml .Values.part.initContainers) . | nindent 2 }}\n'
                "    env:\n      - {name: A, value: b}\n  containers:\n    - name: superset\n      image: x\n"
                "      command: {{ tpl (toJson .Values.part.command) . }}\n      volumeMounts: {{- toYaml .Values.extraVolumeMounts | nindent 8 }}\n"
                "  volumes: {{- toYaml .Values.extraVolumes | nindent 4 }}\n"
            )
            chart_values = {
                "part": part, "extraVolumes": self.values["extraVolumes"], "extraVolumeMounts": self.values["extraVolumeMounts"],
                "configMountPath": "/app/pythonpath", "envFromSecret": '{{ .Release.Name }}-env',
                "initImage": {"repository": "apache/superset", "tag": "dockerize", "pullPolicy": "IfNotPresent"},
            }  # fmt: skip
            for major in MAJORS:
                with tempfile.TemporaryDirectory() as folder:
                    (Path(folder) / "templates").mkdir()
                    (Path(folder) / "Chart.yaml").write_text("apiVersion: v2\nname: x\nversion: 0.1.0\n")
                    (Path(folder) / "templates" / "pod.yaml").write_text(template)
                    pod = yaml.safe_load(helm(major, "template", RELEASE, folder, values=chart_values).stdout)
                for version in KUBERNETES:
                    kubernetes_validate.validate(pod, version, strict=True)
                self.assertIn("setkeeper", pod["spec"]["initContainers"][-1]["image"], "the last gets that chart's variables")
                copies = [c["command"][:2] for c in pod["spec"]["initContainers"] if "setkeeper" in c["image"]]
                self.assertEqual(copies, [["/usr/local/bin/setkeeper", "install"]])
                script = pod["spec"]["containers"][0]["command"][-1]
                self.assertTrue(script.startswith(". /app/pythonpath/superset_bootstrap.sh;"), script)
                self.assertEqual(subprocess.run(["sh", "-n", "-c", script]).returncode, 0)
                self.assertRegex(script, r"exec (env \S+=\S+ \S+=\S+ )?/opt/setkeeper/setkeeper run -- (gunicorn|celery) ")


if __name__ == "__main__":
    unittest.main(verbosity=1)
