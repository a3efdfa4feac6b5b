{{/* What _component.tpl needs to know of message-hash-svc. */}}
{{- define "holdfast.message-hash" -}}
{{- $hash := .Values.messageHash -}}
{{- if gt (int $hash.replicas) 1 -}}
{{- fail (printf "messageHash.replicas is %d, but the embedded store is for one replica: set messageHash.replicas=1" (int $hash.replicas)) -}}
{{- end -}}
service: message-hash-svc
prefix: MESSAGE_HASH
embedded: {{ eq $hash.store "embedded" }}
oneReplica: {{ eq $hash.store "embedded" }}
env:
  - name: MESSAGE_HASH_LISTEN
    value: {{ include "holdfast.socket" (list .Values.listenAddress $hash.port) | quote }}
{{- end }}
