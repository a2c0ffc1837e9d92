#!/usr/bin/env bash
#
# packages.sh <packages.tar: in a Debian that has nothing yet (in-debian.sh --bare), as root: a server
# with a database that is in use; the packages by apt, each with no other than it asks for; the extension
# in that database, without a restart of the server; the example program, built with the packaged client;
# the packages' own test, debian/tests. Then apt remove, once under a database that still has the
# extension, and once as docs/install.md says: after both the server must be as healthy as before.

set -euo pipefail

step() { printf '== %s\n' "$*"; }
export DEBIAN_FRONTEND=noninteractive
install() { apt-get -q -y install --no-install-recommends "$@" >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }; }
remove() { apt-get -q -y remove "$@" >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }; }
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }
query() { as_postgres psql -XAtq -v ON_ERROR_STOP=1 -d shop -c "$1"; }
expect() { # WHAT EXPECTED
    local got
    got=$(query "$1")
    [[ $got == "$2" ]] || { echo "$1: $got, not $2"; exit 1; }
}

mkdir /tmp/packages
tar -C /tmp/packages -xf -
apt-get -q update >/dev/null
apt-get -q -y upgrade >/dev/null 2>&1

step "a server with a database in use"
package=$(cd /tmp/packages && echo postgresql-*-insula_*.deb)
version=${package#postgresql-}
version=${version%%-*}
install postgresql-common
echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf
install "postgresql-$version"
pg_createcluster "$version" main >/dev/null
# Not always 5432: the machine's other servers have the same loopback.
PGPORT=$(pg_conftool -s "$version" main show port)
export PGPORT
pg_ctlcluster "$version" main start
as_postgres createdb shop
query 'CREATE TABLE customers AS SELECT generate_series(1, 1000) AS id'
started=$(query 'SELECT pg_postmaster_start_time()')

step "apt install ./$package, CREATE EXTENSION"
install "/tmp/packages/$package"
query 'CREATE EXTENSION insula'
expect 'SELECT pg_postmaster_start_time()' "$started"
expect "SELECT schema_name FROM insula.create_tenant('first_customer')" tenant_first_customer

step "apt install the command line"
install /tmp/packages/insula_*.deb /tmp/packages/libinsula0.1_*.deb
as_postgres insula -d 'dbname=shop' tenant list | grep first_customer >/dev/null
[[ -e /usr/share/man/man1/insula.1.gz ]]
if dpkg-query -W libinsula-dev >/dev/null 2>&1; then
    echo "it brings libinsula-dev with it"
    exit 1
fi

step "apt install the client, and the example with it"
install g++ pkg-config /tmp/packages/libinsula*.deb
query "CREATE ROLE admin LOGIN PASSWORD 'admin' SUPERUSER"
example=/usr/share/doc/libinsula-dev/examples/multi_tenant.cpp
[[ -e $example ]] || gunzip -k "$example.gz"
# shellcheck disable=SC2046
g++ -std=c++20 -O1 "$example" -o /tmp/multi_tenant $(pkg-config --cflags --libs insula libpq fmt)
ADMIN_DATABASE_URL="postgresql://admin:admin@localhost:$PGPORT/shop" /tmp/multi_tenant >/tmp/example.log || { cat /tmp/example.log; exit 1; }
tail -n 3 /tmp/example.log
if ldd /tmp/multi_tenant | grep 'not found' >/dev/null; then
    ldd /tmp/multi_tenant
    exit 1
fi
expect 'SELECT pg_postmaster_start_time()' "$started"

step "the packages' own test"
# pg_virtualenv would give its own cluster the port of this one.
env -u PGPORT debian/tests/installed >/tmp/installed.log 2>&1 || { cat /tmp/installed.log; exit 1; }

step "the licences of what they hold"
for name in "postgresql-$version-insula" libinsula0.1 libinsula-dev insula; do
    for word in 'AUTHORS OF INSULA' 'Leon Sorokin' 'Chris Pettitt' 'Jason Miller' common-licenses/Apache-2.0; do
        grep -q "$word" "/usr/share/doc/$name/copyright" || { echo "$name: no $word"; exit 1; }
    done
done

step "with shared_preload_libraries, after a restart"
query "ALTER SYSTEM SET shared_preload_libraries = 'insula'"
pg_ctlcluster "$version" main restart
expect "SELECT count(*) > 0 FROM insula.tenants WHERE tenant = 'first_customer'" t

step "apt remove under a database that has it, and back"
query 'ALTER SYSTEM RESET shared_preload_libraries'
pg_ctlcluster "$version" main restart
remove "postgresql-$version-insula"
expect 'SELECT count(*) FROM customers' 1000
pg_ctlcluster "$version" main restart
expect 'SELECT count(*) FROM customers' 1000
state=$(as_postgres psql -XAtq -d shop -c '\set VERBOSITY sqlstate' -c 'SELECT insula.current_tenant()' 2>&1 || true)
[[ $state == *58P01* ]] || { echo "a call without the library: $state"; exit 1; }
install "/tmp/packages/$package"
expect "SELECT count(*) > 0 FROM insula.tenants WHERE tenant = 'first_customer'" t

step "apt remove"
query "SELECT insula.drop_tenant(tenant) FROM insula.tenants" >/dev/null
query 'DROP EXTENSION insula'
query 'DROP OWNED BY insula_admin, insula_runner, insula_tenant, insula_owner'
query 'DROP ROLE insula_admin, insula_runner, insula_tenant, insula_owner'
remove "postgresql-$version-insula" libinsula-dev libinsula0.1 insula
expect 'SELECT count(*) FROM customers' 1000
expect "SELECT count(*) FROM pg_proc WHERE pronamespace::regnamespace::text ~ 'insula'" 0
expect "SELECT count(*) FROM pg_roles WHERE rolname ~ 'insula'" 0
pg_ctlcluster "$version" main restart
expect 'SELECT count(*) FROM customers' 1000
if find / -xdev -path /home -prune -o -path /tmp -prune -o -path /proc -prune -o -name '*insula*' -print | grep -Ev '^/(var/lib/dpkg|var/lib/apt|var/cache|usr/share/doc)/'; then
    echo "remains"
    exit 1
fi
pg_ctlcluster "$version" main stop
step "all is well"
