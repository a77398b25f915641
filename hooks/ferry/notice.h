/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"

/* Sends root a mail with @text, one line, if the setting `notify` says so. It never fails and takes
 * 20 s at most: what goes wrong is only logged. */
void notice_send(const struct context *context, const char *text);
