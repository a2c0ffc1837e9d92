# Insula: the PostgreSQL extension (PGXS), and the doors to everything else.
#
#   make                          build the extension, into build/extension/
#   make install [DESTDIR=...]    install it; no CMake needed
#   make check | soak | chaos | bench | demo | client    see "make help"
#
# PG_CONFIG=... chooses the PostgreSQL to build for, CXX=... the C++ compiler.
#
# The extension is always built out of the source tree, in PGXS's own way: run
# from another directory (make -f /path/to/Makefile), this file is the PGXS
# makefile; run in its own directory, it calls itself so for build/extension.

INSULA_DIR := $(patsubst %/,%,$(dir $(abspath $(firstword $(MAKEFILE_LIST)))))

# The newest PostgreSQL whose headers Debian's packages have installed, as in scripts/lib.sh.
PG_VERSIONS := 19 18 17 16 15
PG_VERSION := $(firstword $(foreach version,$(PG_VERSIONS),$(if \
  $(wildcard /usr/include/postgresql/$(version)/server/postgres.h),$(version))))
PG_CONFIG ?= $(if $(PG_VERSION),/usr/lib/postgresql/$(PG_VERSION)/bin/pg_config,pg_config)

ifeq ($(CURDIR),$(INSULA_DIR))
# ---------------------------------------------------------------------------
# In the source tree
# ---------------------------------------------------------------------------

.DEFAULT_GOAL := all
.NOTPARALLEL:
.PHONY: all install uninstall client check check-ui check-versions check-packages check-sanitize check-abi packages dist tidy soak chaos bench demo run deps clean help

# PGXS would not listen to the environment.
COMPILERS := $(foreach var,CC CXX,$(if \
  $(filter environment command,$(firstword $(origin $(var)))),$(var)='$($(var))'))
BUILD_JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

all install uninstall:
	@$(PG_CONFIG) --pgxs >/dev/null 2>&1 || { \
	  echo "$(PG_CONFIG) does not run: 'make deps' installs PostgreSQL's" \
	    "headers, PG_CONFIG=... names another." >&2; exit 1; }
	@mkdir -p build/extension
	@$(MAKE) --no-print-directory $(BUILD_JOBS) -C build/extension \
	  -f $(INSULA_DIR)/Makefile $(COMPILERS) $@

client:
	@scripts/build-client.sh

check:
	@scripts/check.sh

check-ui:
	@scripts/test/ui.sh

check-versions:
	@scripts/check-versions.sh

check-packages:
	@scripts/check-packages.sh

check-sanitize:
	@scripts/check-sanitize.sh

check-abi:
	@scripts/check-abi.sh

packages:
	@scripts/packages.sh

dist:
	@scripts/dist.sh

tidy:
	@scripts/tidy.sh

soak:
	@scripts/soak.sh

chaos:
	@scripts/chaos.sh

bench:
	@scripts/bench.sh

demo:
	@scripts/demo.sh

run:
	@scripts/run.sh

deps:
	@scripts/deps.sh

clean:
	rm -rf build

help:
	@echo 'make            build the extension for the PostgreSQL of PG_CONFIG'
	@echo 'make install    install it there (DESTDIR= is honoured)'
	@echo 'make uninstall  and remove it again'
	@echo 'make client     build the C++ client, its examples and the tests'
	@echo 'make demo       the example program, on a throw-away PostgreSQL'
	@echo 'make check      all tests, on throw-away PostgreSQLs'
	@echo 'make check-ui   the dashboard in a browser; its pictures are in build/ui'
	@echo 'make check-versions   the server tests on the other versions of PostgreSQL, in chroots; as root'
	@echo 'make check-packages   packages of Debian 12 and 13, tried where nothing else is; as root'
	@echo 'make check-sanitize   the client and its tests under ASan with UBSan, and under TSan'
	@echo 'make check-abi        the ABI of the shared client library against that of the last release'
	@echo 'make tidy       clang-tidy over the client and core'
	@echo 'make soak       forty minutes of random runs, and the tests on a busy machine'
	@echo 'make chaos      kill what makes fires; cron against another implementation'
	@echo 'make bench      measure it beside others (QUICK=1, ONLY=P2,P8; see test/bench/README.md)'
	@echo 'make run        psql on a throw-away PostgreSQL'
	@echo 'make packages   packages of this Debian, in build/packages'
	@echo 'make dist       the sources of the last commit as an archive, in build/dist'
	@echo 'make deps       install missing Debian packages (demo and check do so too)'
	@echo 'make clean      remove build/'

else
# ---------------------------------------------------------------------------
# Outside of it: PGXS
# ---------------------------------------------------------------------------

