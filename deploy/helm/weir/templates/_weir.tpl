{{/* The container, for the service here and as a sidecar: {{ include "weir.container" . }} under `containers:`
     of another chart, with {{ include "weir.volumes" . }} under its `volumes:`. A sidecar listens on loopback
     only and has its `portion` of the account in the config, or a central weir as its upstream. */}}
{{- define "weir.container" }}
- name: weir
  image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [run, --config, /etc/weir/weir.toml, --log, json]
  env:
  - { name: WEIR__SERVER__LISTEN, value: {{ .sidecar | default false | ternary "127.0.0.1:8080" "0.0.0.0:8080" }} }
  - { name: WEIR__ADMIN__LISTEN, value: "0.0.0.0:9090" }
  - { name: WEIR__ADMIN__TOKEN__FILE, value: /run/secrets/weir/admin_token }
  - { name: WEIR__STORE__PATH, value: /var/lib/weir }
  ports:
  - { name: http, containerPort: 8080 }
  - { name: admin, containerPort: 9090 }
  startupProbe: { httpGet: { path: /healthz, port: admin }, periodSeconds: 1, failureThreshold: 30 }
  livenessProbe: { httpGet: { path: /healthz, port: admin } }
  readinessProbe: { httpGet: { path: /readyz, port: admin }, periodSeconds: 2 }
  resources: {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: { drop: [ALL] }
  volumeMounts:
  - { name: weir-config, mountPath: /etc/weir, readOnly: true }
  - { name: weir-secrets, mountPath: /run/secrets/weir, readOnly: true }
  - { name: weir-ledger, mountPath: /var/lib/weir }
{{- end }}
{{- define "weir.volumes" }}
- { name: weir-config, configMap: { name: {{ .Release.Name }}-weir } }
- { name: weir-secrets, secret: { secretName: {{ .Values.secretName }} } }
{{- end }}
