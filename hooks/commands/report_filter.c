/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Leaves out of a file what a fault report must not have. Each filter names what it keeps: what
 * nobody thought of is left out. */

#include "report_filter.h"

#include "conf/pve/vm_windows.h"
#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <ctype.h>
#include <fnmatch.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FOR_EACH_LINE(line, filter)                                                                \
	for (char *(line); ((line) = strsep(&(filter)->text, "\n"));                               \
		(filter)->text ? (void)fputc('\n', (filter)->out) : (void)0)

/* Is the first @length bytes of @text one of these patterns? They end with NULL. */
static bool matches(const char *const *patterns, const char *text, size_t length)
{
	auto_free char *word = strndup(text, length);

	for (; word && *patterns; patterns++) {
		if (fnmatch(*patterns, word, 0) == 0)
			return true;
	}
	return false;
}

const char *filter_node(const struct names *nodes, const char *name, size_t length, char ret[16])
{
	size_t number = 0;

	for (size_t i = 0; i < nodes->count && !number; i++) {
		if (strlen(nodes->names[i]) == length &&
			strncmp(nodes->names[i], name, length) == 0)
			number = i + 1;
	}
	snprintf(ret, 16, "node%u", (unsigned int)number);
	return ret;
}

/* ---- addresses */

/* The length of a text of this form at the start of @text; "x" is a hexadecimal digit. 0: none. */
static size_t form_length(const char *text, const char *form)
{
	size_t i = 0;

	while (form[i] && (form[i] == 'x' ? isxdigit((unsigned char)text[i]) : text[i] == form[i]))
		i++;
	return form[i] || isxdigit((unsigned char)text[i]) ? 0 : i;
}

