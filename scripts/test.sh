#!/usr/bin/env bash
# Sets up everything, then checks style, imports and types, and runs the tests.
#
#   bash scripts/test.sh [--slow] [PYTEST ARGUMENTS]      --slow: also those marked slow

set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh" dev
cd "$repository"

if [ "${1:-}" = --slow ]; then
    shift
    set -- -m "slow or not slow" "$@"
fi
ruff check .
ruff format --check .
lint-imports --no-cache
mypy
# Two or more processes, a file of tests each; -n 0 runs all in one, as a debugger needs it.
python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder "$@"
