/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"

/*
 * One file for each command. A command is given its arguments (without options, without its own
 * name, NULL-terminated) and returns 0, USAGE, or a negative errno: the program prints the message,
 * once, and exits with 0, 2 or 1.
 */

int command_attach(struct context *context, char **arguments, struct error *error);
int command_bind(struct context *context, char **arguments, struct error *error);
int command_detach(struct context *context, char **arguments, struct error *error);
int command_doctor(struct context *context, char **arguments, struct error *error);
int command_guest(struct context *context, char **arguments, struct error *error);
int command_hook(struct context *context, char **arguments, struct error *error);
int command_list(struct context *context, char **arguments, struct error *error);
int command_plan(struct context *context, char **arguments, struct error *error);
int command_reconcile(struct context *context, char **arguments, struct error *error);
int command_setup(struct context *context, char **arguments, struct error *error);
int command_status(struct context *context, char **arguments, struct error *error);
int command_unbind(struct context *context, char **arguments, struct error *error);
int command_undo(struct context *context, char **arguments, struct error *error);
int command_watch(struct context *context, char **arguments, struct error *error);
