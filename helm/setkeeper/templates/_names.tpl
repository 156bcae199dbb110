{{/* Names, labels, images. */}}

{{- define "setkeeper.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* What the names of objects begin with; 20 characters are left for what follows. */}}
{{- define "setkeeper.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 43 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "setkeeper.selector" -}}
app.kubernetes.io/name: {{ include "setkeeper.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "setkeeper.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "setkeeper.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An image by digest where there is one; in: {image, tag}. */}}
{{- define "setkeeper.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (.tag | default .image.tag) -}}
{{- end -}}
{{- end }}

{{- define "setkeeper.image.superset" -}}
{{- include "setkeeper.image" (dict "image" .Values.superset.image) -}}
{{- end }}

{{- define "setkeeper.image.agent" -}}
{{- include "setkeeper.image" (dict "image" .Values.agent.image "tag" (.Values.agent.image.tag | default .Chart.AppVersion)) -}}
{{- end }}

{{/* The one that the agent runs in, if that is its own. */}}
{{- define "setkeeper.image.python" -}}
{{- include "setkeeper.image" (dict "image" .Values.agent.image "tag" (.Values.agent.image.tag | default (printf "%s-python" .Chart.AppVersion))) -}}
{{- end }}

{{- define "setkeeper.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "setkeeper.fullname" . -}}
{{- else -}}
default
{{- end -}}
{{- end }}

{{- define "setkeeper.secret.superset" -}}
{{- .Values.superset.existingSecret | default (printf "%s-superset" (include "setkeeper.fullname" .)) -}}
{{- end }}

{{- define "setkeeper.secret.agent" -}}
{{- .Values.agent.existingSecret | default (printf "%s-agent" (include "setkeeper.fullname" .)) -}}
{{- end }}

{{- define "setkeeper.zookeeper.connect" -}}
{{- if .Values.zookeeper.enabled -}}
{{- printf "%s-zookeeper:2181" (include "setkeeper.fullname" .) -}}
{{- else -}}
{{- required "zookeeper.connect: say where ZooKeeper is, or set zookeeper.enabled for a trial" .Values.zookeeper.connect -}}
{{- end -}}
{{- end }}

{{/* For what migrations run once. */}}
{{- define "setkeeper.migrate.key" -}}
{{- .Values.migrate.key | default .Values.superset.image.digest | default .Values.superset.image.tag -}}
{{- end }}
