/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Numbers out of texts, and texts made fit for one line. */

#include <stdbool.h>
#include <stddef.h>

#define VMID_MAX 999999999u

/* The whole of @text as an unsigned number in @base (10 or 16; no sign, no blanks, no prefix).
 * Returns 0, -EINVAL when it is no such number, -ERANGE when it is greater than @max.
 * @ret is untouched on failure. */
int parse_unsigned(
	const char *text, unsigned int base, unsigned long long max, unsigned long long *ret);

/* The number that *@text begins with, and moves *@text past it. The errors of parse_unsigned. */
int parse_leading(
	const char **text, unsigned int base, unsigned long long max, unsigned long long *ret);

/* A VMID as Proxmox takes it: ^[1-9][0-9]{2,8}$. Returns 0 or -EINVAL. */
int parse_vmid(const char *text, unsigned int *ret_vmid);

/* True when the @length bytes could be a text file of Proxmox's: no NUL, no control characters but
 * white space. What is no UTF-8 is borne in comment lines only (older descriptions are Latin-1). */
bool text_is_plain(const char *text, size_t length);

/* Makes one line of what may hold somebody else's bytes, fit for a terminal and for JSON: control
 * characters (C0, DEL and C1), those that turn the direction of writing, and bytes that are no
 * UTF-8 become "?". */
void text_make_line(char *text);

/* Puts a copy of @value (may be NULL) where the text *@field was, which is freed. 0, or -ENOMEM and
 * *@field as it was. */
int text_replace(char **field, const char *value);

/* Cuts trailing white space off, in place; returns the first character that is none. */
char *text_trim(char *text);

/* Where the last line of a text begins that does not end with a newline. */
char *text_last_line(char *text);
