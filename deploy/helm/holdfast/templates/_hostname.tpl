{{/* What _component.tpl needs to know of hostname-svc. */}}
{{- define "holdfast.hostname" -}}
{{- $hostname := .Values.hostname -}}
{{- $vault := $hostname.vault -}}
{{- $lockUrls := $hostname.lockUrls -}}
{{- if not $lockUrls -}}
{{- if not .Values.sharedLock.enabled -}}
{{- fail "hostname.lockUrls is empty, but sharedLock.enabled is false: give the URLs of a shared-lock-svc" -}}
{{- end -}}
{{- $lockUrls = list (printf "http://%s-shared-lock:%d" (include "holdfast.fullname" .) (int .Values.sharedLock.port)) -}}
{{- end -}}
{{- if and (eq $hostname.store "embedded") (gt (int $hostname.replicas) 1) -}}
{{- fail (printf "hostname.replicas is %d, but the embedded store is for one replica: set hostname.store=vault, or hostname.replicas=1" (int $hostname.replicas)) -}}
{{- end -}}
{{- if and (eq $hostname.store "vault") (not $vault.address) -}}
{{- fail "hostname.vault.address is empty, but hostname.store is vault: give Vault's URL" -}}
{{- end -}}
{{- if and (eq $hostname.store "vault") (not $vault.existingSecret) -}}
{{- fail "hostname.vault.existingSecret is empty, but hostname.store is vault: name a Secret with the credentials" -}}
{{- end -}}
service: hostname-svc
prefix: HOSTNAME_SVC
embedded: {{ eq $hostname.store "embedded" }}
oneReplica: {{ eq $hostname.store "embedded" }}
env:
  - name: HOSTNAME_SVC_LISTEN
    value: {{ include "holdfast.socket" (list .Values.listenAddress $hostname.port) | quote }}
  - name: HOSTNAME_SVC_STORE
    value: {{ $hostname.store }}
  - name: HOSTNAME_SVC_LOCK_URL
    value: {{ join "," $lockUrls | quote }}
{{- if eq $hostname.store "vault" }}
  - name: HOSTNAME_SVC_VAULT_ADDR
    value: {{ $vault.address | quote }}
  - name: HOSTNAME_SVC_VAULT_MOUNT
    value: {{ $vault.mount | quote }}
  - name: HOSTNAME_SVC_VAULT_BASE_PATH
    value: {{ $vault.basePath | quote }}
  - name: HOSTNAME_SVC_VAULT_AUTH
    value: {{ $vault.auth }}
{{- if eq $vault.auth "token" }}
  {{- include "holdfast.secret-env" (list "HOSTNAME_SVC_VAULT_TOKEN" $vault.existingSecret $vault.tokenKey) | nindent 2 }}
{{- else }}
  {{- include "holdfast.secret-env" (list "HOSTNAME_SVC_VAULT_ROLE_ID" $vault.existingSecret $vault.roleIdKey) | nindent 2 }}
  {{- include "holdfast.secret-env" (list "HOSTNAME_SVC_VAULT_SECRET_ID" $vault.existingSecret $vault.secretIdKey) | nindent 2 }}
{{- end }}
{{- with $vault.tls.existingSecret }}
  - name: HOSTNAME_SVC_VAULT_CA_FILE
    value: /etc/vault/ca.crt
files:
  - name: vault-tls
    mountPath: /etc/vault
    secret:
      secretName: {{ . }}
      defaultMode: 0440
      items:
        - key: {{ $vault.tls.caKey }}
          path: ca.crt
{{- end }}
{{- end }}
{{- end }}