MODULE_big := insula
EXTENSION  := extension/insula

INSULA_VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" \
                    $(INSULA_DIR)/extension/insula.control)
ifeq ($(INSULA_VERSION),)
$(error no default_version in $(INSULA_DIR)/extension/insula.control)
endif

SOURCES := $(sort $(wildcard $(addprefix $(INSULA_DIR)/, \
             extension/src/*.cpp extension/src/*/*.cpp core/*.cpp)))
OBJS := $(patsubst $(INSULA_DIR)/%.cpp,%.o,$(SOURCES))

# The install script is put together from its parts, in the order of their
# names; scripts that upgrade are files of their own.
SQL_PARTS  := $(sort $(wildcard $(INSULA_DIR)/extension/sql/[0-9]*.sql))
DATA       := $(patsubst $(INSULA_DIR)/%,%,$(sort \
                $(wildcard $(INSULA_DIR)/extension/sql/insula--*--*.sql)))
DATA_built := insula--$(INSULA_VERSION).sql

override with_llvm = no

# Not every PGXS finds what lies beside this file by itself.
VPATH := $(INSULA_DIR)
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# C++ as a C backend can bear it: nothing that needs libstdc++, which is why
# PGXS may link with the C compiler. PostgreSQL's own choice of code generation
# is kept, its choice of warnings (for C, by GCC) is not; its headers are system
# headers, so that ours alone must be clean.
INSULA_CPPFLAGS := -I$(INSULA_DIR) -I$(INSULA_DIR)/extension/src \
  -isystem $(includedir_server) -isystem $(includedir_internal) \
  $(filter -D% -U%,$(CPPFLAGS))
INSULA_CXXFLAGS := $(filter-out -W%,$(CXXFLAGS)) \
  -std=c++20 -fno-exceptions -fno-rtti -fno-threadsafe-statics \
  -fvisibility=hidden -ffile-prefix-map=$(INSULA_DIR)/= \
  -Wall -Wextra -Werror -Wformat -Wformat-security -Wno-register

COMPILE := $(CXX) $(INSULA_CXXFLAGS) $(INSULA_CPPFLAGS)

# What no time stamp tells, the command lines and the lists of files, is kept in
# files that change only when it does.
remember = $(if $(subst x$(strip $(file <$1)),,x$(strip $2)),$(file >$1,$(strip $2)))
$(call remember,inputs.compile,$(COMPILE))
$(call remember,inputs.link,$(CC) $(LDFLAGS) $(OBJS))
$(call remember,inputs.sql,$(SQL_PARTS))
$(call remember,inputs.version,$(INSULA_VERSION))

# PostgreSQL's headers are most of what there is to read, so GCC reads them once. (ccache keeps nothing of what is
# compiled so; with it, and with clang, each source shows that it includes what it needs.)
PRECOMPILED := $(if $(findstring ccache,$(CXX)),,$(if \
  $(findstring Free Software,$(shell $(CXX) --version)),precompiled.hpp.gch))

precompiled.hpp: inputs.compile
	@printf '#include "postgres.hpp"\n#include <algorithm>\n' >$@

precompiled.hpp.gch: precompiled.hpp
	@echo '  CXX  $<'
	@$(COMPILE) -MMD -MP -MF precompiled.d -x c++-header -c -o $@ $<

ifneq ($(PRECOMPILED),)
$(filter extension/%,$(OBJS)): $(PRECOMPILED)
$(filter extension/%,$(OBJS)): INCLUDED := -include precompiled.hpp
endif

# One source is told the version, so that another version is another object and the same rest.
extension/src/tenant/installed.o: inputs.version
extension/src/tenant/installed.o: TOLD := -DINSULA_VERSION='"$(INSULA_VERSION)"'

$(OBJS): %.o: $(INSULA_DIR)/%.cpp inputs.compile
	@mkdir -p $(@D)
	@echo '  CXX  $*.cpp'
	@$(COMPILE) $(INCLUDED) $(TOLD) -MMD -MP -c -o $@ $<

$(MODULE_big)$(DLSUFFIX): inputs.link
LINK.shared = @echo '  LD   $@'; $(COMPILER) -shared

$(DATA_built): $(SQL_PARTS) inputs.sql
	@echo '  SQL  $@'
	@for part in $(SQL_PARTS); do \
	   printf '\n-- %s\n\n' "$${part##*/}"; cat "$$part" || exit 1; \
	 done >$@.new
	@mv $@.new $@

all:
	@:

-include $(OBJS:.o=.d) $(if $(PRECOMPILED),precompiled.d)

endif
