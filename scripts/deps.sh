#!/usr/bin/env bash
#
# Installs what building and testing needs from Debian's packages, and only what
# is missing; where all is there it does nothing at all. Arguments are packages
# that are wanted besides. As root, or with sudo, or else it says which packages
# lack and fails. No PostgreSQL server is created or started: Debian's "main"
# cluster is switched off before the server package comes in, and no PgBouncer.
# An installed PostgreSQL is left as it is.

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

packages=(
    g++ make cmake ninja-build pkg-config
    postgresql-15 postgresql-server-dev-15 libpq-dev
    libfmt-dev nlohmann-json3-dev libgtest-dev pgbouncer
    python3-croniter clang libclang-rt-dev
    "$@"
)

is_installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

missing=()
for package in "${packages[@]}"; do
    is_installed "$package" || missing+=("$package")
done
((${#missing[@]})) || exit 0

# ---------------------------------------------------------------------------
# Something is missing
# ---------------------------------------------------------------------------

command -v apt-get >/dev/null ||
    die "this is no Debian; wanted are its packages: ${missing[*]}"

if ((EUID == 0)); then
    sudo=()
elif sudo -n true 2>/dev/null || { [[ -t 0 ]] && command -v sudo >/dev/null; }; then
    sudo=(sudo)
else
    warn "these packages are missing, and there is neither root nor sudo:"
    die "  apt-get install --no-install-recommends ${missing[*]}"
fi

say "installing ${missing[*]}"

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

apt-get install --simulate "${missing[@]}" >/dev/null 2>&1 || apt_get update

if [[ " ${missing[*]} " == *' postgresql-15 '* ]]; then
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
