#!/usr/bin/env bash
# Makes the model that ships with the package, tfbert/embedded/model: MiniLM cut down to three of its
# six layers and 8,000 of its word pieces, then taught by MiniLM on film reviews, then packed.
# About 45 minutes on 2 cores.
#
#   bash scripts/train_shipped_weights.sh DATA [WORK]
#
# DATA holds minilm/, imdb/unsup.txt.gz and novels/; WORK, default runs/shipped, keeps what was made
# on the way, and a second call goes on there.

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" base
data=${1:?name the folder with minilm, imdb and novels}
work=${2:-$repository/runs/shipped}
embedded=$repository/tfbert/embedded
reviews=$data/imdb/unsup.txt.gz
mkdir -p "$work/sentences"

# The word pieces: those of reviews and novels, and of the embedded sentences to train on, which are
# few, so that they are counted 20 times.
if [ ! -d "$work/pruned" ]; then
    for _ in $(seq 20); do tail -n +2 "$embedded/sentiment/train.tsv" | cut -f1; done \
        >"$work/sentences/embedded.txt"
    python "$repository/scripts/prune_model.py" "$data/minilm" --layers 0 2 5 \
        --text "$reviews" "$data/novels" "$work/sentences" --vocabulary-size 8000 \
        --activation gelu_tanh --dropout 0 --output "$work/pruned"
fi
tfbert prepare --input "$reviews" --documents line --sequences filled --lengths 64 \
    --vocab "$work/pruned" --output "$work/records"
if [ ! -e "$work/taught/metrics.json" ]; then
    tfbert pretrain --recipe shipped --data "$work/records" --init "$work/pruned" \
        --teacher "$data/minilm" --output "$work/taught"
fi
# The teacher has no masked-LM head: one is trained on the encoder as it is now.
if [ ! -e "$work/run/metrics.json" ]; then
    tfbert pretrain --recipe shipped_head --data "$work/records" --init "$work/taught" \
        --output "$work/run"
fi

rm -rf "$embedded/model.new"
cp -r "$work/run/model" "$embedded/model.new"
python "$repository/scripts/pack_weights.py" "$embedded/model.new" --bits 3 --dropout 0.1
cp "$repository/scripts/shipped_weights.md" "$embedded/model.new/README.md"
cp "$repository/LICENSE" "$embedded/model.new/LICENSE" # MiniLM's is the same one
rm -rf "$embedded/model"
mv "$embedded/model.new" "$embedded/model"
