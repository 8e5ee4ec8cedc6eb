# Sourced by the other scripts: a virtual environment with tfbert in it.
#
#   . scripts/setup.sh [EXTRA]
#
# Uses the active environment; without one, makes .venv/ in the repository. Installs only when
# requirements.txt or setup.cfg changed since the last time. EXTRA is one of setup.cfg's extras.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    echo "setup: $1" >&2
    exit "${2:-1}"
}

find_python() {
    for candidate in python3.12 python3.11 python3 python; do
        if command -v "$candidate" >/dev/null && "$candidate" -c \
            'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

if [ -z "${VIRTUAL_ENV:-}" ]; then
    if [ ! -x "$repository/.venv/bin/python" ]; then
        python=$(find_python) || fail "Python 3.11 or 3.12 is needed and none is on PATH" 2
        echo "setup: making .venv with $python" >&2
        "$python" -m venv "$repository/.venv" || {
            rm -rf "$repository/.venv"
            fail "$python cannot make virtual environments; on Debian: apt install python3-venv"
        }
    fi
    . "$repository/.venv/bin/activate"
fi

extra=${1:-base}
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
