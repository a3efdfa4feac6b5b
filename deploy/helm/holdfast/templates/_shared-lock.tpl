{{/* What _component.tpl needs to know of shared-lock-svc. */}}
{{- define "holdfast.shared-lock" -}}
{{- $lock := .Values.sharedLock -}}
{{- $tls := $lock.etcd.tls.existingSecret -}}
{{- if and (ne $lock.store "etcd") (gt (int $lock.replicas) 1) -}}
{{- fail (printf "sharedLock.replicas is %d, but the %s store is for one replica: set sharedLock.store=etcd, or sharedLock.replicas=1" (int $lock.replicas) $lock.store) -}}
{{- end -}}
{{- if and (eq $lock.store "etcd") (not $lock.etcd.endpoints) -}}
{{- fail "sharedLock.etcd.endpoints is empty, but sharedLock.store is etcd: list the URLs of its members" -}}
{{- end -}}
{{- range $lock.etcd.endpoints }}{{ if and $tls (not (hasPrefix "https://" .)) -}}
{{- fail (printf "sharedLock.etcd.endpoints has %s, but sharedLock.etcd.tls.existingSecret is set: with TLS every endpoint begins with https://" .) -}}
{{- end }}{{ end -}}
{{- $cert := and $lock.etcd.tls.certKey $lock.etcd.tls.keyKey -}}
{{- if and (not $cert) (or $lock.etcd.tls.certKey $lock.etcd.tls.keyKey) -}}
{{- fail "sharedLock.etcd.tls.certKey and sharedLock.etcd.tls.keyKey go together: give both, or neither" -}}
{{- end -}}
service: shared-lock-svc
prefix: SHARED_LOCK
embedded: {{ eq $lock.store "embedded" }}
oneReplica: {{ ne $lock.store "etcd" }}
env:
  - name: SHARED_LOCK_SERVER_ADDRESS
    value: {{ .Values.listenAddress | quote }}
  - name: SHARED_LOCK_SERVER_PORT
    value: {{ $lock.port | quote }}
  - name: SHARED_LOCK_STORAGE_TYPE
    value: {{ $lock.store }}
{{- if eq $lock.store "etcd" }}
  - name: SHARED_LOCK_ETCD_ADDR_LIST
    value: {{ join "," $lock.etcd.endpoints | quote }}
{{- if $tls }}
  - name: SHARED_LOCK_ETCD_TLS
    value: "true"
  - name: SHARED_LOCK_CA_CERT_PATH
    value: /etc/etcd/ca.crt
  - name: SHARED_LOCK_CLIENT_CERT_PATH
    value: {{ if $cert }}/etc/etcd/client.crt{{ else }}""{{ end }}
  - name: SHARED_LOCK_CLIENT_KEY_PATH
    value: {{ if $cert }}/etc/etcd/client.key{{ else }}""{{ end }}
{{- end }}
{{- with $lock.etcd.auth.existingSecret }}
  {{- include "holdfast.secret-env" (list "SHARED_LOCK_ETCD_USER" . $lock.etcd.auth.userKey) | nindent 2 }}
  {{- include "holdfast.secret-env" (list "SHARED_LOCK_ETCD_PASSWORD" . $lock.etcd.auth.passwordKey) | nindent 2 }}
{{- end }}
{{- if $tls }}
files:
  - name: etcd-tls
    mountPath: /etc/etcd
    secret:
      secretName: {{ $tls }}
      defaultMode: 0440
      items:
        - key: {{ $lock.etcd.tls.caKey }}
          path: ca.crt
        {{- if $cert }}
        - key: {{ $lock.etcd.tls.certKey }}
          path: client.crt
        - key: {{ $lock.etcd.tls.keyKey }}
          path: client.key
        {{- end }}
{{- end }}
{{- end }}
{{- end }}
