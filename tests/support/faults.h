/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Lets one call of a test's choosing fail, in the program, in every library and in a child. From
 * the first of these functions on, fsync is only counted: no test needs the disk. */

#include <stdbool.h>

enum fault {
	FAULT_MEMORY,	    /* malloc, calloc, realloc: ENOMEM */
	FAULT_OTHER_MEMORY, /* the same, but for those of FAULT_RECORD, which are thousands */
	FAULT_RECORD,	    /* record_parse, record_write: ENOMEM */
	FAULT_FILE,	    /* fsync, renameat, unlinkat (not with @all): ENOSPC */
};

/* False for memory under the address sanitizer, which has an allocator of its own. */
bool faults_can(enum fault fault);

/* The call number @number from now on fails (1: the next; 0: none); with @all those after it too.
 */
void faults_begin(enum fault fault, unsigned long number, bool all);

/* No more of them fail. True when one did. */
bool faults_end(void);

/* How many allocations of this process are not freed; always 0 where memory cannot fail. */
long faults_allocations(void);
