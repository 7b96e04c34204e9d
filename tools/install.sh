#!/bin/sh
# Make a virtual environment and install the pinned dependencies, saying what is going on.
set -eu
venv=$1
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null 2>&1 || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "install: Python 3.11 or newer is needed; '$python' is not. Set PYTHON=/path/to/python3.11" >&2
    exit 2
}
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
    echo "install: '$python' cannot make virtual environments; on Debian: apt-get install python3-venv" >&2
    exit 2
}
echo "install: 1/3 virtual environment in $venv ($("$python" --version))"
"$python" -m venv "$venv"
echo "install: 2/3 pinned dependencies from constraints.txt (about 180 packages, one to three minutes)"
# One short line that changes (a terminal) or one every 25 packages, instead of pip's silence or its pages of text.
log=$venv/install.log
[ -t 1 ] && tty=1 || tty=0
{ "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
    --constraint constraints.txt --editable '.[all]' 2>&1; echo "exit $?"; } | tee "$log" | awk -v tty="$tty" '
    /^Collecting /            { n++; if (tty) printf "\rinstall:     %3d looked up    %-40.40s", n, $2
                                else if (n % 25 == 0) printf "install:     %3d looked up\n", n; fflush(); next }
    /^Installing collected/   { printf "%sinstall:     installing %d packages ...%-30s\n", tty ? "\r" : "", n, ""; fflush(); next }
    /^ERROR|^error/           { printf "\n%s\n", $0; fflush() }
    END                       { print "" }'
grep -q '^exit 0$' "$log" || {
    echo "install: pip failed; the last lines of $log:" >&2
    tail -n 15 "$log" >&2
    exit 1
}
echo "install: 3/3 done"
