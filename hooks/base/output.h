/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "context.h"
#include "kmod-helper/holder/holders.h"
#include "kmod-helper/loan/loan.h"
#include <json-c/json.h>
#include <stdarg.h>

/* Data goes to stdout: JSON with stable field names, or text for people. All that may quote a text
 * of others goes through these functions, which clean it (kmod-helper/base/parse.h). */

/* Prints one line, or a part of one, as printf does. Only a newline at the end of @format starts a
 * new line: those in the arguments become "?". Out of memory, it prints nothing. */
void output_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints a diff, with colours on a terminal; cleans it in place. */
void output_diff(const struct context *context, char *diff);

/* Says below a table with a "?", or what @place calls it, why holders are not known; nothing when
 * they can be. */
void output_explain_holders(const struct context *context, const char *place);

/* The colour of a loan's state by its name; NULL: none. */
const char *output_state_colour(const char *state);

/* On a terminal, and not with -q: "next: COMMAND". */
void output_next(const struct context *context, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Prints @object in the context's JSON format and frees it. 0 or -EIO (stdout). */
int output_json(const struct context *context, struct json_object *object, struct error *error);

/* 0, or -EIO when stdout could not be written. */
int output_flush(struct error *error);

/* A text for one line of the screen: what a line may not have is replaced (text_make_line). NULL
 * without memory; the caller frees it. */
char *output_format(const char *format, va_list arguments) __attribute__((format(printf, 1, 0)));

/* The same at the end of a program: nothing can be printed after it. */
int output_close(struct error *error);

void json_add_text(struct json_object *object, const char *key, const char *text);
/* null for "" */
void json_add_text_or_null(struct json_object *object, const char *key, const char *text);
void json_add_number(struct json_object *object, const char *key, int64_t number);
/* ["…", …] */
void json_add_strings(struct json_object *object, const char *key, const struct names *strings);
/* {"kind": "vm" or "hand", "vmid": 104 or null}; null for NULL */
void json_add_owner(struct json_object *object, const char *key, const struct loan_owner *owner);
/* [{"kind": "process", "container", "vm" or "kernel", "pid", "command", "guest", "node",
 * "address"}]: the holders of the function @address; when @address is NULL all holders, each
 * process once. JSON null when it cannot be known: @holders is NULL, or the search was cut short
 * and found none of these. */
void json_add_holders(struct json_object *object, const char *key, const struct holders *holders,
	const char *address);

/* "VM 104", "sleep 470" */
void holder_format_short(const struct holder *holder, char *buffer, size_t size);

/* Formats who holds the function, for a table column: "VM 104", "sleep 470"; "-" for nobody; "?"
 * when it cannot be known. */
void holders_format_short(
	const struct holders *holders, const char *address, char *buffer, size_t size);

/* True when we can see which processes use a device: on the live host, as root. */
bool holders_can_be_known(const struct context *context);
