# Sourced by the other scripts: a virtual environment with tfbert in it.
#
#   . scripts/setup.sh EXTRA [SET]
#
# EXTRA is `base` or one of setup.cfg's extras. Without SET: the active environment, or .venv/ in the
# repository, with requirements.txt. SET is `colab` (.venv-colab/: Colab's Python and
# requirements-colab.txt) or a version of Python such as 3.12 (.venv-3.12/, requirements.txt).
# Exit status 69 where there is no such Python. Installs only when the requirements or setup.cfg
# changed since the last time.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    echo "setup: $1" >&2
    exit "${2:-1}"
}

# Whether a command is a Python of one of the versions; one that pyenv knows of may not start.
suitable() { # COMMAND VERSION...
    "$1" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] not in sys.argv[1:])' "${@:2}" \
        2>/dev/null
}

find_python() { # VERSION...
    local version candidate
    for version in "$@" ""; do
        for candidate in "python${version:-3}" "python$version" \
            "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/"${version:-none}".*/bin/python; do
            if command -v "$candidate" >/dev/null && suitable "$candidate" "$@"; then
                echo "$candidate"
                return
            fi
        done
    done
    return 1
}

# A folder that was moved, or whose making was interrupted, has no pip of its own.
working_environment() {
    [ -x "$1/bin/python" ] && [ "$(. "$1/bin/activate" && python -c \
        'import pip, sys; print(sys.prefix)' 2>/dev/null)" = "$1" ]
}

extra=$1
set=${2:-}
versions=(3.11 3.12 3.13)
requirements=$repository/requirements.txt
case $set in
    "") ;;
    colab) versions=(3.13) requirements=$repository/requirements-colab.txt ;;
    *) versions=("$set") ;;
esac
known=$(printf ', %s' "${versions[@]}")
known=${known:2}
known=${known/%, 3.13/ or 3.13}

if [ -n "$set" ] || [ -z "${VIRTUAL_ENV:-}" ]; then
    name=.venv${set:+-$set}
    if ! working_environment "$repository/$name"; then
        python=$(find_python "${versions[@]}") \
            || fail "Python $known is needed and none is on PATH" $([ -z "$set" ] && echo 2 || echo 69)
        echo "setup: making $name with $python" >&2
        "$python" -m venv --clear "$repository/$name" || {
            rm -rf "${repository:?}/$name"
            fail "$python cannot make virtual environments; on Debian: apt install python3-venv"
        }
    fi
    . "$repository/$name/bin/activate"
fi
suitable python "${versions[@]}" \
    || fail "the active environment's Python is not $known: deactivate it" 2

wanted=$(cat "$requirements" "$repository/setup.cfg"; echo "$repository")

installed() { [ "$(cat "$VIRTUAL_ENV/.tfbert-$1" 2>/dev/null)" = "$wanted" ]; }

# Every extra brings the base along.
if ! installed "$extra" && ! { [ "$extra" = base ] && installed dev; }; then
    target=$repository
    [ "$extra" = base ] || target="$repository[$extra]"
    echo "setup: installing tfbert and what it needs (1 to 5 minutes)" >&2
    python -m pip install --quiet --disable-pip-version-check \
        -r "$requirements" -e "$target" >&2 \
        || fail "the installation failed; see the lines above"
    printf '%s' "$wanted" >"$VIRTUAL_ENV/.tfbert-$extra"
fi
