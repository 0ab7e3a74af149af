{{- define "kube-lvs.labels" -}}
app.kubernetes.io/name: kube-lvs
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Never change these: a Deployment's and a DaemonSet's selectors are immutable. Takes (dict "root" . "component" "agent"). */}}
{{- define "kube-lvs.selector" -}}
app.kubernetes.io/name: kube-lvs
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "kube-lvs.image" -}}
{{- with .root.Values.imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "kube-lvs.apiServerEnv" -}}
{{- with .Values.apiServer }}{{ if .host -}}
- {name: KUBERNETES_SERVICE_HOST, value: {{ .host | quote }}}
- {name: KUBERNETES_SERVICE_PORT, value: {{ .port | quote }}}
{{- end }}{{ end }}
{{- end }}
