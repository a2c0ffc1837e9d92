// SPDX-License-Identifier: PostgreSQL
// INSULA_EXPORT marks what the library shows: everything else is built with hidden
// visibility.  Exception types need it, so that a catch in another module finds them.
#pragma once

#define INSULA_EXPORT __attribute__((visibility("default")))

#ifdef INSULA_WARN_DEPRECATED
#define INSULA_DEPRECATED(instead) [[deprecated(instead)]]
#else
#define INSULA_DEPRECATED(instead)
#endif
