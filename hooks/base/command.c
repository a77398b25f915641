/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Options, help, and the only place that prints errors and ends a program. */

#include "command.h"

#include "kmod-helper/base/parse.h"
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE 2

static const char attach_help[] =
	"  --tune             cpu, args and agent too, as NVIDIA's Windows driver may want them\n"
	"  --primary-gpu      the first device is the guest's primary display (x-vga=1)\n"
	"  --machine q35      set what is only advised otherwise: an installed guest may rename\n"
	"  --bios ovmf        its network interfaces, or not boot\n"
	"  --enable-snippets  let the web page list the hookscript (pvesm set local)";

static void print_help(const struct program *program, const struct command *command)
{
	if (command) {
		printf("Usage: gpu-ferry %s %s\n", command->name, command->usage);
		if (command->help)
			printf("\n%s.\n", command->help);
		if (strcmp(command->name, "attach") == 0)
			printf("\n%s\n", attach_help);
	} else {
		puts("Usage: gpu-ferry COMMAND [OPTIONS] [ARGS]\n\n"
		     "A GPU belongs to the host until a VM needs it, and comes home when the VM is "
		     "done.\n\nCommands:");
		for (size_t i = 0; i < program->command_count; i++) {
			if (program->commands[i].help)
				printf("  %-10s %-36s %s\n", program->commands[i].name,
					program->commands[i].usage, program->commands[i].help);
		}
	}
	puts("\nOptions:\n"
	     "  --output-format FORMAT  text, json or json-pretty\n"
	     "  --dry-run               say what would be done, change nothing\n"
	     "  --root DIR              read another tree's /sys, /proc, /etc and /run\n"
	     "  -q, --quiet             errors and warnings only\n"
	     "  -v, --verbose           more detail\n"
	     "  --no-color              no colour (NO_COLOR does the same)\n"
	     "  -h, --help              this text\n"
	     "  --version               the version\n\n"
	     "DEVICE is 2b:00 (the whole card), 2b:00.0, or with a domain 0000:2b:00; of attach, bind\n"
	     "and unbind also the name of a resource mapping.\n"
	     "Exit: 0 done, 1 failed or something is owed, 2 called wrongly. See gpu-ferry(8).");
}

static const struct command *find_command(const struct program *program, const char *name)
{
	for (size_t i = 0; i < program->command_count; i++) {
		if (strcmp(program->commands[i].name, name) == 0)
			return &program->commands[i];
	}
	return NULL;
}

enum option_code {
	OPTION_ALL = 256,
	OPTION_APPLY,
	OPTION_BIOS,
	OPTION_CHAIN,
	OPTION_DRIVER,
	OPTION_DRY_RUN,
	OPTION_ENABLE_SNIPPETS,
	OPTION_FORMAT,
	OPTION_INSTALL_DRIVER,
	OPTION_MODE,
	OPTION_MACHINE,
	OPTION_NO_COLOR,
	OPTION_PRIMARY_GPU,
	OPTION_ROOT,
	OPTION_TUNE,
	OPTION_VERSION,
	OPTION_WINDOWS,
};

static const struct option long_options[] = {
	{"all", no_argument, NULL, OPTION_ALL},
	{"apply", no_argument, NULL, OPTION_APPLY},
	{"bios", required_argument, NULL, OPTION_BIOS},
	{"chain", no_argument, NULL, OPTION_CHAIN},
	{"driver", required_argument, NULL, OPTION_DRIVER},
	{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
	{"enable-snippets", no_argument, NULL, OPTION_ENABLE_SNIPPETS},
	{"help", no_argument, NULL, 'h'},
	{"install-driver", no_argument, NULL, OPTION_INSTALL_DRIVER},
	{"mode", required_argument, NULL, OPTION_MODE},
	{"machine", required_argument, NULL, OPTION_MACHINE},
	{"no-color", no_argument, NULL, OPTION_NO_COLOR},
	{"output-format", required_argument, NULL, OPTION_FORMAT},
	{"primary-gpu", no_argument, NULL, OPTION_PRIMARY_GPU},
	{"quiet", no_argument, NULL, 'q'},
	{"root", required_argument, NULL, OPTION_ROOT},
	{"tune", no_argument, NULL, OPTION_TUNE},
	{"verbose", no_argument, NULL, 'v'},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"windows", no_argument, NULL, OPTION_WINDOWS},
	{0},
};

static int parse_format(const char *text, enum output_format *ret)
{
	static const char *const names[] = {"text", "json", "json-pretty"};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum output_format)i;
			return 0;
		}
	}
	return -EINVAL;
}

