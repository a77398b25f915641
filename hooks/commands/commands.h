/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The commands: one file for each, with its table of options and its example. */

#include "hooks/base/command.h"

extern const struct command command_attach;
extern const struct command command_bind;
extern const struct command command_detach;
extern const struct command command_doctor;
extern const struct command command_guest;
extern const struct command command_hook;
extern const struct command command_list;
extern const struct command command_plan;
extern const struct command command_reconcile;
extern const struct command command_report;
extern const struct command command_setup;
extern const struct command command_status;
extern const struct command command_unbind;
extern const struct command command_undo;
extern const struct command command_watch;

/* All of them, of both programs, in the order of their names. */
extern const struct command_summary command_summaries[];
