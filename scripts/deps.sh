#!/usr/bin/env bash
#
# Installs what building and testing needs from Debian's packages, and only what
# is missing; where all is there it does nothing at all. With --demo what tests
# alone need is left out. Further arguments are packages that are wanted besides.
# As root, or with sudo, or else it says which packages lack and fails. No
# PostgreSQL server is created or started: Debian's "main"
# cluster is switched off before the server package comes in, and no PgBouncer.
# An installed PostgreSQL is left as it is; where there is none, the version is
# the distribution's, or $INSULA_PG.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

sudo=()
can_install=0
if command -v apt-get >/dev/null; then
    if ((EUID == 0)); then
        can_install=1
    elif command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }; then
        can_install=1
        sudo=(sudo)
    fi
fi

as_root() { ${sudo[@]+"${sudo[@]}"} "$@"; }
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold "$@"
}
install_packages() {
    apt_get install --no-install-recommends "$@" || {
        # The lists of packages may be older than the archive.
        apt_get update
        apt_get install --no-install-recommends "$@"
    }
}

# The package "postgresql" depends on the distribution's version.
version_of_distribution() {
    { apt-cache depends postgresql 2>/dev/null || true; } | sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p'
}

version=${INSULA_PG:-$(installed_pg_version)}
if [[ -z $version ]] && command -v apt-get >/dev/null; then
    version=$(version_of_distribution)
    if [[ -z $version ]] && ((can_install)); then
        apt_get update
        version=$(version_of_distribution)
    fi
fi
version=${version:-15}
[[ " ${pg_versions[*]} " == *" $version "* ]] ||
    die "this distribution has PostgreSQL $version; Insula supports ${pg_versions[*]}"

packages=(
    g++ make cmake ninja-build pkg-config
    "postgresql-$version" "postgresql-server-dev-$version" libpq-dev
    libfmt-dev nlohmann-json3-dev
)
for_tests=(libcli11-dev libcpp-httplib-dev libtomlplusplus-dev libgtest-dev pgbouncer python3-croniter python3-yaml clang libclang-rt-dev)
if [[ ${1:-} == --demo ]]; then
    for_tests=()
    shift
fi
packages+=(${for_tests[@]+"${for_tests[@]}"} "$@")

is_installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# Tests use time zones by their old names, which newer distributions have in a package of their own.
has_old_zones() { [[ -e /usr/share/zoneinfo/PRC ]] || ((!${#for_tests[@]})); }

missing=()
for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
done
if ((!${#missing[@]})) && { has_old_zones || ((!can_install)); }; then exit 0; fi

# ---------------------------------------------------------------------------
# Something is missing
# ---------------------------------------------------------------------------

command -v apt-get >/dev/null ||
    die "this is no Debian; wanted are its packages: ${missing[*]}"
if ((!can_install)); then
    warn "these packages are missing, and there is neither root nor sudo:"
    die "  apt-get install --no-install-recommends ${missing[*]}"
fi

apt-get install --simulate "${missing[@]}" >/dev/null 2>&1 || apt_get update
if ! has_old_zones && apt-cache show tzdata-legacy >/dev/null 2>&1; then missing+=(tzdata-legacy); fi
((${#missing[@]})) || exit 0
say "installing ${missing[*]}"

if [[ " ${missing[*]} " == *" postgresql-$version "* ]]; then
    common=/etc/postgresql-common
    as_root mkdir -p "$common/createcluster.d"
    as_root tee "$common/createcluster.d/insula.conf" >/dev/null <<-'CONF'
	# Insula's build needs PostgreSQL's programs, no running server.
	create_main_cluster = false
	CONF
    is_installed postgresql-common || install_packages postgresql-common
    if [[ $(pg_conftool "$common/createcluster.conf" show -bs create_main_cluster) != off ]]; then
        # A configuration that does not look into createcluster.d.
        echo 'create_main_cluster = false' | as_root tee -a "$common/createcluster.conf" >/dev/null
    fi
fi

# Nor shall Debian start a PgBouncer: the tests start their own.
policy=/usr/sbin/policy-rc.d
if [[ " ${missing[*]} " == *' pgbouncer '* && ! -e $policy ]]; then
    printf '%s\n' '#!/bin/sh' 'exit 101' | as_root tee "$policy" >/dev/null
    as_root chmod +x "$policy"
    trap 'as_root rm -f "$policy"' EXIT
fi

install_packages "${missing[@]}"
