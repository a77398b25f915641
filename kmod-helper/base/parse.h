/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Reads numbers from texts, and makes texts fit for one line. */

#include <stdbool.h>
#include <stddef.h>

#define VMID_MAX 999999999u

/* The whole of @text as an unsigned number in @base (10 or 16; no sign, no blanks, no prefix).
 * Returns 0, -EINVAL when it is no such number, -ERANGE when it is greater than @max.
 * @ret is untouched on failure. */
int parse_unsigned(
	const char *text, unsigned int base, unsigned long long max, unsigned long long *ret);

/* Reads the number at the start of *@text and moves *@text past it. Errors as parse_unsigned. */
int parse_leading(
	const char **text, unsigned int base, unsigned long long max, unsigned long long *ret);

/* A VMID as Proxmox takes it: ^[1-9][0-9]{2,8}$. Returns 0 or -EINVAL. */
int parse_vmid(const char *text, unsigned int *ret_vmid);

/* True when the @length bytes could be a text file of Proxmox's: no NUL, and no control characters
 * except white space. Bytes that are not UTF-8 are accepted in comment lines only (older
 * descriptions are Latin-1). */
bool text_is_plain(const char *text, size_t length);

/* Makes untrusted text fit for one line on a terminal and in JSON: control characters (C0, DEL and
 * C1), characters that change the writing direction, and bytes that are not UTF-8 become "?". */
void text_make_line(char *text);

/* Replaces the text *@field by a copy of @value (may be NULL) and frees the old one. 0, or -ENOMEM
 * with *@field unchanged. */
int text_replace(char **field, const char *value);

/* Cuts off trailing white space in place; returns the first character that is not white space. */
char *text_trim(char *text);

/* Where the last line of a text begins that does not end with a newline. */
char *text_last_line(char *text);
