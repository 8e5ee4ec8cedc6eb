#!/usr/bin/env bash
# Regenerates the golden LAMB trajectories from TensorFlow Addons itself, in an environment of
# its own (Python 3.11, TensorFlow 2.15, TensorFlow Addons 0.23: none of them runs beside Keras 3).
#
#   bash scripts/tfa_reference.sh [FILE [ENVIRONMENT]]
#
# FILE         what to write, default tests/optimizers/tfa_golden.npz
# ENVIRONMENT  a folder, made where it is missing, default ~/.cache/tfbert/tfa; about 1.5 GB

set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
file=${1:-$repository/tests/optimizers/tfa_golden.npz}
environment=${2:-${XDG_CACHE_HOME:-$HOME/.cache}/tfbert/tfa}

fail() {
    echo "tfa_reference: $1" >&2
    exit 2
}

# The stamp is written last: an installation that was interrupted is begun again.
if [ ! -e "$environment/.installed" ]; then
    command -v python3.11 >/dev/null || fail "Python 3.11 is needed and python3.11 is not on PATH"
    echo "tfa_reference: installing TensorFlow Addons into $environment (minutes)" >&2
    python3.11 -m venv --clear "$environment" || fail "python3.11 cannot make an environment"
    "$environment/bin/pip" install --quiet --disable-pip-version-check \
        "tensorflow-cpu==2.15.*" "tensorflow-addons==0.23.*" >&2 \
        || fail "the installation failed; see the lines above"
    touch "$environment/.installed"
fi

TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 PYTHONWARNINGS=ignore \
    "$environment/bin/python" "$repository/scripts/tfa_reference.py" "$file"
