/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads what a VM's config says about its processor. */

#include "vm_cpu.h"

#include "conf/text.h"
#include "kmod-helper/base/cleanup.h"
#include "vm_keys.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

bool cpu_is_hidden(const char *cpu)
{
	cleanup(property_set_done) struct property_set set = {0};

	return cpu && property_parse(&cpu_format, cpu, &set, NULL) == 0 &&
		property_is_true(&set, "hidden");
}

/* One word of `args`: its place, and its text without quotes. */
struct word {
	const char *start, *end;
	char *text;
};

static bool is_escape(const char *text, char quote)
{
	return text[0] == '\\' && text[1] && quote != '\'';
}

/* Takes the next word, as Text::ParseWords::shellwords does. False at the end, or without memory
 * (then @word->text is NULL). */
static bool word_take(const char **position, struct word *word)
{
	const char *text = *position + strspn(*position, TEXT_WHITE);
	size_t length = 0;
	char quote = '\0';

	*word = (struct word){.start = text, .text = *text ? malloc(strlen(text) + 1) : NULL};
	if (!word->text)
		return false;
	for (; *text && (quote || !text_is_white(*text)); text++) {
		if (is_escape(text, quote))
			word->text[length++] = *++text;
		else if (quote ? *text == quote : (*text == '\'' || *text == '"'))
			quote = quote ? '\0' : *text;
		else
			word->text[length++] = *text;
	}
	word->text[length] = '\0';
	word->end = text;
	*position = text;
	return true;
}

/* The parts of the native form, Proxmox's own `cpu`. */
struct native {
	char *model;
	char *vendor; /* hv-vendor-id */
	char *flags;  /* "+pcid;-aes" */
	char *others; /* ",phys-bits=host" */
	char *dropped;
	bool hidden;
	bool out_of_memory;
};

static void native_done(struct native *native)
{
	free(native->model);
	free(native->vendor);
	free(native->flags);
	free(native->others);
	free(native->dropped);
}

static void set_text(struct native *native, char **field, const char *text)
{
	free(*field);
	*field = strdup(text);
	native->out_of_memory = native->out_of_memory || !*field;
}

static void append(struct native *native, char **field, const char *separator, const char *text)
{
	char *grown;

	if (asprintf(&grown, "%s%s%s", *field ? *field : "", *field ? separator : "", text) < 0) {
		native->out_of_memory = true;
		return;
	}
	free(*field);
	*field = grown;
}

/* A flag of QEMU's that Proxmox VE has as its own since 6.0 (PVE/QemuServer/CPUFlags.pm). */
static bool flag_is_known(const char *flag)
{
	return pattern_matches("^[+-](nested-virt|md-clear|pcid|spec-ctrl|ssbd|ibpb|virt-ssbd|"
			       "amd-ssbd|amd-no-ssb|pdpe1gb|hv-tlbflush|hv-evmcs|aes)$",
		flag);
}

/* A model of QEMU's that every Proxmox VE has too (PVE/QemuServer/CPUConfig.pm); which others it
 * has, its version decides. */
static bool model_is_known(const char *model)
{
	return pattern_matches(
		"^(host|max|(kvm|qemu)(32|64)|EPYC(-IBPB|-Rome|-Milan)?|Opteron_G[1-5]|Conroe|"
		"Penryn|(Nehalem|Westmere|SandyBridge|IvyBridge)(-IBRS)?|"
		"(Haswell|Broadwell)(-noTSX)?(-IBRS)?|Skylake-(Client|Server)(-noTSX)?(-IBRS)?|"
		"Icelake-(Client|Server)(-noTSX)?|Cascadelake-Server(-noTSX)?|Cooperlake|KnightsMill)$",
		model);
}

/* Adds @flag to the flags "a;b"; it replaces an earlier flag of the same name. */
static void add_flag(struct native *native, const char *flag)
{
	auto_free char *before = native->flags;
	char *save = NULL;

	native->flags = NULL;
	for (char *old = before ? strtok_r(before, ";", &save) : NULL; old;
		old = strtok_r(NULL, ";", &save)) {
		if (strcmp(old + 1, flag + 1) != 0)
			append(native, &native->flags, ";", old);
	}
	append(native, &native->flags, ";", flag);
}

/* "+pcid", "pcid=on" and "pcid" are the same; false when Proxmox has no such flag. */
static bool take_flag(struct native *native, const char *option)
{
	size_t length = strcspn(option, "=");
	const char *value = option[length] ? option + length + 1 : "on";
	const char *sign = strcmp(value, "off") == 0 ? "-" : "+";
	auto_free char *flag = NULL;
	bool is_signed = *option == '+' || *option == '-';

	if (asprintf(&flag, "%s%.*s", is_signed ? "" : sign, (int)length, option) < 0) {
		native->out_of_memory = true;
		return true;
	}
	if (!flag_is_known(flag))
		return false;
	add_flag(native, flag);
	return true;
}

