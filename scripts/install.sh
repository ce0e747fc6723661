# Sourced by run.sh and test.sh: makes .venv and installs Emoseek into it, once.

say() { printf '%s\n' "emoseek: $*" >&2; }
fail() { say "$*"; exit 1; }

# install EXTRA…: does nothing when all of them were installed from today's pins.
install() {
    local python=${PYTHON:-python3} pins extra missing= log=.venv/install.log
    pins=$({ pwd; cat pyproject.toml constraints.txt; } | cksum)
    for extra in "$@"; do
        [ "$(cat ".venv/.installed-$extra" 2>/dev/null)" = "$pins" ] || missing=yes
    done
    [ -n "$missing" ] || return 0
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
            fail "Python 3.11 or newer is needed; set PYTHON to one ($python is not)."
        say "making .venv"
        "$python" -m venv --clear .venv ||
            fail "no virtual environment could be made (on Debian: apt install python3-venv)."
    fi
    say "installing emoseek[$(IFS=,; echo "$*")] into .venv; the first time takes some minutes"
    case " $* " in  # both bring a module named faiss; a machine may get or lose its GPU
    *" gpu "*) .venv/bin/python -m pip uninstall -qy faiss-cpu >/dev/null 2>&1 || true ;;
    *" cpu "*) .venv/bin/python -m pip uninstall -qy faiss-gpu >/dev/null 2>&1 || true ;;
    esac
    rm -f .venv/.installed-*
    if ! .venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt \
        -e ".[$(IFS=,; echo "$*")]" >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "the installation failed; all that pip said is in $log."
    fi
    for extra in "$@"; do printf '%s\n' "$pins" >".venv/.installed-$extra"; done
}

# Which of the two FAISS builds this machine wants.
hardware() { if nvidia-smi >/dev/null 2>&1; then echo gpu; else echo cpu; fi; }

# Headless Chromium, which the tests of pages look with; without it they are skipped.
browser() {
    local root= log=.venv/browser.log
    if command -v chromium || command -v chromium-browser; then return 0; fi >/dev/null
    [ "$(id -u)" = 0 ] || root="sudo -n"
    say "installing chromium, for the tests of pages"
    { $root apt-get update && $root apt-get install -y --no-install-recommends chromium; } \
        >"$log" 2>&1 || say "that failed (see $log); tests of pages are skipped."
}
