#!/usr/bin/env bash
# Sets up everything, then goes the whole way on embedded text: training records, the embedded BERT
# pre-trained on them with LAMB on two replicas, and a sentiment classifier made of it.
# After the installation nothing is downloaded; 2 cores need two minutes (measured).
#
#   bash scripts/quickstart.sh [RUN]      RUN: where to write, default runs/quickstart

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" base
run=${1:-$repository/runs/quickstart}
if [ $# -eq 0 ]; then
    rm -rf "$run" # of an earlier quick start; a folder of the user's own is not replaced
elif [ -e "$run" ]; then
    fail "$run exists already: name a folder to be made" 2
fi
mkdir -p "$run"
export TF_CPP_MIN_LOG_LEVEL=3 # TensorFlow would greet with what it found on this machine

tail -n +2 "$repository/tfbert/embedded/sentiment/train.tsv" | cut -f1 >"$run/text.txt"
tfbert prepare --input "$run/text.txt" --vocab embedded --sequences filled --lengths 64 \
    --output "$run/records" --no-progress
tfbert pretrain --recipe quick --data "$run/records" --init embedded --replicas 2 \
    --output "$run/pretrained"
tfbert finetune --task embedded --model "$run/pretrained" --output "$run/classifier"
python "$repository/scripts/quickstart_report.py" "$run/classifier"
