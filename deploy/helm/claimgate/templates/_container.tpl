{{/*
The gate as a container, for this chart and for others:

  initContainers:
    {{- include "claimgate.container" (dict "values" .Values.claimgate "native" true) | nindent 4 }}

values: the values of this chart (as a dependency: .Values.claimgate, with `enabled: false`).
native: true in initContainers (a native sidecar, Kubernetes 1.29 and newer); false in containers.
The service beside it then listens on 127.0.0.1, its Service leads to the port 4180, its probes ask
/healthz/origin?path=… on port 9181 (`flags: {origin-health-check: /…}`), and its preStop sleeps for 7 s.
*/}}
{{- define "claimgate.container" -}}
{{- $values := .values -}}
- name: claimgate
  image: {{ include "claimgate.image" $values | quote }}
  imagePullPolicy: {{ $values.image.pullPolicy }}
  {{- if .native }}
  restartPolicy: Always
  {{- end }}
  args:
    {{- include "claimgate.args" $values | nindent 4 }}
  ports:
    - name: claimgate
      containerPort: {{ int64 $values.port }}
    - name: gate-health
      containerPort: {{ int64 $values.healthPort }}
  startupProbe:
    httpGet:
      path: /livez
      port: {{ int64 $values.healthPort }}
    periodSeconds: 1
    failureThreshold: 30
  livenessProbe:
    httpGet:
      path: /livez
      port: {{ int64 $values.healthPort }}
    periodSeconds: 10
    failureThreshold: 3
  readinessProbe:
    httpGet:
      path: /readyz
      port: {{ int64 $values.healthPort }}
    periodSeconds: 2
    failureThreshold: 2
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    readOnlyRootFilesystem: true
    allowPrivilegeEscalation: false
    capabilities:
      drop:
        - ALL
    seccompProfile:
      type: RuntimeDefault
  resources:
    {{- toYaml $values.resources | nindent 4 }}
  {{- with $values.volumeMounts }}
  volumeMounts:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "claimgate.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default "0.1.0" }}
{{- end -}}
{{- end }}

{{/* Helm reads numbers as doubles, and prints those from a million on as 1e+06. */}}
{{- define "claimgate.word" -}}
{{- $word := toString . -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ $word = int64 . | toString }}{{ end -}}
{{- end -}}
{{- $word -}}
{{- end }}

{{/* Kubernetes would take $(NAME) for a variable. */}}
{{- define "claimgate.arg" -}}
- {{ . | replace "$(" "$$(" | quote }}
{{- end }}

{{/* A flag once for each value; a value with a comma twice, where it is alone: given once, the gate would split it. */}}
{{- define "claimgate.list" -}}
{{- $name := .name -}}
{{- $values := .values -}}
{{- if eq (len $values) 1 -}}
{{- if contains "," (include "claimgate.word" (first $values)) }}{{ $values = concat $values $values }}{{ end -}}
{{- end -}}
{{- range $values }}
{{ include "claimgate.arg" (printf "--%s=%s" $name (include "claimgate.word" .)) }}
{{- end }}
{{- end }}

{{- define "claimgate.args" -}}
{{ include "claimgate.arg" (printf "--upstream=%s" (required "upstream: where requests go, such as http://127.0.0.1:8080" .upstream)) }}
{{- if not .issuer }}{{ fail "issuer: whose tokens are accepted, such as [https://issuer.example.com]" }}{{ end }}
{{- include "claimgate.list" (dict "name" "issuer" "values" .issuer) }}
{{- include "claimgate.list" (dict "name" "audience" "values" .audience) }}
{{ include "claimgate.arg" (printf "--listen=0.0.0.0:%d" (int .port)) }}
{{ include "claimgate.arg" (printf "--health-listen=0.0.0.0:%d" (int .healthPort)) }}
{{ include "claimgate.arg" (printf "--drain-delay=%s" .drainDelay) }}
{{ include "claimgate.arg" (printf "--shutdown-grace-period=%s" .shutdownGracePeriod) }}
{{- range $name, $value := .flags }}
{{- if kindIs "slice" $value }}
{{- include "claimgate.list" (dict "name" $name "values" $value) }}
{{- else if kindIs "bool" $value }}
{{- if $value }}
{{ include "claimgate.arg" (printf "--%s" $name) }}
{{- end }}
{{- else }}
{{ include "claimgate.arg" (printf "--%s=%s" $name (include "claimgate.word" $value)) }}
{{- end }}
{{- end }}
{{- end }}
