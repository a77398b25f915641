/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "context.h"
#include <stdbool.h>

/* What the terminal that the output goes to can show. */

#define COLOUR_GREEN "\033[32m"
#define COLOUR_YELLOW "\033[33m"
#define COLOUR_RED "\033[31m"
#define COLOUR_ALARM "\033[1;31m"
#define COLOUR_BOLD "\033[1m"

/* The width of the terminal on the standard output; 0: it is no terminal, and nothing is cut. */
int screen_columns(void);

/* A terminal, and colours are not turned off. */
bool screen_has_colours(const struct context *context);

/* The locale's texts are UTF-8. */
bool screen_is_utf8(void);

/* Prints the code of a colour, or "\033[0m" for NULL, when @coloured. */
void screen_paint(bool coloured, const char *colour);

/* How many columns a text takes: a Korean or Chinese character takes two. */
int text_columns(const char *text);

/* Prints a text, cut where it takes more than so many columns (0: any number). Returns how many it
 * has taken. */
int screen_print(const char *text, int columns);

/* On a terminal "2b:00.0", which every command takes, for "0000:2b:00.0"; elsewhere the whole. */
const char *screen_address(const char *address);
