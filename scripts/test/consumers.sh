#!/usr/bin/env bash
#
# consumers.sh BUILD: the projects of test/consumers, with the README's program that CMake has
# put into the directory BUILD, by g++ and clang++; each is then run on the cluster of
# with-cluster.sh. Two installations below BUILD/consumers serve them: the static library of
# BUILD itself, and the shared one that the add_subdirectory project has built by clang++.
# (g++ builds the client by add_subdirectory anyway, from the top of the tree.)

set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

tree=$1
out=$tree/consumers
mkdir -p "$out"
unset MAKEFLAGS MFLAGS CXX CXXFLAGS LDFLAGS
command -v ninja >/dev/null && export CMAKE_GENERATOR=Ninja

# project NAME COMPILER: a copy of the project with the program, ready to be built.
project() {
    local dir=$out/$1-$2
    mkdir -p "$dir"
    cp -pR "$root/test/consumers/$1/." "$dir"
    cp -p "$tree/readme_program.cpp" "$dir/main.cpp"
    echo "$dir"
}

by_cmake() {
    local dir=$1 compiler=$2
    shift 2
    cmake -S "$dir" -B "$dir/build" -DCMAKE_CXX_COMPILER="$compiler" "$@" >"$dir/log"
    cmake --build "$dir/build" >>"$dir/log" || { cat "$dir/log"; return 1; }
}

add_subdirectory() {
    local dir
    dir=$(project add_subdirectory "$1")
    ln -sfn "$root" "$dir/insula"
    by_cmake "$dir" "$1" -DBUILD_SHARED_LIBS=ON -DINSULA_INSTALL=ON
    built+=("$dir/build")
    rm -rf "$out/shared"
    cmake --install "$dir/build" --prefix "$out/shared" >/dev/null
}

find_package() { # PROJECT COMPILER PREFIX
    local dir
    dir=$(project "$1" "$2")
    by_cmake "$dir" "$2" -DCMAKE_PREFIX_PATH="$3"
    built+=("$dir/build")
}

pkg_config() { # PROJECT COMPILER PREFIX
    local dir lib
    dir=$(project "$1" "$2")
    lib=$(dirname "$(find "$3" -name insula.pc)")
    PKG_CONFIG_PATH=$lib CXX=$2 LDLIBS=-Wl,-rpath,${lib%/*} make -s -C "$dir" -B
    built+=("$dir")
}

# The shared library needs libpq, fmt and the compiler's own, and shows its headers' names only.
look_at() {
    local needed foreign
    needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\.so.*/\1/p' | sort | tr '\n' ' ')
    [[ $needed =~ ^(ld-linux[^ ]* )?(libc )?libfmt\ (libgcc_s )?(libm )?libpq\ libstdc\+\+\ $ ]] ||
        die "it needs: $needed"
    readelf -d "$1" | grep 'SONAME.*\[libinsula\.so\.[0-9]*\.[0-9]*\]' >/dev/null || die "its SONAME is no major.minor"
    foreign=$(nm -DC --defined-only "$1" | cut -d' ' -f3- | grep -Ev '^((typeinfo|typeinfo name|vtable) for )?insula::' || true)
    [[ -z $foreign ]] || die "it exports: $foreign"
}

built=()
rm -rf "$out/static"
cmake --install "$tree" --prefix "$out/static" >/dev/null
find_package find_package g++ "$out/static"
pkg_config pkg_config g++ "$out/static"
pkg_config testing g++ "$out/static"
add_subdirectory clang++
look_at "$(find "$out/shared" -name libinsula.so)"
find_package find_package clang++ "$out/shared"
pkg_config pkg_config clang++ "$out/shared"
find_package testing clang++ "$out/shared"

psql -Xqc 'CREATE EXTENSION insula'
for dir in "${built[@]}"; do
    if [[ -x $dir/app_test ]]; then # a test, which starts a server of its own
        output=$("$dir/app_test") || die "$dir/app_test said: $output"
    else
        output=$(DATABASE_URL=$ADMIN_DATABASE_URL "$dir/app")
        [[ $output == 'Hello, Acme!' ]] || die "$dir/app said: $output"
    fi
done