void filter_addresses(char *text)
{
	static const char *const forms[] = {
		"xx:xx:xx:xx:xx:xx", "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "enxxxxxxxxxxxxx"};

	for (char *at = text; *at; at++) {
		size_t length = 0;

		/* an "enx" has its address after three letters */
		if (at > text && isalnum((unsigned char)at[-1]))
			continue;
		for (size_t i = 0; i < 2 && !length; i++)
			length = form_length(at, forms[i]);
		if (!length && strncmp(at, "enx", 3) == 0 && form_length(at + 3, "xxxxxxxxxxxx")) {
			at += 3;
			length = 12;
		}
		for (; length; length--, at++) {
			if (isxdigit((unsigned char)*at))
				*at = '0';
		}
		if (!*at)
			return;
	}
}

/* ---- a VM's config */

static const char *const vm_keys[] = {"agent", "balloon", "bios", "cores", "cpu", "hookscript",
	"hostpci[0-9]*", "lock", "machine", "memory", "numa", "onboot", "ostype", "scsihw",
	"sockets", "template", "vga", NULL};
static const char *const disk_keys[] = {"efidisk[0-9]*", "ide[0-9]*", "sata[0-9]*", "scsi[0-9]*",
	"tpmstate[0-9]*", "virtio[0-9]*", NULL};

/* The storage, and whether it is a CD, of Windows perhaps. */
static void put_disk(FILE *out, const char *value)
{
	size_t storage = strcspn(value, ":/,");
	const char *disc = vm_windows_disc(value);

	fprintf(out, "%.*s%s", value[storage] == ':' ? (int)storage : 0, value,
		value[storage] == ':' ? ":" : "");
	if (strstr(value, "media=cdrom"))
		fprintf(out, "%s,media=cdrom", disc ? disc : "disc");
	else
		fputs("disk", out);
}

/* The end of the word at @text: blanks inside quotes belong to it. */
static size_t word_length(const char *text)
{
	char quote = '\0';
	size_t i = 0;

	for (; text[i] && (quote || !text_is_white(text[i])); i++) {
		if (quote ? text[i] == quote : text[i] == '"' || text[i] == '\'')
			quote = quote ? '\0' : text[i];
	}
	return i;
}

/* QEMU's own arguments may have a disk's key or a serial number: only the CPU and what concerns a
 * device that is passed through. */
static void put_qemu_arguments(FILE *out, const char *value)
{
	static const char *const values[] = {"device.hostpci*", "vfio-pci*", NULL};
	const char *separator = "";

	for (const char *word = value; *(word += strspn(word, TEXT_WHITE));) {
		size_t length = word_length(word);
		const char *next = word + length + strspn(word + length, TEXT_WHITE);
		size_t next_length = word_length(next);

		if ((length == 4 && strncmp(word, "-cpu", 4) == 0) ||
			(*word == '-' && matches(values, next, next_length))) {
			fprintf(out, "%s%.*s %.*s", separator, (int)length, word, (int)next_length,
				next);
			separator = " ";
			length = (size_t)(next - word) + next_length;
		}
		word += length;
	}
}

/* A key and its value as the report has them; nothing for what is left out. */
static bool put_vm_value(FILE *out, const char *key, const char *value)
{
	size_t length = strlen(key);

	if (matches(vm_keys, key, length))
		fputs(value, out);
	else if (matches(disk_keys, key, length))
		put_disk(out, value);
	else if (strcmp(key, "args") == 0)
		put_qemu_arguments(out, value);
	else
		return false;
	return true;
}

/* Sections are pending changes and snapshots, which have no say about a start. */
static void filter_config(struct filter *filter, void (*line_filter)(struct filter *, char *))
{
	bool skip = false;

	FOR_EACH_LINE(line, filter)
	{
		skip = skip || *line == '[';
		if (!skip)
			line_filter(filter, line);
	}
}

static void keep_private(struct filter *filter, const char *value)
{
	if (strlen(value) > 1)
		(void)names_add_once(filter->private, value);
}

static void vm_line(struct filter *filter, char *line)
{
	auto_free char *kept = NULL;
	char *value = strchr(line, ':');
	size_t size;
	FILE *out;

	if (!value || *line == '#')
		return;
	*value++ = '\0';
	value = text_trim(value);
	if (strcmp(line, "name") == 0)
		keep_private(filter, value);
	out = open_memstream(&kept, &size);
	if (!out)
		return;
	if (put_vm_value(out, line, value) && fflush(out) == 0 && size)
		fprintf(filter->out, "%s: %s", line, kept);
	fclose(out);
}

void filter_vm(struct filter *filter)
{
	filter_config(filter, vm_line);
}

static void container_line(struct filter *filter, char *line)
{
	static const char *const keys[] = {"dev[0-9]*", "lxc.cgroup.devices.allow",
		"lxc.cgroup2.devices.allow", "onboot", NULL};
	size_t length = strcspn(line, " \t:=");
	const char *value = line + length + strspn(line + length, " \t:=");

	if (matches(keys, line, length))
		fputs(line, filter->out);
	else if (strncmp(line, "lxc.mount.entry", length) == 0 && strncmp(value, "/dev/", 5) == 0)
		fprintf(filter->out, "lxc.mount.entry: %.*s", (int)strcspn(value, TEXT_WHITE),
			value);
	else if (strncmp(line, "hostname", length) == 0 && length == 8)
		keep_private(filter, value);
}

void filter_container(struct filter *filter)
{
	filter_config(filter, container_line);
}

/* ---- section files */

static void put_nodes(struct filter *filter, const char *list)
{
	while (*list) {
		size_t length = strcspn(list, ",; \t");
		char node[16];

		if (length)
			fputs(filter_node(filter->nodes, list, length, node), filter->out);
		list += length;
		if (*list)
			fputc(*list++, filter->out);
	}
}

/* "id=10de:1e07,node=pve1,…": everything but the description */
static void put_map(struct filter *filter, char *value)
{
	static const char *const keys[] = {
		"id=*", "iommugroup=*", "path=*", "subsystem-id=*", "node=*", NULL};
	const char *separator = "";

	for (char *part; (part = strsep(&value, ","));) {
		if (!matches(keys, part, strlen(part)))
			continue;
		fputs(separator, filter->out);
		separator = ",";
		if (strncmp(part, "node=", 5) == 0) {
			fputs("node=", filter->out);
			put_nodes(filter, part + 5);
		} else {
			fputs(part, filter->out);
		}
	}
}

static void filter_sections(struct filter *filter, const char *const *keys)
{
	FOR_EACH_LINE(line, filter)
	{
		size_t blanks = strspn(line, TEXT_WHITE);
		size_t length = strcspn(line + blanks, TEXT_WHITE);
		char *value = line + blanks + length;

		value += strspn(value, TEXT_WHITE);
		if (*line && blanks && !matches(keys, line + blanks, length)) {
			fputs("\t#", filter->out);
		} else if (*line == '#') {
			fputs("#", filter->out);
		} else if (blanks && *value && strncmp(line + blanks, "nodes", length) == 0) {
			fputs("\tnodes ", filter->out);
			put_nodes(filter, value);
		} else if (blanks && strncmp(line + blanks, "map", length) == 0) {
			fputs("\tmap ", filter->out);
			put_map(filter, value);
		} else {
			fputs(line, filter->out);
		}
	}
}

void filter_storage(struct filter *filter)
{
	static const char *const keys[] = {
		"content", "content-dirs", "disable", "nodes", "path", NULL};

	filter_sections(filter, keys);
}

void filter_mapping(struct filter *filter)
{
	static const char *const keys[] = {"live-migration-capable", "map", "mdev", NULL};

	filter_sections(filter, keys);
}

/* ---- gpu-ferry's own files */

static void clean_value(struct json_object *entry, const char *key, const char *member)
{
	const char *value = json_object_get_string(json_object_object_get(entry, member));
	auto_free char *kept = NULL;
	size_t size;
	FILE *out = value ? open_memstream(&kept, &size) : NULL;

	if (!out)
		return;
	put_vm_value(out, key, value);
	if (fclose(out) == 0)
		json_object_object_add(entry, member, json_object_new_string(kept));
}

void filter_attachment(struct filter *filter)
{
	struct json_object *object = json_tokener_parse(filter->text);
	struct json_object *keys = object ? json_object_object_get(object, "keys") : NULL;

	if (!json_object_is_type(keys, json_type_array)) {
		json_object_put(object);
		return;
	}
	for (size_t i = 0; i < json_object_array_length(keys); i++) {
		struct json_object *entry = json_object_array_get_idx(keys, i);
		const char *key = json_object_get_string(json_object_object_get(entry, "key"));

		clean_value(entry, key ? key : "", "before");
		clean_value(entry, key ? key : "", "after");
	}
	fputs(json_object_to_json_string(object), filter->out);
	json_object_put(object);
}

/* libconfig's comments: "#" and two slashes to the end of the line, and those of C. */
void filter_settings(struct filter *filter)
{
	bool quoted = false;

	for (const char *at = filter->text; *at; at++) {
		bool block = !quoted && strncmp(at, "/*", 2) == 0;

		if (block || (!quoted && (*at == '#' || strncmp(at, "//", 2) == 0))) {
			const char *end = block ? strstr(at + 2, "*/") : strchr(at, '\n');

			for (; *at && at != end; at++) {
				if (*at == '\n')
					fputc('\n', filter->out);
			}
			if (!*at)
				return;
			if (block) {
				at++;
				continue;
			}
		}
		if (quoted && *at == '\\' && at[1])
			fputc(*at++, filter->out);
		else if (*at == '"')
			quoted = !quoted;
		fputc(*at, filter->out);
	}
}

/* ---- boot and modules */

static const char *const card_modules[] = {"vfio*", "nouveau", "nova*", "nvidia*", "amdgpu",
	"radeon", "i915", "xe", "drm*", "snd_hda*", "snd-hda*", "xhci*", "kvm*", "ast", "mgag200",
	"bochs*", "simpledrm", "simplefb", "efifb", "vesafb", "i2c_nvidia_gpu", "i2c-nvidia-gpu",
	"ucsi*", "typec*", NULL};
static const char *const kernel_arguments[] = {"*iommu*", "*blacklist*", "pci", "pcie*", "video",
	"nomodeset", "quiet", "splash", "ro", "rw", "single", "vga", "nofb", "fbcon", "console",
	"default_hugepagesz", "hugepagesz", "hugepages", "mitigations", NULL};

static bool argument_is_kept(const char *word, size_t length)
{
	size_t skip = strspn(word, "\"'");
	size_t name = strcspn(word + skip, "=\"' ");
	size_t module = strcspn(word + skip, ".=");

	return skip <= length &&
		(matches(kernel_arguments, word + skip, name) ||
			(word[skip + module] == '.' && matches(card_modules, word + skip, module)));
}

/* Words outside quotes; a quote that @line begins or ends with is the shell's. */
static void put_arguments(FILE *out, const char *line)
{
	const char *separator = "";

	while (*line) {
		size_t length = strcspn(line, " \t");

		if (length && argument_is_kept(line, length)) {
			fprintf(out, "%s%.*s", separator, (int)length, line);
			separator = " ";
		}
		line += length + strspn(line + length, " \t");
	}
}

void filter_arguments(struct filter *filter)
{
	FOR_EACH_LINE(line, filter)
	put_arguments(filter->out, line);
}

/* GRUB_CMDLINE_LINUX="…": also across lines, until its quote closes. */
void filter_grub(struct filter *filter)
{
	static const char *const variables[] = {
		"GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT", NULL};
	char quote = '\0';

	FOR_EACH_LINE(line, filter)
	{
		size_t indent = strspn(line, TEXT_WHITE);
		size_t name = strcspn(line + indent, "+=");
		char *value = line, *end;
		bool continues;

		if (!quote) {
			value = strchr(line, '=');
			if (!value || !matches(variables, line + indent, name)) {
				fputs(*line ? "#" : "", filter->out);
				continue;
			}
			value++;
			fprintf(filter->out, "%.*s", (int)(value - line), line);
			quote = *value == '"' || *value == '\'' ? *value++ : '\0';
			if (quote)
				fputc(quote, filter->out);
		}
		end = quote ? strchr(value, quote) : NULL;
		continues = quote && !end;
		/* what only a shell could tell stays so, without its text */
		if (strpbrk(value, "$`"))
			fputs("$LEFT_OUT ", filter->out);
		if (end)
			*end = '\0';
		put_arguments(filter->out, value);
		if (continues && line[0] && strchr(value, '\\') == value + strlen(value) - 1)
			fputs(" \\", filter->out);
		if (end) {
			fputc(quote, filter->out);
			quote = '\0';
		}
	}
}

/* kmod knows no comment behind a line's own words, but people write some. */
static void end_before_comment(char *line)
{
	char *comment = strstr(line, " #");

	if (comment)
		*comment = '\0';
}

void filter_modprobe(struct filter *filter)
{
	static const char *const words[] = {"alias", "blacklist", "softdep", NULL};
	static const char *const with_text[] = {"install", "options", "remove", NULL};
	bool keep = false, continues = false;

	FOR_EACH_LINE(line, filter)
	{
		size_t blanks = strspn(line, " \t");
		size_t word = strcspn(line + blanks, " \t");
		const char *module = line + blanks + word + strspn(line + blanks + word, " \t");

		if (!continues)
			keep = matches(words, line + blanks, word) ||
				(matches(with_text, line + blanks, word) &&
					matches(card_modules, module, strcspn(module, " \t")));
		continues = *line && line[strlen(line) - 1] == '\\';
		end_before_comment(line);
		fputs(keep ? line : *line ? "#" : "", filter->out);
	}
}

void filter_modules(struct filter *filter)
{
	FOR_EACH_LINE(line, filter)
	{
		const char *name = line + strspn(line, " \t");
		size_t length = strcspn(name, " \t");

		end_before_comment(line);
		if (*name == '#')
			fputs("#", filter->out);
		else if (matches(card_modules, name, length))
			fputs(line, filter->out);
		else
			fprintf(filter->out, "%.*s", (int)length, name);
	}
}

void filter_boot_ids(struct filter *filter)
{
	FOR_EACH_LINE(line, filter)
	fputs(text_is_blank(line) ? "" : "0000-0000", filter->out);
}

/* ---- /proc */

void filter_cpuinfo(struct filter *filter)
{
	static const char *const keys[] = {
		"processor*", "vendor_id*", "model name*", "flags*", NULL};

	FOR_EACH_LINE(line, filter)
	{
		if (matches(keys, line, strcspn(line, ":")))
			fputs(line, filter->out);
	}
}

/* The default routes, without their gateways. */
void filter_routes(struct filter *filter)
{
	FOR_EACH_LINE(line, filter)
	{
		char name[64], destination[64], mask[64];
		const char *last = strrchr(line, ' ');

		if (strncmp(line, "00000000000000000000000000000000 00 ", 36) == 0 && last)
			fprintf(filter->out, "%.36s-%s", line, last);
		else if (sscanf(line, "%63s %63s %*s %*s %*s %*s %*s %63s", name, destination,
				 mask) == 3 &&
			strcmp(destination, "00000000") == 0 && strcmp(mask, "00000000") == 0)
			fprintf(filter->out, "%s\t00000000\t0\t0003\t0\t0\t0\t00000000", name);
	}
}

/* "36 35 98:0": which devices are mounted, not where. */
void filter_mounts(struct filter *filter)
{
	FOR_EACH_LINE(line, filter)
	{
		size_t length = 0;

		for (int field = 0; field < 3; field++) {
			length += strspn(line + length, " ");
			length += strcspn(line + length, " ");
		}
		if (length)
			fprintf(filter->out, "%.*s -", (int)length, line);
	}
}

void filter_swaps(struct filter *filter)
{
	FOR_EACH_LINE(line, filter)
	{
		if (strncmp(line, "/dev/", 5) == 0)
			fprintf(filter->out, "%.*s partition", (int)strcspn(line, " \t"), line);
	}
}

/* Of the words of a command line, which end with NUL, those that tell whose QEMU it is. */
void filter_qemu(struct filter *filter)
{
	const char *end = filter->text + filter->length;

	for (const char *word = filter->text; word < end; word += strlen(word) + 1) {
		const char *value = word + strlen(word) + 1;

		if (word == filter->text)
			fwrite(word, 1, strlen(word) + 1, filter->out);
		if (value >= end || (strcmp(word, "-id") != 0 && strcmp(word, "-pidfile") != 0))
			continue;
		fwrite(word, 1, strlen(word) + 1, filter->out);
		fwrite(value, 1, strlen(value) + 1, filter->out);
	}
}

void filter_nvidia(struct filter *filter)
{
	FOR_EACH_LINE(line, filter)
	{
		if (strncmp(line, "Device Minor:", 13) == 0 || strncmp(line, "Model:", 6) == 0)
			fputs(line, filter->out);
	}
}

void filter_node_name(struct filter *filter)
{
	char node[16];

	fprintf(filter->out, "%s\n",
		filter_node(filter->nodes, filter->text, strcspn(filter->text, ". \t\r\n"), node));
}

/* ---- the journal */

/* Is the word @name at @at, in the text that begins at @start? "/etc/pve" is no node of that name.
 */
static bool is_word(const char *start, const char *at, const char *name)
{
	size_t length = strlen(name);

	return strncmp(at, name, length) == 0 && !isalnum((unsigned char)at[length]) &&
		at[length] != '-' &&
		(at == start || (!isalnum((unsigned char)at[-1]) && at[-1] != '-')) &&
		(at - start < 5 || strncmp(at - 5, "/etc/", 5) != 0);
}

/* The length of "Docker container " at @at, as holders are told; its name follows. 0: none. */
static size_t engine_length(const char *at)
{
	static const char *const engines[] = {"Docker container ", "Podman container "};
	size_t length = 0;

	for (size_t i = 0; i < 2 && !length; i++)
		length = strncmp(at, engines[i], strlen(engines[i])) == 0 ? strlen(engines[i]) : 0;
	return length;
}

void filter_journal(struct filter *filter)
{
	const struct names *lists[] = {filter->nodes, filter->private};

	for (const char *at = filter->text; *at; at++) {
		const char *found = NULL;
		size_t engine = engine_length(at);
		char node[16];

		if (engine) {
			fprintf(filter->out, "%.*sNAME", (int)engine, at);
			at += engine - 1;
			at += strspn(at + 1, TEXT_LETTERS TEXT_DIGITS "_.-");
			continue;
		}
		for (size_t i = 0; i < 2 && !found; i++) {
			for (size_t k = 0; k < lists[i]->count && !found; k++) {
				if (is_word(filter->text, at, lists[i]->names[k]))
					found = lists[i]->names[k];
			}
			if (found)
				fputs(i == 0 ? filter_node(
						       filter->nodes, found, strlen(found), node)
					     : "NAME",
					filter->out);
		}
		if (found)
			at += strlen(found) - 1;
		else
			fputc(*at, filter->out);
	}
}
