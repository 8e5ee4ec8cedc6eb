#!/usr/bin/env bash
# Downloads what scripts/benchmarks/gpu.py needs, for a GPU machine that has no network.
#
#   bash scripts/benchmarks/gpu_wheels.sh FOLDER [PYTHON] [PACKAGE ...]
#
# PYTHON is the other machine's, such as 3.12 (the default), on Linux and x86-64. Without PACKAGE it
# takes what a machine lacks that has JAX with CUDA, torch and transformers already: Keras, KerasHub
# and their own few, 4 MB. A bare machine needs all, several GB:
#
#   bash scripts/benchmarks/gpu_wheels.sh wheels 3.12 "jax[cuda12]" torch transformers scikit-learn \
#     scipy tensorboard "etils[epath]" filelock h5py
#
# Carry FOLDER there beside this repository, and run (no network, at most ten minutes):
#
#   python -m pip install --no-index --no-deps --target site FOLDER/*.whl
#   PYTHONPATH=site python scripts/benchmarks/gpu.py

set -euo pipefail

[ $# -gt 0 ] || {
    echo "gpu_wheels: name the folder: bash scripts/benchmarks/gpu_wheels.sh FOLDER [PYTHON] [PACKAGE ...]" >&2
    exit 2
}
folder=$1
python=${2:-3.12}
shift $(($# > 1 ? 2 : 1))
options=(--quiet --dest "$folder" --only-binary=:all: --implementation cp --python-version "$python")
for version in 2_39 2_35 2_34 2_31 2_28 2_27 2_24 2_17; do
    options+=(--platform "manylinux_${version}_x86_64")
done
options+=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
mkdir -p "$folder"
# KerasHub names TensorFlow as a requirement, and does without it on JAX.
python3 -m pip download "${options[@]}" --no-deps \
    keras==3.15.1 keras-hub==0.32.0 keras-nlp==0.32.0 kagglehub==1.0.2 kagglesdk==0.1.28 namex optree
[ $# -eq 0 ] || python3 -m pip download "${options[@]}" "$@"
du -sh "$folder"
