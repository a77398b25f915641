/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "change.h"

/*
 * What a guest that has a GPU wants in its config. Only what an installed guest bears is changed;
 * machine and bios are advised, for changing them renames network interfaces and may keep a guest
 * from booting; ostype is left alone.
 */

/* Adds the changes of --tune. 0 or -ENOMEM. */
int tune_add(const struct guest_config *config, struct changes *changes);

/* Adds notes on what is left to the person. 0 or -ENOMEM. */
int tune_advise(const struct guest_config *config, struct changes *changes);
