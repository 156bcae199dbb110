{{/*
The pod of one component; in: {root, component, part}. First the program is copied, then the first config published and the metadata migrated, each once
in the cluster; then come the agent and Superset, each in its container, or one in the other's.
*/}}
{{- define "setkeeper.pod" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $part := .part -}}
{{- $supervised := or (eq .component "beat") (eq $values.mode "supervisor") -}}
{{- $own := and (not $supervised) (eq .component "web") (eq $values.agent.runIn "own") -}}
{{- $program := "/opt/setkeeper/setkeeper" -}}
metadata:
  labels:
    {{- include "setkeeper.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    setkeeper.io/agent: "true"
    {{- with $part.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: superset
    # The agent reads its settings when it starts, and not again.
    checksum/settings: {{ print (include "setkeeper.settings" .) (include "setkeeper.base" $root) | sha256sum }}
    {{- with $part.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "setkeeper.serviceAccount" $root }}
  automountServiceAccountToken: false
  # No variables for each service of the namespace: a service called setkeeper would make some that look like settings.
  enableServiceLinks: false
  {{- if not $supervised }}
  # So that the agent sees Superset's processes, and signals them.
  shareProcessNamespace: true
  {{- end }}
  terminationGracePeriodSeconds: {{ $part.terminationGracePeriodSeconds }}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  initContainers:
    - name: program
      image: {{ include "setkeeper.image.agent" $root }}
      imagePullPolicy: {{ $values.agent.image.pullPolicy }}
      command: [/usr/local/bin/setkeeper, install, {{ $program }}]
      securityContext:
        {{- toYaml $values.securityContext | nindent 8 }}
      resources:
        requests: {cpu: 10m, memory: 16Mi}
        limits: {memory: 64Mi}
      volumeMounts:
        - {name: program, mountPath: /opt/setkeeper}
    {{- if kindIs "map" $values.superset.initialConfig }}
    - name: publish
      {{- include "setkeeper.container" (dict "root" $root "component" .component "agent" true "publishes" true) | nindent 6 }}
      # What is published already is never replaced, and what is emptied later stays empty.
      command:
        - {{ $program }}
        - once
        - initial-config
        - --key={{ include "setkeeper.fullname" $root }}
        - --
        - sh
        - -c
        - |
          setkeeper() {
            {{ $program }} {{ if $values.zookeeper.username }}--set 'source.zookeeper.auth.password={$env: ZOOKEEPER_PASSWORD}' {{ end }}"$@"
          }
          published="$(setkeeper config get -o json)" || exit
          test "$published" = '{}' || exit 0
          mkdir -p /tmp/initial
          cp /etc/setkeeper/initial.yaml /tmp/initial/config.yaml
          setkeeper config apply -m "first config, by the Helm chart" /tmp/initial
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: 128Mi}
    {{- end }}
    {{- if $values.migrate.enabled }}
    - name: database
      {{- include "setkeeper.container" (dict "root" $root "component" .component "agent" false) | nindent 6 }}
      # A migration that fails stays failed for its key: none begins before the database takes connections.
      command: [python, /etc/setkeeper/database.py]
      resources:
        requests: {cpu: 10m, memory: 128Mi}
        limits: {memory: 512Mi}
    - name: migrate
      {{- include "setkeeper.container" (dict "root" $root "component" .component "agent" true "account" true) | nindent 6 }}
      # A migration that loses ZooKeeper is ended; a longer session lets it outlive a short outage.
      command:
        - {{ $program }}
        - once
        - migrate
        - --key={{ include "setkeeper.migrate.key" $root }}
        - --set=source.zookeeper.session_timeout=40s
        - --
        - sh
        - -c
        - |
          export SUPERSET_CONFIG_PATH=/etc/setkeeper/base.py
          {
            {{- $values.migrate.command | nindent 12 }}
          }{{ if $values.migrate.createAccount }} && python /etc/setkeeper/account.py{{ end }}
      resources:
        requests: {cpu: 100m, memory: 512Mi}
        limits: {memory: 1Gi}
    {{- end }}
    {{- if not $supervised }}
    - name: setkeeper
      {{- include "setkeeper.container" (dict "root" $root "component" .component "agent" true "own" $own) | nindent 6 }}
      # A native sidecar: it starts before Superset and ends after it. The agent is started again below its parent: if its death were the
      # container's, the pod would not be ready until it is back.
      restartPolicy: Always
      command: [{{ $own | ternary "/usr/local/bin/setkeeper" $program }}, run, --restart]
      # Superset's container starts when this has passed: once the first config is rendered.
      startupProbe:
        exec: {command: [{{ $own | ternary "/usr/local/bin/setkeeper" $program }}, health, --ready]}
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 300
      # No readiness probe: whether Superset serves is not for the agent to say. And an agent that is just being started again is not killed.
      livenessProbe:
        exec: {command: [{{ $own | ternary "/usr/local/bin/setkeeper" $program }}, health]}
        periodSeconds: 30
        timeoutSeconds: 5
        failureThreshold: 6
      resources:
        {{- toYaml $values.agent.resources | nindent 8 }}
    {{- end }}
  containers:
    - name: superset
      {{- include "setkeeper.container" (dict "root" $root "component" .component "agent" $supervised) | nindent 6 }}
      {{- if $supervised }}
      # The agent renders, then starts Superset, and hands over to a new one at each config. If it dies it is started again; Superset serves on.
      command: [{{ $program }}, run, --]
      args:
      {{- else }}
      command:
      {{- end }}
        {{- toYaml $part.command | nindent 8 }}
      {{- if eq .component "web" }}
      ports:
        - {name: http, containerPort: {{ $part.port }}, protocol: TCP}
        {{- if and $supervised $values.metrics.enabled }}
        - {name: metrics, containerPort: {{ $values.metrics.port }}, protocol: TCP}
        {{- end }}
      startupProbe:
        httpGet: {path: /health, port: http}
        {{- toYaml $part.startupProbe | nindent 8 }}
      readinessProbe:
        httpGet: {path: /health, port: http}
        {{- toYaml $part.readinessProbe | nindent 8 }}
      livenessProbe:
        httpGet: {path: /health, port: http}
        {{- toYaml $part.livenessProbe | nindent 8 }}
      {{- if $part.preStopSeconds }}
      lifecycle:
        preStop: {exec: {command: [sleep, {{ $part.preStopSeconds | quote }}]}}
      {{- end }}
      {{- end }}
      resources:
        {{- toYaml $part.resources | nindent 8 }}
  volumes:
    - name: settings
      configMap: {name: {{ include "setkeeper.fullname" $root }}}
    # The program, which the first init container copies there.
    - {name: program, emptyDir: {}}
    # What the agent renders, and Superset loads.
    - {name: rendered, emptyDir: {}}
    # What the agent remembers; it outlives containers, and ends with the pod.
    - {name: state, emptyDir: {}}
    - {name: home, emptyDir: {}}
    - {name: tmp, emptyDir: {}}
    {{- with $values.superset.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" }}
  {{- with index $part $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end }}

{{/*
What all containers that run Superset or the agent have in common; in: {root, component, agent: whether the agent is in it, own: in its own image}.
The agent has all that Superset has: it tries each config in that environment.
*/}}
{{- define "setkeeper.container" -}}
{{- $values := .root.Values -}}
image: {{ ternary (include "setkeeper.image.python" .root) (include "setkeeper.image.superset" .root) (.own | default false) }}
imagePullPolicy: {{ ternary $values.agent.image.pullPolicy $values.superset.image.pullPolicy (.own | default false) }}
securityContext:
  {{- toYaml $values.securityContext | nindent 2 }}
envFrom:
  - secretRef: {name: {{ include "setkeeper.secret.superset" .root }}}
  {{- with $values.superset.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- if .agent }}
  - secretRef: {name: {{ include "setkeeper.secret.agent" .root }}}
  {{- with $values.agent.extraEnvFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
env:
  - {name: SUPERSET_CONFIG_PATH, value: /app/setkeeper/superset_config.py}
  - {name: SUPERSET_HOME, value: /app/superset_home}
  # Gunicorn and others write there.
  - {name: HOME, value: /app/superset_home}
  # What is said is in the log at once.
  - {name: PYTHONUNBUFFERED, value: "1"}
  # The commands of Superset 4.1 and 5.0 need it.
  - {name: FLASK_APP, value: "superset.app:create_app()"}
  {{- if .agent }}
  - {name: SETKEEPER_CONFIG, value: /etc/setkeeper/{{ .component }}.yaml}
  {{- end }}
  {{- /* What begins with SETKEEPER_SECRET_ is kept from commands that run under a lock: these need names of their own. */}}
  {{- if and .publishes $values.zookeeper.username }}
  - name: ZOOKEEPER_PASSWORD
    valueFrom: {secretKeyRef: {name: {{ include "setkeeper.secret.agent" .root }}, key: SETKEEPER_SECRET_ZOOKEEPER}}
  {{- end }}
  {{- if and .account $values.migrate.createAccount }}
  - {name: ACCOUNT, value: {{ $values.agent.username | quote }}}
  - name: ACCOUNT_PASSWORD
    valueFrom: {secretKeyRef: {name: {{ include "setkeeper.secret.agent" .root }}, key: SETKEEPER_SECRET_SUPERSET}}
  {{- end }}
  {{- with $values.superset.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- if .agent }}
  {{- with $values.agent.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
volumeMounts:
  - {name: settings, mountPath: /etc/setkeeper, readOnly: true}
  - {name: program, mountPath: /opt/setkeeper, readOnly: true}
  - {name: rendered, mountPath: /app/setkeeper{{ if not .agent }}, readOnly: true{{ end }}}
  {{- if .agent }}
  - {name: state, mountPath: /var/lib/setkeeper}
  {{- end }}
  - {name: home, mountPath: /app/superset_home}
  - {name: tmp, mountPath: /tmp}
  {{- with $values.superset.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- if .agent }}
  {{- with $values.agent.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
{{- end }}
