/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Finds out whether a guest is Windows although its ostype does not say so. */

#include "vm_windows.h"

#include <string.h>

/* Microsoft's discs and Windows' drivers for virtio, by the names that they come with. */
static const struct disc {
	const char *name;
	const char *ostype;
} discs[] = {
	{"win11", "win11"},
	{"win10", "win10"},
	{"win8", "win8"},
	{"win7", "win7"},
	{"windows", "win10"},
	{"x64fre", "win10"},
	{"virtio-win", "win10"},
};

static bool is_disc(const struct disc *disc, const char *value)
{
	return strstr(value, "media=cdrom") && strcasestr(value, disc->name);
}

const char *vm_windows_disc(const char *value)
{
	for (size_t i = 0; i < sizeof(discs) / sizeof(discs[0]); i++) {
		if (is_disc(&discs[i], value))
			return discs[i].name;
	}
	return NULL;
}

static const struct disc *find_disc(const struct vm_config *config)
{
	for (size_t i = 0; i < sizeof(discs) / sizeof(discs[0]); i++) {
		for (size_t k = 0; k < config->count; k++) {
			if (is_disc(&discs[i], config->entries[k].value))
				return &discs[i];
		}
	}
	return NULL;
}

const char *vm_config_sign_of_windows(const struct vm_config *config, const char **ret_ostype)
{
	const char *arguments = vm_config_get(config, "args");
	const struct disc *disc = find_disc(config);
	bool has_tpm = vm_config_get(config, "tpmstate0");

	if (vm_config_is_windows(config))
		return NULL;
	/* Windows 11 needs a TPM; no other Windows does */
	*ret_ostype = has_tpm ? "win11" : disc ? disc->ostype : "win10";
	if (disc)
		return "a CD for Windows is inserted";
	if (arguments && (strstr(arguments, "hv_") || strstr(arguments, "hv-")))
		return "args has Hyper-V settings (hv_), which only Windows uses";
	if (has_tpm && strcmp(vm_config_ostype(config), "other") == 0 &&
		vm_config_get(config, "efidisk0"))
		return "it has a TPM and UEFI, as Windows 11 needs";
	return NULL;
}
