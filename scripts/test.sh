#!/usr/bin/env bash
# Install Emoseek with its development tools into .venv if needed, then check everything:
# lint, types, import rules, tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh

install "$(hardware)" dev
browser
step() {
    say "$1"
    shift
    "$@" || fail "stopped: \`$*\` found something (above)."
}
step "lint" .venv/bin/ruff check .
step "format" .venv/bin/ruff format --check .
step "types" .venv/bin/mypy
step "import rules" .venv/bin/lint-imports --no-cache
step "tests" .venv/bin/python -m pytest "$@"
say "all checks passed"
