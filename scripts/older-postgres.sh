#!/usr/bin/env bash
#
# older-postgres.sh: PostgreSQL 15 beside the one of a newer Debian, from Debian 12: its server, and the headers to build
# an extension for it. For in-debian.sh, in a Debian that is thrown away; as root.

set -euo pipefail

readonly version=15 suite=bookworm
[[ ! -e /usr/include/postgresql/$version/server/postgres.h ]] || exit 0

mirror=$(sed -n 's/^deb \([^ ]*\) .*/\1/p' /etc/apt/sources.list | head -n 1)
echo "deb $mirror $suite main" >/etc/apt/sources.list.d/older.list
printf '%s\n' 'Package: *' "Pin: release n=$suite" 'Pin-Priority: 100' >/etc/apt/preferences.d/older
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y install --no-install-recommends "postgresql-$version"
# It depends on a compiler of that Debian, which is not needed.
cd /tmp
apt-get -q -o APT::Sandbox::User=root download "postgresql-server-dev-$version"
dpkg -x "postgresql-server-dev-$version"_*.deb /
rm "postgresql-server-dev-$version"_*.deb
