#!/usr/bin/env bash
# Installs programs from Debian packages of the same names, where they are missing.
set -euo pipefail

missing=()
for program in "$@"; do
  command -v "$program" >/dev/null || missing+=("$program")
done
[ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "not found on PATH: ${missing[*]}; only root on Debian or Ubuntu can install them here," \
    "so install them by hand and run this again" >&2
  exit 1
fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
