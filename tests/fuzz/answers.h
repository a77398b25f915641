/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * A kernel that answers each question with the next piece of a fuzzer's input, whatever is asked.
 * The pieces end with NUL. An empty one, and what comes after the last one, says that there is no
 * such file; the names in a folder stand between slashes. So a reader of many files sees anything
 * in each of them, and the fuzzer need not guess a path.
 */

#include "kmod-helper/kernel/kernel.h"
#include <stdint.h>

struct answers {
	char *text; /* the input and a NUL */
	char *rest, *end;
};

/* Copies the input. Close with answers_done. */
void answers_init(struct answers *answers, const uint8_t *bytes, size_t length);
void answers_done(struct answers *answers);

/* The next piece, or NULL. */
const char *answers_next(struct answers *answers);

struct kernel answers_kernel(struct answers *answers);
