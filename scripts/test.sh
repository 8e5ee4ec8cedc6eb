#!/usr/bin/env bash
# Sets up everything, then checks style, imports and types, and runs the tests.
#
#   bash scripts/test.sh [--colab | --python VERSION] [--slow] [PYTEST ARGUMENTS]
#
#   --colab            the versions that Google Colab has (Python 3.13, requirements-colab.txt), in
#                      .venv-colab/: a representative part of the tests (tests/representative.txt)
#   --python VERSION   that part on another Python, such as 3.12, in .venv-3.12/
#   --slow             all tests, also those marked slow

set -euo pipefail
arguments=("$@")
set=
case ${1:-} in
    --colab) set=colab arguments=("${@:2}") ;;
    --python)
        [[ ${2:-} =~ ^3\.[0-9]+$ ]] || {
            echo "test: --python needs a version, such as 3.12" >&2
            exit 2
        }
        set=$2 arguments=("${@:3}")
        ;;
esac
extra=dev
[ -z "$set" ] || extra=test
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" "$extra" "$set"
cd "$repository"

tests=()
if [ "${arguments[0]:-}" = --slow ]; then
    arguments=(-m "slow or not slow" "${arguments[@]:1}")
elif [ -n "$set" ]; then
    mapfile -t tests <tests/representative.txt
fi
if [ -z "$set" ]; then # the same on every Python
    ruff check .
    ruff format --check .
    lint-imports --no-cache
    mypy
fi
# Two or more processes, a file of tests each; -n 0 runs all in one, as a debugger needs it.
python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder \
    "${tests[@]}" "${arguments[@]}"
