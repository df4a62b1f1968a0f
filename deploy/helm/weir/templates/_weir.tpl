{{/* The container: for the service here, and as a sidecar in a chart that depends on this one with `sidecar: true`:
       containers: {{- include "weir.container" .Subcharts.weir | nindent 6 }}
       volumes: {{- include "weir.volumes" .Subcharts.weir | nindent 6 }}
     Its pods run as a user that is not root. A sidecar listens for its pod alone; it has its `portion` of the
     account in the config, or a central weir as its upstream. */}}
{{- define "weir.name" -}}
{{ printf "%s-weir" .Release.Name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- define "weir.container" -}}
- name: weir
  image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [run, --config, /etc/weir/weir.toml, --log, json]
  env:
  - { name: WEIR__SERVER__LISTEN, value: {{ .Values.sidecar | ternary "127.0.0.1:8080" "0.0.0.0:8080" | quote }} }
  - { name: WEIR__ADMIN__LISTEN, value: "0.0.0.0:9090" }
  - { name: WEIR__ADMIN__TOKEN__FILE, value: /run/secrets/weir/admin_token }
  {{- with include "weir.name" . }}
  - name: WEIR__ADMIN__HOSTS
    value: '["{{ . }}", "{{ . }}.{{ $.Release.Namespace }}", "{{ . }}.{{ $.Release.Namespace }}.svc", "{{ . }}.{{ $.Release.Namespace }}.svc.cluster.local"]'
  {{- end }}
  - { name: WEIR__STORE__PATH, value: /var/lib/weir }
  ports:
  {{- if not .Values.sidecar }}
  - { name: http, containerPort: 8080 }
  {{- end }}
  - { name: weir-admin, containerPort: 9090 }
  startupProbe: { httpGet: { path: /healthz, port: weir-admin }, periodSeconds: 1, failureThreshold: 30 }
  livenessProbe: { httpGet: { path: /healthz, port: weir-admin } }
  readinessProbe: { httpGet: { path: /readyz, port: weir-admin }, periodSeconds: 2 }
  resources: {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: { drop: [ALL] }
  volumeMounts:
  - { name: weir-config, mountPath: /etc/weir, readOnly: true }
  - { name: weir-secrets, mountPath: /run/secrets/weir, readOnly: true }
  - { name: weir-ledger, mountPath: /var/lib/weir }
{{- end }}
{{- define "weir.volumes" -}}
- { name: weir-config, configMap: { name: {{ include "weir.name" . }} } }
- { name: weir-secrets, secret: { secretName: {{ .Values.secretName }} } }
{{- if .Values.sidecar }}
# As long as its pod: a new pod does not know what the one before it has spent today (see [store] on_empty).
- { name: weir-ledger, emptyDir: { sizeLimit: {{ .Values.ledger.size }} } }
{{- end }}
{{- end }}
