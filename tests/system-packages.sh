#!/bin/sh
# Programs and data that some tests use and pip does not bring. Never fails: what is missing is named, and the tests
# that need it skip themselves.
set -u

missing() {
    for package in openssh-server tmux dataset-fashion-mnist iproute2; do
        dpkg -s "$package" >/dev/null 2>&1 || printf '%s ' "$package"
    done
}

if ! command -v dpkg >/dev/null || ! command -v apt-get >/dev/null; then
    echo "this is no Debian or Ubuntu: tests that need sshd, tmux, ip or Fashion-MNIST are skipped where they are missing"
    exit 0
fi
packages=$(missing)
if [ -n "$packages" ] && [ "$(id -u)" = 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086 # a list of names
    apt-get install -y -qq $packages >/dev/null 2>&1 </dev/null ||
        { apt-get update -qq && apt-get install -y -qq $packages; } >/dev/null 2>&1 </dev/null
    packages=$(missing)
fi
if [ -n "$packages" ]; then
    echo "not installed: ${packages% }; the tests that need them are skipped (apt-get install $packages)"
fi
exit 0
