/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What in a VM's config shows that its guest is Windows. */

#include "vm_config.h"

/* What shows that the guest is Windows although ostype does not say so: "a CD for Windows is
 * inserted". NULL: nothing does. *@ret_ostype: the ostype that fits. */
const char *vm_config_sign_of_windows(const struct vm_config *config, const char **ret_ostype);

/* The part of a CD's volume by which it is known as one for Windows: "virtio-win". NULL: @value is
 * no such CD. */
const char *vm_windows_disc(const char *value);
