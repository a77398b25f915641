/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Helpers for the texts of Proxmox's files: blanks, lines, words. */

#include <stdbool.h>
#include <stdio.h>

/* What \s means in Proxmox's readers. Their texts are bytes, so it matches no other blanks. */
#define TEXT_WHITE " \t\n\v\f\r"

/* ASCII's, for strspn: what [a-zA-Z] and [0-9] are in Proxmox's patterns. */
#define TEXT_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define TEXT_DIGITS "0123456789"

bool text_is_white(char character);

/* True when there is nothing but white space in @text. */
bool text_is_blank(const char *text);

/* Writes @text to @stream with %XX resolved; NUL, and what is not UTF-8 then, becomes U+FFFD. @text
 * is used as a buffer. Source: PVE/ParseUtils.pm, decode_text. */
void text_decode(char *text, FILE *stream);
