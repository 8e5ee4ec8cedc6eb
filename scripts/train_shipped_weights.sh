#!/usr/bin/env bash
# Trains the model that ships with the package, tfbert/embedded/model, on public-domain novels.
# Up to half an hour on 2 cores.
#
#   bash scripts/train_shipped_weights.sh NOVELS [WORK]
#
# NOVELS is a folder of novels as .txt files; WORK, default runs/shipped, keeps what was made on the
# way, and a second call goes on there.

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" base
novels=${1:?name the folder with the novels}
work=${2:-$repository/runs/shipped}
embedded=$repository/tfbert/embedded
mkdir -p "$work"

# The novels are 200 times as long as the embedded sentences; everyday words of today should have a
# chance beside them.
if [ ! -f "$work/vocabulary.txt" ]; then
    for _ in $(seq 20); do tail -n +2 "$embedded/sentiment/train.tsv" | cut -f1; done \
        >"$work/sentences.txt"
    tfbert vocab --input "$novels" "$work/sentences.txt" --output "$work/vocabulary.txt" \
        --size 8000 --alphabet 120
fi
tfbert prepare --input "$novels" --documents file --sequences filled --lengths 64 \
    --vocab "$work/vocabulary.txt" --output "$work/records"
tfbert pretrain --recipe shipped --data "$work/records" --output "$work/run"

rm -rf "$embedded/model.new"
cp -r "$work/run/model" "$embedded/model.new"
cat >"$embedded/model.new/README.md" <<'END'
A BERT of 2 layers, 128 wide, pre-trained on 33 public-domain novels (25 MB) by
scripts/train_shipped_weights.sh; its vocabulary is of the novels and the embedded sentences.
END
rm -rf "$embedded/model"
mv "$embedded/model.new" "$embedded/model"
