#!/usr/bin/env bash
# Makes a virtual environment with uv in it: make_venv.sh FOLDER uv==VERSION
set -euo pipefail
venv=$1 installer=$2

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "python3 is $(python3 --version 2>&1); driftgate needs Python 3.11 or newer" >&2
  exit 1
fi
# Debian ships python3 without what makes environments.
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends python3-venv
  else
    echo "python3 cannot make virtual environments; install its venv module" \
      "(Debian, Ubuntu: 'sudo apt-get install python3-venv') and run this again" >&2
    exit 1
  fi
fi
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$installer"