struct call {
	const char *root;
	bool help;
	bool version;
};

/* The options of attach and hook. */
static void set_option(struct context *context, int option)
{
	switch (option) {
	case OPTION_BIOS:
		context->bios = optarg;
		break;
	case OPTION_CHAIN:
		context->chain = true;
		break;
	case OPTION_ENABLE_SNIPPETS:
		context->enable_snippets = true;
		break;
	case OPTION_MACHINE:
		context->machine = optarg;
		break;
	case OPTION_PRIMARY_GPU:
		context->primary_gpu = true;
		break;
	default:
		context->tune = true;
	}
}

static int parse_options(int count, char **arguments, struct context *context, struct call *call,
	struct error *error)
{
	int option;

	while ((option = getopt_long(count, arguments, ":hqv", long_options, NULL)) != -1) {
		switch (option) {
		case OPTION_ALL:
			context->all = true;
			break;
		case OPTION_APPLY:
			context->apply = true;
			break;
		case OPTION_MODE:
			context->mode = optarg;
			break;
		case OPTION_WINDOWS:
			context->windows = true;
			break;
		case OPTION_BIOS:
		case OPTION_CHAIN:
		case OPTION_ENABLE_SNIPPETS:
		case OPTION_MACHINE:
		case OPTION_PRIMARY_GPU:
		case OPTION_TUNE:
			set_option(context, option);
			break;
		case OPTION_DRIVER:
			context->driver = optarg;
			break;
		case OPTION_DRY_RUN:
			context->dry_run = true;
			break;
		case OPTION_FORMAT:
			if (parse_format(optarg, &context->output) < 0)
				return error_set(error, USAGE,
					"--output-format is text, json or json-pretty, not '%s'",
					optarg);
			break;
		case OPTION_INSTALL_DRIVER:
			context->install_driver = true;
			break;
		case OPTION_NO_COLOR:
			context->no_color = true;
			break;
		case OPTION_ROOT:
			call->root = optarg;
			break;
		case OPTION_VERSION:
			call->version = true;
			break;
		case 'h':
			call->help = true;
			break;
		case 'q':
			context->log_level = LOG_WARNING;
			break;
		case 'v':
			context->log_level = LOG_DEBUG;
			break;
		case ':':
			return error_set(error, USAGE, "the option '%s' needs a value",
				arguments[optind - 1]);
		default:
			return error_set(error, USAGE, "unknown option '%s' (see gpu-ferry --help)",
				arguments[optind - 1]);
		}
	}
	return 0;
}

/* A library's message must not land in a device's file because a standard descriptor was closed. */
static void open_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

static int run(const struct command *command, const struct call *call, char **arguments,
	struct context *context, struct error *error)
{
	int r;

	context->command = command->name;
	r = context_open(context, call->root ? call->root : "/", error);
	if (r < 0)
		return r;
	r = command->run(context, arguments, error);
	context_close(context);
	return r;
}

static int fail(int status, struct error *error)
{
	text_make_line(error->message);
	fprintf(stderr, "gpu-ferry: %s\n", error->message);
	return status == USAGE ? EXIT_USAGE : EXIT_FAILURE;
}

int command_main(const struct program *program, int count, char **arguments)
{
	struct context context = {.log_level = LOG_INFO, .no_color = getenv("NO_COLOR") != NULL};
	const struct command *command = NULL;
	struct call call = {0};
	struct error error = {0};
	int r;

	open_standard_descriptors();
	umask(022);
	r = parse_options(count, arguments, &context, &call, &error);
	if (r < 0)
		return fail(r, &error);
	if (call.version) {
		puts("gpu-ferry " VERSION);
		return EXIT_SUCCESS;
	}
	if (optind < count) {
		command = find_command(program, arguments[optind]);
		if (!command) {
			error_set(&error, USAGE, "unknown command '%s' (see gpu-ferry --help)",
				arguments[optind]);
			return fail(USAGE, &error);
		}
	}
	if (command && !command->run) {
		r = program->run_other(arguments, &error);
		return fail(r, &error);
	}
	if (call.help) {
		print_help(program, command);
		return EXIT_SUCCESS;
	}
	if (!command) {
		error_set(&error, USAGE, "no command given (see gpu-ferry --help)");
		return fail(USAGE, &error);
	}
	r = run(command, &call, arguments + optind + 1, &context, &error);
	return r < 0 ? fail(r, &error) : EXIT_SUCCESS;
}
