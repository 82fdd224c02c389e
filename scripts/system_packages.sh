#!/usr/bin/env bash
# Brings what `make test` needs beside Python: a JRE of 17 or newer, Maven, Chromium, a C compiler with Python's headers, promtool
# and amtool.
#
# - What is there is left alone. What is missing is installed with apt-get, as root or with a sudo that asks nothing;
#   otherwise it says what to install, and stops.
# - promtool and amtool are only unpacked, into .tieout/tools: installing their packages would start a Prometheus and an
#   Alertmanager as services.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/.tieout/tools
export PATH="$PATH:$tools/usr/bin"

have() { command -v "$1" >/dev/null 2>&1; }

have_java() {
    have java || return 1
    local major
    major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -1)
    [ "${major:-0}" -ge 17 ]
}

have_headers() { "${PYTHON:-python3}" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'; }

install=()
unpack=()
have_java || install+=(openjdk-17-jre-headless)
have mvn || install+=(maven)
have chromium || install+=(chromium)
have cc || install+=(gcc libc6-dev)
have_headers || install+=(python3-dev)
have promtool || unpack+=(prometheus)
have amtool || unpack+=(prometheus-alertmanager)
[ $((${#install[@]} + ${#unpack[@]})) -gt 0 ] || exit 0

stop_and_tell() {
    {
        echo "tieout: the tests need these, and $1:"
        for package in ${install[@]+"${install[@]}"} ${unpack[@]+"${unpack[@]}"}; do
            case $package in
            openjdk-17-jre-headless) echo "  a Java runtime, 17 or newer ('java')    Debian: $package" ;;
            maven) echo "  Apache Maven ('mvn')                    Debian: $package" ;;
            chromium) echo "  Chromium ('chromium')                   Debian: $package" ;;
            gcc) echo "  a C compiler ('cc')                     Debian: $package" ;;
            python3-dev) echo "  Python's headers ('Python.h')           Debian: $package" ;;
            prometheus) echo "  Prometheus' promtool                    Debian: $package" ;;
            prometheus-alertmanager) echo "  Alertmanager's amtool                   Debian: $package" ;;
            esac
        done
        echo "Install them, then run make test again."
    } >&2
    exit 2
}

have apt-get || stop_and_tell "this system has no apt-get to bring them"
if [ "$(id -u)" = 0 ]; then
    as_root=()
elif have sudo && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    stop_and_tell "installing packages takes root here"
fi

echo "tieout: bringing ${install[*]-} ${unpack[*]-} from the system's packages" >&2
${as_root[@]+"${as_root[@]}"} apt-get update -qq
if [ ${#install[@]} -gt 0 ]; then
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${install[@]}" >/dev/null
fi
if [ ${#unpack[@]} -gt 0 ]; then
    packages=$(mktemp -d)
    trap 'rm -rf "$packages"' EXIT
    chmod 755 "$packages"
    (cd "$packages" && apt-get download -qq "${unpack[@]}")
    mkdir -p "$tools"
    for package in "$packages"/*.deb; do dpkg-deb -x "$package" "$tools"; done
fi
