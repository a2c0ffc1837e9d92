// The version of the library, which must be that of the extension's SQL objects.
#pragma once

#define INSULA_VERSION "0.1.0"
