/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * An error as it travels upwards: a negative errno for the program and one line for the person.
 * Whoever finds the error sets it; callers wrap it with what they were doing; only the programs in
 * hooks/ print it.
 */

#define ERROR_MESSAGE_SIZE 4096

struct error {
	int status; /* negative errno; 0: no error yet */
	char message[ERROR_MESSAGE_SIZE];
};

/* Sets @error to the formatted line. Returns @status, so that callers can `return error_set(…)`.
 * @error may be NULL. */
int error_set(struct error *error, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, followed by ": " and the text of the errno @status. */
int error_set_errno(struct error *error, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts the formatted text and ": " before the message that @error already holds. */
int error_wrap(struct error *error, int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
