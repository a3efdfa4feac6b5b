{{/*
The Deployment, the Service and the claim of one component: (list $ component values).
What the three services do not share comes from "holdfast.<component>": the name of the service, the
prefix of its settings, whether it has an embedded store, whether its store allows one replica only,
its environment and its files.
*/}}

{{- define "holdfast.deployment" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
{{- $facts := include (printf "holdfast.%s" $component) $root | fromYaml -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "holdfast.fullname" $root }}-{{ $component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "holdfast.labels" (list $root $component) | nindent 4 }}
spec:
  replicas: {{ $values.replicas }}
  selector:
    matchLabels:
      {{- include "holdfast.selector" (list $root $component) | nindent 6 }}
  strategy:
    {{- if $facts.oneReplica }}
    # The new pod could not open what the old one still holds.
    type: Recreate
    {{- else }}
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
    {{- end }}
  template:
    metadata:
      labels:
        {{- include "holdfast.labels" (list $root $component) | nindent 8 }}
    spec:
      {{- with $root.Values.image.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . }}
        {{- end }}
      {{- end }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ add $root.Values.drainDelaySeconds $root.Values.shutdownTimeoutSeconds 10 }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        fsGroup: 65532
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: {{ $facts.service }}
          image: {{ include "holdfast.image" (list $root $values) | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          args: [serve]
          env:
            {{- include "holdfast.env" (list $root $values $facts) | nindent 12 }}
          ports:
            - name: http
              containerPort: {{ $values.port }}
              protocol: TCP
          {{- include "holdfast.probes" $values | nindent 10 }}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: [ALL]
          {{- if or $facts.embedded $facts.files }}
          volumeMounts:
            {{- if $facts.embedded }}
            - name: data
              mountPath: /var/lib/holdfast
            {{- end }}
            {{- range $facts.files }}
            - name: {{ .name }}
              mountPath: {{ .mountPath }}
              readOnly: true
            {{- end }}
          {{- end }}
      {{- if or $facts.embedded $facts.files }}
      volumes:
        {{- if $facts.embedded }}
        - name: data
          {{- if eq $values.persistence.type "emptyDir" }}
          emptyDir: {}
          {{- else }}
          persistentVolumeClaim:
            claimName: {{ $values.persistence.existingClaim | default (printf "%s-%s" (include "holdfast.fullname" $root) $component) }}
          {{- end }}
        {{- end }}
        {{- range $facts.files }}
        - name: {{ .name }}
          secret:
            {{- toYaml .secret | nindent 12 }}
        {{- end }}
      {{- end }}
{{- end }}

{{/* The environment of a service: (list $ values facts). */}}
{{- define "holdfast.env" -}}
{{- $root := index . 0 -}}
{{- $values := index . 1 -}}
{{- $facts := index . 2 -}}
{{- $common := dict
  "ALLOW_ANONYMOUS" ($root.Values.allowAnonymous | toString)
  "LOG_FORMAT" $root.Values.log.format
  "LOG_LEVEL" $root.Values.log.level
  "SERVER_DRAIN_DELAY" (printf "%ds" (int $root.Values.drainDelaySeconds))
  "SERVER_SHUTDOWN_TIMEOUT" (printf "%ds" (int $root.Values.shutdownTimeoutSeconds)) -}}
{{- with $root.Values.otlpEndpoint }}{{ $_ := set $common "OTLP_ENDPOINT" . }}{{ end -}}
{{- if $facts.embedded }}{{ $_ := set $common "DATA_DIR" "/var/lib/holdfast" }}{{ end -}}
{{- if not $root.Values.allowAnonymous -}}
{{- fail "allowAnonymous is false, but the services cannot ask yet who is calling and would not start: set it to true, and say with a NetworkPolicy who reaches them" -}}
{{- end -}}
{{- $env := $facts.env -}}
{{- range $name, $value := $common -}}
{{- $env = append $env (dict "name" (printf "%s_%s" $facts.prefix $name) "value" $value) -}}
{{- end -}}
{{- range $env }}{{ if hasKey $values.settings .name -}}
{{- fail (printf "settings of %s has %s, which the chart sets from a value of its own" $facts.service .name) -}}
{{- end }}{{ end -}}
{{- range $name, $value := $values.settings -}}
{{- $env = append $env (dict "name" $name "value" $value) -}}
{{- end -}}
{{- toYaml $env -}}
{{- end }}

{{/* The probes of a service. */}}
{{- define "holdfast.probes" -}}
startupProbe:
  httpGet:
    path: /livez
    port: http
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: {{ div (add .startupSeconds 1) 2 }}
livenessProbe:
  httpGet:
    path: /livez
    port: http
  periodSeconds: 10
  timeoutSeconds: 2
  failureThreshold: 3
readinessProbe:
  httpGet:
    path: /readyz
    port: http
  periodSeconds: 5
  # A silent dependency is told after two seconds.
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{- define "holdfast.service" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "holdfast.fullname" $root }}-{{ $component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "holdfast.labels" (list $root $component) | nindent 4 }}
spec:
  type: ClusterIP
  selector:
    {{- include "holdfast.selector" (list $root $component) | nindent 4 }}
  ports:
    - name: http
      port: {{ $values.port }}
      targetPort: http
      protocol: TCP
      appProtocol: http
{{- end }}

{{- define "holdfast.claim" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
{{- $persistence := $values.persistence -}}
{{- if and (eq $values.store "embedded") (eq $persistence.type "claim") (not $persistence.existingClaim) -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "holdfast.fullname" $root }}-{{ $component }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "holdfast.labels" (list $root $component) | nindent 4 }}
  {{- if $persistence.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
spec:
  accessModes:
    - {{ $persistence.accessMode }}
  {{- with $persistence.storageClass }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ $persistence.size }}
{{- end }}
{{- end }}
