/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads one hostpciN entry of a VM's config. */

#include "hostpci.h"

#include "kmod-helper/base/cleanup.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEX "0123456789abcdef"
#define HEX_ID "^0x[0-9a-fA-F]{4}$"

const char *hostpci_id_end(const char *text)
{
	size_t domain = strspn(text, HEX);

	if (domain >= 4 && text[domain] == ':')
		text += domain + 1;
	if (strspn(text, HEX) != 2 || text[2] != ':' || strspn(text + 3, HEX) != 2)
		return NULL;
	text += 5;
	if (text[0] != '.')
		return text;
	return strspn(text + 1, HEX) == 1 ? text + 2 : NULL;
}

static bool is_id_list(const char *text)
{
	const char *end = hostpci_id_end(text);

	while (end && *end == ';')
		end = hostpci_id_end(end + 1);
	return end && *end == '\0';
}

static const char *const drivers[] = {"vfio", "keep", NULL};

static const struct property_rule rules[] = {
	{.name = "host", .is_default = true, .fits = is_id_list},
	{.name = "mapping", .fits = is_config_id},
	{.name = "rombar", .type = PROPERTY_BOOLEAN},
	{.name = "romfile", .pattern = "^[^,;]+$"},
	{.name = "pcie", .type = PROPERTY_BOOLEAN},
	{.name = "x-vga", .type = PROPERTY_BOOLEAN},
	{.name = "legacy-igd", .type = PROPERTY_BOOLEAN},
	{.name = "mdev", .pattern = "^[^/.:]+$"},
	{.name = "vendor-id", .pattern = HEX_ID},
	{.name = "device-id", .pattern = HEX_ID},
	{.name = "sub-vendor-id", .pattern = HEX_ID},
	{.name = "sub-device-id", .pattern = HEX_ID},
	{.name = "driver", .values = drivers},
};

static const struct property_format format = {rules, sizeof(rules) / sizeof(*rules)};

static int ids_split(const char *host, struct names *ids)
{
	auto_free char *copy = strdup(host);
	char *rest = copy;
	char *id;

	if (!copy)
		return -ENOMEM;
	while ((id = strsep(&rest, ";"))) {
		int r = names_add(ids, id);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Proxmox tests `if ($d->{mdev})`, and in Perl "0" is false: mdev=0 passes the whole device. */
static const char *unless_zero(const char *value)
{
	return value && strcmp(value, "0") != 0 ? value : NULL;
}

static void fields_fill(struct hostpci *hostpci)
{
	const struct property_set *options = &hostpci->options;
	const char *driver = property_get(options, "driver");

	hostpci->host = property_get(options, "host");
	hostpci->mapping = property_get(options, "mapping");
	hostpci->mdev = unless_zero(property_get(options, "mdev"));
	hostpci->romfile = unless_zero(property_get(options, "romfile"));
	hostpci->pcie = property_is_true(options, "pcie");
	hostpci->x_vga = property_is_true(options, "x-vga");
	hostpci->legacy_igd = property_is_true(options, "legacy-igd");
	hostpci->rombar = !property_get(options, "rombar") || property_is_true(options, "rombar");
	hostpci->keep_driver = driver && strcmp(driver, "keep") == 0;
}

int hostpci_parse(const char *value, struct hostpci *ret, struct error *error)
{
	cleanup(hostpci_done) struct hostpci hostpci = {0};
	int r = property_parse(&format, value, &hostpci.options, error);

	if (r < 0)
		return r;
	fields_fill(&hostpci);
	if (hostpci.host && ids_split(hostpci.host, &hostpci.ids) < 0)
		return error_set_errno(error, -ENOMEM, "read '%s'", value);
	*ret = hostpci;
	hostpci = (struct hostpci){0};
	return 0;
}

void hostpci_done(struct hostpci *hostpci)
{
	property_set_done(&hostpci->options);
	names_done(&hostpci->ids);
	*hostpci = (struct hostpci){0};
}

int hostpci_check(const struct hostpci *hostpci, struct error *error)
{
	if (hostpci->host && hostpci->mapping)
		return error_set(error, -EINVAL, "Cannot set both 'host' and 'mapping'.");
	if (!hostpci->host && !hostpci->mapping)
		return error_set(error, -EINVAL, "Either 'host' or 'mapping' must be set.");
	return 0;
}

/* Lower case, ';' between ids and ',' between options. */
static void rewrite(const char *value, FILE *stream)
{
	bool was_id = false;
	size_t length;

	for (const char *part = value; *part; part += length + (part[length] != '\0')) {
		part += strspn(part, " \t");
		length = strcspn(part, ",;");
		bool is_id = strncmp(part, "host=", 5) == 0 || !memchr(part, '=', length);

		if (!length)
			continue;
		if (ftell(stream) > 0)
			fputc(is_id && was_id ? ';' : ',', stream);
		for (size_t i = 0; i < length; i++)
			fputc(is_id ? tolower((unsigned char)part[i]) : part[i], stream);
		was_id = is_id;
	}
}

bool hostpci_mend(const char *value, char *ret, size_t size)
{
	cleanup(hostpci_done) struct hostpci hostpci = {0};
	auto_free char *text = NULL;
	size_t length;
	FILE *stream = open_memstream(&text, &length);

	if (!stream)
		return false;
	rewrite(value, stream);
	if (fclose(stream) == EOF || !text || length >= size ||
		hostpci_parse(text, &hostpci, NULL) < 0 || hostpci_check(&hostpci, NULL) < 0)
		return false;
	memcpy(ret, text, length + 1);
	return true;
}

/* As Proxmox's lspci(): the id is a prefix of the address, with or without "0000:". */
static bool id_means(const char *id, const char *address)
{
	size_t length = strlen(id);

	if (strncmp(address, id, length) == 0)
		return true;
	return strncmp(address, "0000:", 5) == 0 && strncmp(address + 5, id, length) == 0;
}

static int compare_names(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

int hostpci_find(const char *id, const char *const *addresses, size_t count, struct names *names,
	struct error *error)
{
	size_t before = names->count;

	for (size_t i = 0; i < count; i++) {
		if (id_means(id, addresses[i]) && names_add(names, addresses[i]) < 0)
			return error_set_errno(error, -ENOMEM, "look for PCI device '%s'", id);
	}
	if (names->count == before)
		return error_set(error, -ENODEV, "no PCI device found for '%s'", id);
	qsort(names->names + before, names->count - before, sizeof(*names->names), compare_names);
	return 0;
}
