// The SQLSTATEs of our own class, on which clients branch.  All other errors have PostgreSQL's.
#pragma once

#include "postgres.hpp"

#define INSULA_NO_TENANT MAKE_SQLSTATE('I', 'S', '0', '0', '1')
#define INSULA_NO_WORKFLOW MAKE_SQLSTATE('I', 'S', '0', '0', '2')
#define INSULA_NO_EXECUTION MAKE_SQLSTATE('I', 'S', '0', '0', '3')
#define INSULA_BAD_DEFINITION MAKE_SQLSTATE('I', 'S', '0', '0', '4')
#define INSULA_LEASE_LOST MAKE_SQLSTATE('I', 'S', '0', '0', '5')
#define INSULA_QUEUE_FULL MAKE_SQLSTATE('I', 'S', '0', '0', '6')
#define INSULA_SUSPENDED MAKE_SQLSTATE('I', 'S', '0', '0', '7')
#define INSULA_NOT_ADOPTED MAKE_SQLSTATE('I', 'S', '0', '0', '8')
#define INSULA_VERSION_MISMATCH MAKE_SQLSTATE('I', 'S', '0', '0', '9')
#define INSULA_ATOMIC_CONTEXT MAKE_SQLSTATE('I', 'S', '0', '1', '0')
