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

/* The length of the UTF-8 character at @text, of which @left bytes (at least one) are there; 0 when
 * it is none (RFC 3629). A NUL is a character. */
size_t text_character_length(const char *text, size_t left);

/*
 * Readers take texts of others as bytes. These two make them fit to leave: for a terminal, a log
 * and JSON. Control characters (C0, DEL and C1), characters that change the writing direction, and
 * bytes that are not UTF-8 become "?"; all other UTF-8 stays. They are called where a text leaves
 * (log_write, output_print, table_add, output_json, and where a program prints its error), and
 * nowhere else.
 */
void text_make_line(char *text);
/* The same for several lines: newlines and tabs stay. */
void text_make_lines(char *text);

/* Replaces the text *@field by a copy of @value (may be NULL) and frees the old one. 0, or -ENOMEM
 * with *@field unchanged. */
int text_replace(char **field, const char *value);

/* Cuts off trailing white space in place; returns the first character that is not white space. */
char *text_trim(char *text);

/* Where the last line of a text begins that does not end with a newline. */
char *text_last_line(char *text);
