#!/usr/bin/env bash
# One command on a TPU's machine, detached from the connection that started it.
#
#   bash tpu_job.sh start COMMAND...   starts it, unless one runs already
#   bash tpu_job.sh follow OFFSET      its output from that byte on, until it ends, and the status
#   bash tpu_job.sh status             one line behind a record separator (0x1e):
#                                      `tfbert-job: none | running | ended STATUS | lost`

set -euo pipefail
folder=$HOME/tfbert-job

status() {
    if [ -e "$folder/status" ]; then
        echo "ended $(cat "$folder/status")"
    elif [ ! -e "$folder/pid" ]; then
        echo none
    elif kill -0 "$(cat "$folder/pid")" 2>/dev/null; then
        echo running
    elif [ -e "$folder/status" ]; then  # it ended just now
        echo "ended $(cat "$folder/status")"
    else
        echo lost  # the machine was started anew, or memory was short
    fi
}

mark() { printf '\x1etfbert-job: %s\n' "$(status)"; }

case $1 in
start)
    shift
    [ "$(status)" != running ] || exit 0
    rm -rf "$folder"
    mkdir "$folder"
    : >"$folder/log"
    cd "$HOME"
    # `$0` is the folder in there; the status appears whole.
    nohup setsid bash -c '"$@" </dev/null >>"$0/log" 2>&1
        echo $? >"$0/status.new"
        mv "$0/status.new" "$0/status"' "$folder" "$@" >/dev/null 2>&1 </dev/null &
    echo $! >"$folder/pid"
    ;;
follow)
    if [ "$(status)" != none ]; then
        tail --pid="$(cat "$folder/pid")" -s 0.2 -c "+$(($2 + 1))" -f "$folder/log"
    fi
    mark
    ;;
status)
    mark
    ;;
*)
    echo "tpu_job: no such word: $1" >&2
    exit 2
    ;;
esac
