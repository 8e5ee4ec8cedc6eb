# Sourced by the other scripts: a virtual environment with tfbert in it.
#
#   . scripts/setup.sh EXTRA
#
# Uses the active environment; without one, makes .venv/ in the repository. Installs only when
# requirements.txt or setup.cfg changed since the last time. EXTRA is `base` or one of setup.cfg's extras.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    echo "setup: $1" >&2
    exit "${2:-1}"
}

suitable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}

find_python() {
    for candidate in python3.11 python3.12 python3 python; do
        if command -v "$candidate" >/dev/null && suitable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# A folder that was moved, or whose making was interrupted, has no pip of its own.
working_environment() {
    [ -x "$1/bin/python" ] && [ "$(. "$1/bin/activate" && python -c \
        'import pip, sys; print(sys.prefix)' 2>/dev/null)" = "$1" ]
}

if [ -z "${VIRTUAL_ENV:-}" ]; then
    environment="$repository/.venv"
    if ! working_environment "$environment"; then
        python=$(find_python) || fail "Python 3.11 or 3.12 is needed and none is on PATH" 2
        echo "setup: making .venv with $python" >&2
        "$python" -m venv --clear "$environment" || {
            rm -rf "$environment"
            fail "$python cannot make virtual environments; on Debian: apt install python3-venv"
        }
    fi
    . "$environment/bin/activate"
fi
suitable python || fail "the active environment's Python is not 3.11 or 3.12: deactivate it" 2

extra=$1
wanted=$(cat "$repository/requirements.txt" "$repository/setup.cfg"; echo "$repository")

installed() { [ "$(cat "$VIRTUAL_ENV/.tfbert-$1" 2>/dev/null)" = "$wanted" ]; }

# Every extra brings the base along.
if ! installed "$extra" && ! { [ "$extra" = base ] && installed dev; }; then
    target=$repository
    [ "$extra" = base ] || target="$repository[$extra]"
    echo "setup: installing tfbert and what it needs (1 to 5 minutes)" >&2
    python -m pip install --quiet --disable-pip-version-check \
        -r "$repository/requirements.txt" -e "$target" >&2 \
        || fail "the installation failed; see the lines above"
    printf '%s' "$wanted" >"$VIRTUAL_ENV/.tfbert-$extra"
fi
