# What hostname-svc may do in Vault, and nothing else. It is written for the mount `secret` and the base
# path `hostnames`, the defaults of HOSTNAME_SVC_VAULT_MOUNT and HOSTNAME_SVC_VAULT_BASE_PATH.
#
# No `delete` anywhere, and no `update` on metadata: a deleted counter would start again, and its names
# would be given out twice.

# Counters and what idempotency keys were given move by check-and-set.
path "secret/data/hostnames/counters/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/data/hostnames/idem/*" {
  capabilities = ["create", "read", "update"]
}

# What somebody asked for without waiting is written once when it is asked for and once when it has ended.
path "secret/data/hostnames/operations/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/metadata/hostnames/operations/*" {
  capabilities = ["list"]
}

# The audit record of a hostname, its retirement and the registration of a stem are written once: not
# even the service itself can change them.
path "secret/data/hostnames/hosts/*" {
  capabilities = ["create", "read"]
}
path "secret/data/hostnames/retired/*" {
  capabilities = ["create", "read"]
}
path "secret/data/hostnames/stems/*" {
  capabilities = ["create", "read"]
}

# Listing hostnames begins with the prefixes that have a counter, and tells which of them are retired.
path "secret/metadata/hostnames/counters/*" {
  capabilities = ["list"]
}
path "secret/metadata/hostnames/retired/*" {
  capabilities = ["list"]
}

# At start the service warns when the mount deletes secrets by their age.
path "secret/config" {
  capabilities = ["read"]
}
