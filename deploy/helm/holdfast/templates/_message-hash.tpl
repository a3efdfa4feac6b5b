{{/* What _component.tpl needs to know of message-hash-svc. */}}
{{- define "holdfast.message-hash" -}}
{{- $hash := .Values.messageHash -}}
{{- $postgres := $hash.postgres -}}
{{- if and (eq $hash.store "embedded") (gt (int $hash.replicas) 1) -}}
{{- fail (printf "messageHash.replicas is %d, but the embedded store is for one replica: set messageHash.store=postgres, or messageHash.replicas=1" (int $hash.replicas)) -}}
{{- end -}}
{{- if and (eq $hash.store "postgres") (not $postgres.existingSecret) -}}
{{- fail "messageHash.postgres.existingSecret is empty, but messageHash.store is postgres: name a Secret with the addresses" -}}
{{- end -}}
service: message-hash-svc
prefix: MESSAGE_HASH
embedded: {{ eq $hash.store "embedded" }}
oneReplica: {{ eq $hash.store "embedded" }}
env:
  - name: MESSAGE_HASH_LISTEN
    value: {{ include "holdfast.socket" (list .Values.listenAddress $hash.port) | quote }}
  - name: MESSAGE_HASH_STORE
    value: {{ $hash.store }}
{{- with $hash.admin.existingSecret }}
  {{- include "holdfast.secret-env" (list "MESSAGE_HASH_ADMIN_KEY" . $hash.admin.keyKey) | nindent 2 }}
{{- end }}
{{- if eq $hash.store "postgres" }}
  {{- include "holdfast.secret-env" (list "MESSAGE_HASH_POSTGRES_SHARDS" $postgres.existingSecret $postgres.shardsKey) | nindent 2 }}
{{- with $postgres.alsoReadKey }}
  {{- include "holdfast.secret-env" (list "MESSAGE_HASH_POSTGRES_ALSO_READ" $postgres.existingSecret .) | nindent 2 }}
{{- end }}
{{- with $postgres.tls.existingSecret }}
files:
  - name: postgres-tls
    mountPath: /etc/postgres
    secret:
      secretName: {{ . }}
      defaultMode: 0440
      items:
        - key: {{ $postgres.tls.caKey }}
          path: ca.crt
{{- end }}
{{- end }}
{{- end }}
