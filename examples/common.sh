# Sourced by the run scripts: our commands from this clone, and what a script starts ends with it.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/examples/$(basename "$(cd "$(dirname "$0")" && pwd)")
python=${PYTHON:-python3}
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
VPORT="$python -m vport.cli"
VSWITCH="$python -m vswitch.cli"
VSWITCHTERM="$python -m vswitch.management.console"
work=$(mktemp -d)
pids=""
namespaces=""

# namespace NAME: make one, named after this script so that two runs do not meet; $NAME is then its name.
namespace() {
    eval "$1=$(basename "$here" | cut -c1-3)$$-$1"
    eval "ip netns add \$$1 && namespaces=\"\$namespaces \$$1\" && ip -n \$$1 link set lo up"
}

# start NAME COMMAND…: run in the background until the script ends; what it says is in $work/NAME.
start() {
    log=$1
    shift
    : >"$work/$log" # now, not when the command has begun: await must not read what another one said
    "$@" >"$work/$log" 2>&1 </dev/null &
    pids="$! $pids"
}

# stop: end what was started last, and wait for it.
stop() {
    last=${pids%% *}
    pids=${pids#* }
    kill "$last" 2>/dev/null || true
    { wait "$last" || true; } 2>/dev/null
}

# await NAME TEXT: wait until a command that was started has said something, ten seconds at most.
await() {
    for _ in $(seq 200); do
        grep -qe "$2" "$work/$1" 2>/dev/null && return
        sleep 0.05
    done
    echo "$1 did not say: $2. It said:" >&2
    cat "$work/$1" >&2
    exit 1
}

cleanup() {
    status=$?
    trap - EXIT INT TERM
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    for name in $namespaces; do ip netns del "$name" || true; done
    rm -rf "$work"
    exit $status
}
trap cleanup EXIT
trap 'exit 1' INT TERM