static const char *value_of(const char *option, const char *name)
{
	for (; *name; option++, name++) {
		if (*option != *name && !(*option == '_' && *name == '-'))
			return NULL;
	}
	return *option == '=' ? option + 1 : NULL;
}

static bool is_enlightenment(const char *option)
{
	return strncmp(option, "hv_", 3) == 0 || strncmp(option, "hv-", 3) == 0;
}

/* One option of QEMU's -cpu. */
static void take_option(struct native *native, const char *option)
{
	const char *kvm = value_of(option, "kvm");
	const char *vendor = value_of(option, "hv-vendor-id");

	if (kvm)
		native->hidden = strcmp(kvm, "off") == 0;
	else if (vendor && pattern_matches("^[a-zA-Z0-9]{1,12}$", vendor))
		set_text(native, &native->vendor, vendor);
	else if (vendor || (!is_enlightenment(option) && !take_flag(native, option)))
		append(native, &native->dropped, ",", option);
}

static void take_qemu(struct native *native, char *value)
{
	char *save = NULL;
	const char *model = strtok_r(value, ",", &save);

	if (!model)
		return;
	if (model_is_known(model))
		set_text(native, &native->model, model);
	else
		append(native, &native->dropped, ",", model);
	for (char *option; (option = strtok_r(NULL, ",", &save));)
		take_option(native, option);
}

static void take_other(struct native *native, const struct property_set *set, const char *name)
{
	const char *value = property_get(set, name);
	auto_free char *text = NULL;

	if (!value)
		return;
	if (asprintf(&text, ",%s=%s", name, value) < 0)
		native->out_of_memory = true;
	else
		append(native, &native->others, "", text);
}

/* Takes over what `cpu` says already. */
static void take_config(struct native *native, const char *cpu)
{
	cleanup(property_set_done) struct property_set set = {0};
	const char *flags, *vendor;

	set_text(native, &native->model, "host");
	if (!cpu || property_parse(&cpu_format, cpu, &set, NULL) < 0)
		return;
	set_text(native, &native->model, property_get(&set, "cputype"));
	native->hidden = property_is_true(&set, "hidden");
	flags = property_get(&set, "flags");
	if (flags)
		set_text(native, &native->flags, flags);
	vendor = property_get(&set, "hv-vendor-id");
	if (vendor)
		set_text(native, &native->vendor, vendor);
	take_other(native, &set, "guest-phys-bits");
	take_other(native, &set, "phys-bits");
	take_other(native, &set, "level");
}

static int native_format(const struct native *native, struct cpu_arguments *ret)
{
	int length = asprintf(&ret->native, "%s%s%s%s%s%s%s", native->model,
		native->hidden ? ",hidden=1" : "", native->flags ? ",flags=" : "",
		native->flags ? native->flags : "", native->vendor ? ",hv-vendor-id=" : "",
		native->vendor ? native->vendor : "", native->others ? native->others : "");

	if (length < 0)
		ret->native = NULL;
	ret->dropped = strdup(native->dropped ? native->dropped : "");
	return ret->native && ret->dropped ? 0 : -ENOMEM;
}

static bool is_cpu_option(const char *word)
{
	return strcmp(word, "-cpu") == 0 || strcmp(word, "--cpu") == 0;
}

/* Copies the words of other options than -cpu to @rest, as written, and works those of -cpu into
 * @native. */
static bool take_words(const char *args, struct native *native, FILE *rest)
{
	bool found = false, is_first = true;
	struct word word;

	while (word_take(&args, &word)) {
		auto_free char *text = word.text;

		if (is_cpu_option(text)) {
			struct word value;
			bool has_value = word_take(&args, &value);
			auto_free char *value_text = value.text;

			found = true;
			if (has_value)
				take_qemu(native, value_text);
			continue;
		}
		fprintf(rest, "%s%.*s", is_first ? "" : " ", (int)(word.end - word.start),
			word.start);
		is_first = false;
	}
	return found;
}

int cpu_arguments_parse(const char *args, const char *cpu, struct cpu_arguments *ret)
{
	cleanup(native_done) struct native native = {0};
	cleanup(cpu_arguments_done) struct cpu_arguments arguments = {0};
	size_t length;
	FILE *rest = args ? open_memstream(&arguments.rest, &length) : NULL;
	bool found;

	if (!rest)
		return args ? -ENOMEM : -ENOENT;
	take_config(&native, cpu);
	found = take_words(args, &native, rest);
	if (fclose(rest) != 0 || native.out_of_memory || native_format(&native, &arguments) < 0)
		return -ENOMEM;
	if (!found)
		return -ENOENT;
	*ret = arguments;
	arguments = (struct cpu_arguments){0};
	return 0;
}

void cpu_arguments_done(struct cpu_arguments *arguments)
{
	free(arguments->native);
	free(arguments->rest);
	free(arguments->dropped);
	*arguments = (struct cpu_arguments){0};
}
