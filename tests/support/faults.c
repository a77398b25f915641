/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Takes the place of the C library's allocator, fsync, renameat and unlinkat in the test program,
 * and (by the linker's --wrap) of record_parse and record_write, and lets one call of them fail. */

#include "faults.h"

#include "kmod-helper/record/record.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Shared with the children: what a child allocates counts too. */
static struct state {
	enum fault fault;
	unsigned long countdown; /* 0: none fails */
	bool all_after, has_failed;
} * state;

static long allocations;
static bool is_in_record;

static void share(void)
{
	if (!state)
		state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(state, MAP_FAILED);
}

void faults_begin(enum fault fault, unsigned long number, bool all)
{
	share();
	*state = (struct state){.fault = fault, .countdown = number, .all_after = all};
}

bool faults_end(void)
{
	share();
	state->countdown = 0;
	return state->has_failed;
}

static bool fails(enum fault fault, int status)
{
	if (!state || !state->countdown || state->fault != fault || --state->countdown)
		return false;
	state->countdown = state->all_after;
	state->has_failed = true;
	errno = status;
	return true;
}

/* ---- records */

int __real_record_parse(
	const struct record_format *format, const char *text, void *ret, struct error *error);
int __wrap_record_parse(
	const struct record_format *format, const char *text, void *ret, struct error *error);
int __real_record_write(const struct record_format *format, const void *record, char **ret_text,
	struct error *error);
int __wrap_record_write(const struct record_format *format, const void *record, char **ret_text,
	struct error *error);

int __wrap_record_parse(
	const struct record_format *format, const char *text, void *ret, struct error *error)
{
	int r;

	if (fails(FAULT_RECORD, ENOMEM))
		return error_set_errno(error, -ENOMEM, "read the record");
	is_in_record = true;
	r = __real_record_parse(format, text, ret, error);
	is_in_record = false;
	return r;
}

int __wrap_record_write(const struct record_format *format, const void *record, char **ret_text,
	struct error *error)
{
	int r;

	if (fails(FAULT_RECORD, ENOMEM))
		return error_set_errno(error, -ENOMEM, "write the record");
	is_in_record = true;
	r = __real_record_write(format, record, ret_text, error);
	is_in_record = false;
	return r;
}

/* ---- files */

int fsync(int fd)
{
	if (fails(FAULT_FILE, ENOSPC))
		return -1;
	return state ? 0 : (int)syscall(SYS_fsync, fd);
}

int renameat(int old_folder, const char *old, int new_folder, const char *new)
{
	return fails(FAULT_FILE, ENOSPC)
		? -1
		: (int)syscall(SYS_renameat, old_folder, old, new_folder, new);
}

/* On a full file system this goes on working. */
int unlinkat(int folder, const char *name, int flags)
{
	bool is_full = state && state->all_after;

	return !is_full && fails(FAULT_FILE, ENOSPC)
		? -1
		: (int)syscall(SYS_unlinkat, folder, name, flags);
}

/* ---- memory */

long faults_allocations(void)
{
	return allocations;
}

#ifdef __SANITIZE_ADDRESS__

bool faults_can(enum fault fault)
{
	return fault != FAULT_MEMORY && fault != FAULT_OTHER_MEMORY;
}

#else

/* glibc's own, under the names that it keeps for those who take its place */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void __libc_free(void *pointer);

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *pointer, size_t size);
void free(void *pointer);

bool faults_can(enum fault fault)
{
	(void)fault;
	return true;
}

static bool is_without_memory(void)
{
	return fails(FAULT_MEMORY, ENOMEM) || (!is_in_record && fails(FAULT_OTHER_MEMORY, ENOMEM));
}

static void *count(void *pointer)
{
	__atomic_fetch_add(&allocations, pointer != NULL, __ATOMIC_RELAXED);
	return pointer;
}

void *malloc(size_t size)
{
	return is_without_memory() ? NULL : count(__libc_malloc(size));
}

void *calloc(size_t number, size_t size)
{
	return is_without_memory() ? NULL : count(__libc_calloc(number, size));
}

void *realloc(void *pointer, size_t size)
{
	void *moved;

	if (is_without_memory())
		return NULL;
	moved = __libc_realloc(pointer, size);
	return pointer ? moved : count(moved);
}

void free(void *pointer)
{
	__atomic_fetch_sub(&allocations, pointer != NULL, __ATOMIC_RELAXED);
	__libc_free(pointer);
}

#endif
