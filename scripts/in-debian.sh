#!/usr/bin/env bash
#
# Runs a command on this tree in another Debian, for the PostgreSQL that it has:
#
#   in-debian.sh [--bare] bookworm|trixie|sid|experimental [--] command [argument]...
#
# bookworm has PostgreSQL 15, trixie 17, sid 18, experimental 19. The first run
# makes the Debian with mmdebstrap, in $INSULA_CHROOTS/SUITE (by default
# ~/.cache/insula/chroots); scripts/deps.sh installs in it what is missing. Each
# run copies the tree into it, but for build/, which the Debian keeps its own of,
# and runs the command in the copy as an ordinary user. Mounts and processes are
# in namespaces of their own, so that none is left, however the command ends.
# With --bare the Debian has nothing but apt, the command is root's, and what it
# changes is gone afterwards.
#
# Needs root, and the network for what is missing. Ends with the command's exit
# status, or with 77 where it is not root or may not mount, and says so.
#
#   INSULA_CHROOTS   where the Debians lie
#   INSULA_DEPS      arguments of deps.sh, for less or more than the tests need
#   INSULA_OLDER     not empty: PostgreSQL 15 beside a newer one (older-postgres.sh)
#   INSULA_MIRROR    Debian's archive (http://deb.debian.org/debian)

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

readonly uid=59432 # of the user inside; no user outside should have it
readonly home=/home/insula
readonly skipped=77

# ---------------------------------------------------------------------------
# In the namespaces, as their first process
# ---------------------------------------------------------------------------

if [[ ${1:-} == --inside ]]; then
    bare=$2
    debian=$3
    shift 3
    mount -t proc proc "$debian/proc"
    mount --rbind /dev "$debian/dev"
    mount -t tmpfs -o mode=1777 shm "$debian/dev/shm"
    # What runs that were killed have left.
    rm -rf "$debian"/tmp/insula.*
    inside() { env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TERM="${TERM:-dumb}" "$@"; }
    status=0
    if [[ -n $bare ]]; then
        inside HOME=/root chroot "$debian" sh -c 'cd "$1" && shift && exec "$@"' sh "$home/tree" "$@" || status=$?
        exit "$status"
    fi
    read -ra deps <<<"${INSULA_DEPS:-}"
    inside ${INSULA_PG:+INSULA_PG="$INSULA_PG"} chroot "$debian" "$home/tree/scripts/deps.sh" \
        ${deps[@]+"${deps[@]}"} </dev/null >&2
    [[ -z ${INSULA_OLDER:-} ]] || inside chroot "$debian" "$home/tree/scripts/older-postgres.sh" </dev/null >&2
    inside HOME="$home" USER=insula LOGNAME=insula chroot --userspec=insula:insula "$debian" \
        sh -c 'cd ~/tree && exec "$@"' sh "$@" || status=$?
    exit "$status"
fi

# ---------------------------------------------------------------------------
# Making the Debian
# ---------------------------------------------------------------------------

bare=
if [[ ${1:-} == --bare ]]; then
    bare=-bare
    shift
fi
suite=${1:-}
shift || true
[[ ${1:-} != -- ]] || shift
case $suite in
bookworm | trixie | sid) release=$suite ;;
# Experimental holds only what differs from sid, and is asked by version.
experimental)
    release=sid
    export INSULA_PG=19
    ;;
*) die "usage: $0 [--bare] bookworm|trixie|sid|experimental [--] command [argument]..." ;;
esac
(($#)) || die "no command"

if ((EUID != 0)); then
    warn "another Debian needs root; skipped"
    exit "$skipped"
fi
if ! unshare --mount --pid --fork true 2>/dev/null; then
    warn "this machine allows no mounts; skipped"
    exit "$skipped"
fi

chroots=${INSULA_CHROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/insula/chroots}
debian=$chroots/$suite$bare
mkdir -p "$chroots"
exec {lock}>"$chroots/.$suite$bare.lock"
flock "$lock"

make_debian() {
    local mirror=${INSULA_MIRROR:-http://deb.debian.org/debian} name value sources options=()
    # The version is that of the other Debian.
    env -u INSULA_PG "$root/scripts/deps.sh" mmdebstrap >&2
    sources=("deb $mirror $release main")
    [[ $suite == "$release" ]] || sources+=("deb $mirror $suite main")
    # A machine whose clock is wrong has told its apt not to look at it.
    while IFS=' ' read -r name value; do
        options+=(--aptopt="$name ${value%;}")
    done < <(apt-config dump | grep -E '^Acquire::Check-(Valid-Until|Date) ' || true)
    rm -rf "$debian" "$debian.new"
    mmdebstrap --quiet --variant=apt --aptopt='APT::Sandbox::User "root"' ${options[@]+"${options[@]}"} \
        "$release" "$debian.new" "${sources[@]}" >&2
    echo "insula:x:$uid:$uid::$home:/bin/bash" >>"$debian.new/etc/passwd"
    echo "insula:x:$uid:" >>"$debian.new/etc/group"
    if [[ -n ${INSULA_PG:-} && $suite != "$release" ]]; then
        printf '%s\n' "Package: src:postgresql-$INSULA_PG" "Pin: release a=$suite" 'Pin-Priority: 990' \
            >"$debian.new/etc/apt/preferences.d/insula"
    fi
    install -d -o "$uid" -g "$uid" "$debian.new$home" "$debian.new$home/tree"
    mv "$debian.new" "$debian"
}

if [[ ! -d $debian ]]; then
    say "making Debian $suite in $debian" >&2
    make_debian {lock}>&-
fi

# ---------------------------------------------------------------------------
# The tree, and the command
# ---------------------------------------------------------------------------

if [[ -n $bare ]]; then
    rm -rf "$debian.run"
    cp -a --reflink=auto "$debian" "$debian.run"
    debian=$debian.run
    trap 'rm -rf --one-file-system "$debian"' EXIT
fi

# Files keep their times, so that only what has changed is built again.
tree=$debian$home/tree
find "$tree" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
tar -C "$root" --exclude=./build --exclude=./.git --owner="$uid" --group="$uid" -cf - . |
    tar -C "$tree" --same-owner -xf -
chmod 755 "$tree"

# A signal to unshare alone would not reach what it runs.
unshare --mount --propagation private --pid --fork --kill-child -- \
    "$root/scripts/in-debian.sh" --inside "$bare" "$debian" "$@" <&0 {lock}>&- &
child=$!
trap 'kill -KILL "$child" 2>/dev/null; exit 143' INT TERM HUP
status=0
wait "$child" || status=$?
exit "$status"
