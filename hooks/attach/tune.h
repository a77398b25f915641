/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "change.h"

/* Settings in the config that help a guest with a GPU. Only what an installed guest tolerates is
 * changed. machine and bios are only advised: changing them renames network interfaces and may stop
 * a guest from booting. ostype is left alone. */

/* Adds the changes of --tune; with a card of NVIDIA's, @nvidia, also what its Windows driver may
 * need. 0 or -ENOMEM. */
int tune_add(const struct guest_config *config, bool nvidia, struct changes *changes);

/* Adds notes about what the user has to decide. 0 or -ENOMEM. */
int tune_advise(const struct guest_config *config, struct changes *changes);
