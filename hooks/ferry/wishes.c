/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Puts what the settings and the quirks say of functions into the form that a plan takes. */

#include "wishes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void wishes_done(struct wishes *wishes)
{
	free(wishes->attributes);
	free(wishes->quirks);
	known_quirks_done(&wishes->known);
}

static bool is_set(const struct device_settings *devices, const char *address, const char *name)
{
	for (size_t i = 0; i < devices->count; i++) {
		if (strcmp(devices->items[i].address, address) == 0 &&
			strcmp(devices->items[i].attribute, name) == 0)
			return true;
	}
	return false;
}

/* Files of a function whose driver is stuck may hang. */
static bool is_stuck(const struct loans *loans, const char *address)
{
	const struct loan *loan = loans_find(loans, address);

	return loan && loan_find_stuck(loan, address);
}

static bool has_word(const char *words, const char *word, size_t length)
{
	for (; *words; words += strcspn(words, " "), words += strspn(words, " ")) {
		if (strcspn(words, " ") == length && strncmp(words, word, length) == 0)
			return true;
	}
	return false;
}

/* True when the device has each of the methods: the kernel refuses any other. */
static bool can_reset(const struct kernel *kernel, const char *address, const char *methods)
{
	char path[PCI_PATH_SIZE], now[128];

	pci_path(address, "reset_method", path, sizeof(path));
	if (kernel_read(kernel, path, now, sizeof(now)) <= 0)
		return false;
	for (; *methods; methods += strspn(methods, " ")) {
		size_t length = strcspn(methods, " ");

		if (length && !has_word(now, methods, length))
			return false;
		methods += length;
	}
	return true;
}

/* What the settings say of a function comes before a quirk's reset method, and an earlier quirk
 * before a later one. */
static void add_attributes(const struct kernel *kernel, const struct device_settings *devices,
	const struct loans *loans, struct wishes *wishes)
{
	const char *done = NULL;

	for (size_t i = 0; i < devices->count; i++)
		wishes->attributes[wishes->attribute_count++] = (struct attribute_wish){
			.address = devices->items[i].address,
			.name = devices->items[i].attribute,
			.value = devices->items[i].value,
			.why = "`devices` in gpu-ferry.conf",
		};
	for (size_t i = 0; i < wishes->known.count; i++) {
		const struct known_quirk *known = &wishes->known.items[i];
		const char *address = known->plan.address;

		if (!known->reset_method || (done && strcmp(done, address) == 0) ||
			is_set(devices, address, "reset_method") || is_stuck(loans, address) ||
			!can_reset(kernel, address, known->reset_method))
			continue;
		done = address;
		wishes->attributes[wishes->attribute_count++] = (struct attribute_wish){
			.address = address,
			.name = "reset_method",
			.value = known->reset_method,
			.why = known->plan.source,
		};
	}
}

int wishes_make(const struct kernel *kernel, const struct wishes_source *source, struct wishes *ret,
	struct error *error)
{
	const struct settings *settings = source->settings;
	int r = source->quirks
		? known_quirks_find(kernel, source->quirks, source->host, &ret->known, error)
		: 0;

	if (r < 0)
		return r;
	ret->attributes =
		calloc(settings->devices.count + ret->known.count + 1, sizeof(*ret->attributes));
	ret->quirks = calloc(ret->known.count + 1, sizeof(*ret->quirks));
	if (!ret->attributes || !ret->quirks)
		return error_set_errno(error, -ENOMEM, "plan the handover");
	add_attributes(kernel, &settings->devices, source->loans, ret);
	for (size_t i = 0; i < ret->known.count; i++) {
		struct plan_quirk *quirk = &ret->quirks[ret->quirk_count++];

		*quirk = ret->known.items[i].plan;
		if (quirk->deadline_ms && settings->slow_write_deadline_seconds)
			quirk->deadline_ms = settings->slow_write_deadline_seconds * 1000;
	}
	return 0;
}
