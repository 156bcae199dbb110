{{/*
The settings of the agent beside one component; in: {root, component}.
What the chart has to know (where files lie, how Superset is told) is said here; everything else is the program's default, or in agent.settings.
*/}}
{{- define "setkeeper.settings" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $supervised := or (eq .component "beat") (eq $values.mode "supervisor") -}}
{{- $own := and (not $supervised) (eq .component "web") (eq $values.agent.runIn "own") -}}
{{- $zookeeper := dict
  "connect" (include "setkeeper.zookeeper.connect" $root)
  "root" $values.zookeeper.root
  "session_timeout" $values.zookeeper.sessionTimeout -}}
{{- with $values.zookeeper.username -}}
{{- $_ := set $zookeeper "auth" (dict "username" . "password" (dict "$env" "SETKEEPER_SECRET_ZOOKEEPER")) -}}
{{- $_ := set $zookeeper "acl" "creator" -}}
{{- end -}}
{{- $check := dict "require" "app" -}}
{{- if $own -}}
{{- $check = dict "require" "syntax" "python" "/usr/bin/python3" -}}
{{- end -}}
{{- $settings := dict
  "cluster" ($values.agent.cluster | default (include "setkeeper.fullname" $root))
  "instance" (dict "labels" (merge (dict "role" .component) $values.agent.labels))
  "source" (dict "zookeeper" $zookeeper)
  "state_dir" "/var/lib/setkeeper/state"
  "render" (dict "superset_config" (dict "path" "/app/setkeeper/superset_config.py" "base" "/etc/setkeeper/base.py"))
  "check" $check
  "reload" (dict "strategy" (ternary "auto" "hup" $supervised))
  "superset" (dict
    "url" (printf "http://127.0.0.1:%d" (int $values.web.port))
    "username" $values.agent.username
    "password" (dict "$env" "SETKEEPER_SECRET_SUPERSET"))
  "datasources" (dict "push" (eq .component "web"))
  "http" (dict "listen" (printf "%s:%d" (ternary "0.0.0.0" "127.0.0.1" $values.metrics.enabled) (int $values.metrics.port)))
-}}
{{- if $supervised -}}
{{- $_ := set $settings "boot" (dict "fallback" "base") -}}
{{- end -}}
{{- toYaml (mustMergeOverwrite $settings (deepCopy $values.agent.settings)) -}}
{{- end }}

{{/* What goes before everything that is published. */}}
{{- define "setkeeper.base" -}}
import os

SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = os.environ["SUPERSET_DATABASE_URI"]

if os.environ.get("SUPERSET_CELERY_BROKER"):
    from superset.config import CeleryConfig

    class CELERY_CONFIG(CeleryConfig):
        broker_url = os.environ["SUPERSET_CELERY_BROKER"]
        result_backend = os.environ["SUPERSET_CELERY_BROKER"]
{{- with .Values.superset.base }}

{{ . }}
{{- end }}
{{- end }}
