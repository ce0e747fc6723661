#!/usr/bin/env bash
# Install Emoseek into .venv if needed, then serve it on 127.0.0.1:7860.
#
#   bash scripts/run.sh            serve; further options go to `emoseek serve`
#   bash scripts/run.sh restart    stop the service that owns the data directory, then serve
#   bash scripts/run.sh stop       stop it
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh

case "${1:-}" in
stop)
    [ -x .venv/bin/emoseek ] || fail "nothing is installed here yet."
    exec .venv/bin/emoseek "$@"
    ;;
restart)
    shift
    install "$(hardware)"
    set -- --replace "$@"
    ;;
*)
    install "$(hardware)"
    ;;
esac
say "starting; Ctrl+C or \`bash scripts/run.sh stop\` ends it"
exec .venv/bin/emoseek serve "$@"
