#!/usr/bin/env bash
# Sets up everything, then turns a small BERT into a sentiment classifier on embedded data.
# After the installation nothing is downloaded, and 2 cores need under 3 minutes.
#
#   bash scripts/quickstart.sh [RUN]      RUN: where to write, default runs/quickstart

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" base
run=${1:-$repository/runs/quickstart}
[ $# -gt 0 ] || overwrite=--overwrite # a folder of the user's own is not replaced
export TF_CPP_MIN_LOG_LEVEL=3 # TensorFlow would greet with what it found on this machine

tfbert finetune --task embedded --model embedded --output "$run" ${overwrite:-}
python "$repository/scripts/quickstart_report.py" "$run"
