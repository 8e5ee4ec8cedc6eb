#!/usr/bin/env bash
# Runs the notebooks on real data and writes them, with outputs and pictures, into docs/.
#
#   bash scripts/render_notebooks.sh DATA [NAME ...]      DATA: laid out as shared/data
#
# NAME is sentiment_transfer_learning or pretrain_with_lamb; by default both. On 2 CPU cores that do
# nothing else each takes some 6 minutes. Runs go to runs/notebooks/.

set -euo pipefail

refuse() {
    echo "render: $1" >&2
    exit 2
}

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# -gt 0 ] || refuse "name the folder with the data: bash scripts/render_notebooks.sh DATA"
for needed in minilm/model.safetensors glue/SST-2/train.tsv imdb/unsup.txt.gz; do
    [ -f "$1/$needed" ] || refuse "$1/$needed: no such file"
done
data=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- sentiment_transfer_learning pretrain_with_lamb
for name in "$@"; do
    [ -f "$scripts/../notebooks/$name.ipynb" ] || refuse "$name: no such notebook"
done

. "$scripts/setup.sh" dev
export PYTHONPATH=$repository
runs=$repository/runs/notebooks
mkdir -p "$runs"
cd "$runs"
ln -sfn "$data" data # so that no page names a folder of this machine
python - <<'EOF'
import gzip, itertools
with gzip.open("data/imdb/unsup.txt.gz", "rt", encoding="utf-8") as reviews:
    open("reviews.txt", "w", encoding="utf-8").writelines(itertools.islice(reviews, 10_000))
EOF

sentiment_transfer_learning="
MODEL: data/minilm
DATA: data/glue/SST-2
TRAIN_EXAMPLES: 1024
EPOCHS: 2
MAX_LENGTH: 64
RUNS: sentiment
INTERACTIVE: false"
pretrain_with_lamb="
TEXT: reviews.txt
DATA: data/glue/SST-2
RUNS: pretraining
INTERACTIVE: false"

for name in "$@"; do
    papermill "$repository/notebooks/$name.ipynb" "$name.ipynb" -y "${!name}"
    # Without the warnings of the libraries below, which would be most of the page.
    python - "$name.ipynb" <<'EOF'
import sys
import nbformat
notebook = nbformat.read(sys.argv[1], 4)
for cell in notebook.cells:
    if cell.cell_type == "code":
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
nbformat.write(notebook, sys.argv[1])
EOF
    rm -rf "$repository/docs/$name.md" "$repository/docs/${name}_files"
    jupyter nbconvert --to markdown --log-level WARN --output-dir "$repository/docs" "$name.ipynb"
    ruff format --quiet "$repository/docs/$name.md"
done
