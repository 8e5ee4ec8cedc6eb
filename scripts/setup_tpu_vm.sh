#!/usr/bin/env bash
# Makes ~/tfbert-venv on a Cloud TPU's machine: tfbert and what it needs, in the order that works.
#
#   bash setup_tpu_vm.sh [jax] [ENVIRONMENT]      scripts/cloud_tpu.yaml calls it; run again, it is quick
#
# With `jax`, for commands with --backend jax. Else tensorflow-tpu takes the place of `tensorflow`, which tensorflow-text and keras-hub require by
# name: they and tfbert are installed without their requirements, after them.

set -euo pipefail
package=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
requirements=requirements-tpu.txt
without=requirements-tpu-no-deps.txt
if [ "${1:-}" = jax ]; then
    requirements=requirements-tpu-jax.txt
    without=requirements-jax-no-deps.txt
    shift
fi
environment=${1:-$HOME/tfbert-venv}

fail() {
    echo "setup_tpu_vm: $1" >&2
    exit 1
}

find_python() {
    for candidate in python3.11 python3.12 python3; do
        if "$candidate" -c 'import sys, venv, ensurepip
sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

install() {
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$@" \
        || fail "the installation failed; see the lines above"
}

wanted=$(cat "$package/$requirements" "$package/$without")
if [ "$(cat "$environment/.tfbert-requirements" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$environment"
    if python=$(find_python); then
        "$python" -m venv "$environment" || fail "$python cannot make virtual environments"
    else
        # The images' Python is 3.10: uv brings another one.
        echo "setup_tpu_vm: no Python 3.11 here, fetching it with uv" >&2
        python3 -m pip install --quiet --user uv || fail "uv cannot be installed"
        python3 -m uv venv --quiet --seed --python 3.11 "$environment" || fail "no Python 3.11"
    fi
    install -r "$package/$requirements"
    install --no-deps -r "$package/$without"
    printf '%s' "$wanted" >"$environment/.tfbert-requirements"
fi
install --no-deps --force-reinstall "$package"
"$environment/bin/tfbert" --version
