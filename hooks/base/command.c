/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Options, help, and the only place that prints errors and ends a program. */

#include "command.h"

#include "hooks/base/output.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/parse.h"
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE 2

/* ---- the options of every command */

struct global_options {
	const char *output_format;
	const char *root;
	bool quiet;
	bool verbose;
	bool no_color;
	bool help;
	bool version;
};

#define AT(field) offsetof(struct global_options, field)

static const struct command_option global_options[] = {
	{"output-format", 0, "FORMAT",
		"text (the default), json or json-pretty; of status also prometheus",
		AT(output_format)},
	{"root", 0, "DIR", "read the /sys, /proc, /etc and /run below DIR; changes nothing there",
		AT(root)},
	{"quiet", 'q', NULL, "errors and warnings only", AT(quiet)},
	{"verbose", 'v', NULL, "more detail", AT(verbose)},
	{"no-color", 0, NULL, "no colour; NO_COLOR in the environment does the same", AT(no_color)},
	{"help", 'h', NULL, "show this help; after a command, help for that command", AT(help)},
	{"version", 0, NULL, "show the version", AT(version)},
	{0},
};

/* ---- help */

#define HELP_COLUMN 26
#define HELP_WIDTH 80

/* Breaks @text into lines that begin at HELP_COLUMN; the cursor stands at @column. */
static void print_wrapped(const char *text, int column)
{
	bool first = true;

	if (column > HELP_COLUMN - 2) {
		putchar('\n');
		column = 0;
	}
	printf("%*s", HELP_COLUMN - column, "");
	column = HELP_COLUMN;
	while (*text) {
		int length = (int)strcspn(text, " ");

		if (!first && column + 1 + length > HELP_WIDTH) {
			printf("\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
		} else if (!first) {
			putchar(' ');
			column++;
		}
		printf("%.*s", length, text);
		column += length;
		text += length;
		text += strspn(text, " ");
		first = false;
	}
	putchar('\n');
}

static void print_option(const struct command_option *option)
{
	int column = option->letter ? printf("  -%c, --%s", option->letter, option->name)
				    : printf("  --%s", option->name);

	if (option->argument)
		column += printf(" %s", option->argument);
	print_wrapped(option->help, column);
}

static void print_options(const char *title, const struct command_option *options)
{
	printf("\n%s:\n", title);
	for (; options->name; options++)
		print_option(options);
}

static bool is_hidden(const struct command_summary *summary)
{
	return summary->group && !*summary->group;
}

static const struct command_summary *find_summary(const struct program *program, const char *name)
{
	const struct command_summary *summary = program->summaries;

	while (summary->name && strcmp(summary->name, name) != 0)
		summary++;
	return summary->name ? summary : NULL;
}

static void print_command_help(const struct program *program, const struct command *command)
{
	const struct command_summary *summary = find_summary(program, command->name);

	printf("Usage: gpu-ferry %s%s%s [OPTIONS]\n", command->name, *command->arguments ? " " : "",
		command->arguments);
	if (summary)
		printf("\n%s.\n%s", summary->text, summary->more ? summary->more : "");
	if (command->options)
		print_options("Options", command->options);
	if (strstr(command->arguments, "DEVICE"))
		puts("\nDEVICE is 2b:00 (the whole card: display, audio, USB) or 2b:00.0, with or\n"
		     "without a domain (0000:2b:00). attach, bind and unbind also take a resource\n"
		     "mapping's name.");
	printf("\nExample:\n  %s\n", command->example);
	puts("\nOptions of every command, such as -q and -v: gpu-ferry --help");
}

static void print_help(const struct program *program)
{
	puts("Usage: gpu-ferry COMMAND [OPTIONS] [ARGUMENTS]\n\n"
	     "A GPU belongs to the host until a VM needs it, and comes home when the VM is\n"
	     "done.\n"
	     "\nCommands:");
	for (const struct command_summary *s = program->summaries; s->name; s++) {
		if (is_hidden(s))
			continue;
		if (s->group)
			printf("  %s:\n", s->group);
		printf("    %-10s %s\n", s->name, s->text);
	}
	print_options("Options of every command", global_options);
	puts("\nFirst steps: list, doctor, setup, attach, plan; then start the VM. Without a VM:\n"
	     "bind, status, unbind. The commands under Look change nothing; the others need\n"
	     "root.\n"
	     "\nA command's own options: gpu-ferry help COMMAND\n"
	     "Exit code: 0 done, 1 failed or something is owed, 2 wrong usage.\n"
	     "The manual: man gpu-ferry");
}

/* ---- which command */

static const struct command *find_command(const struct program *program, const char *name)
{
	for (const struct command *const *command = program->commands; *command; command++) {
		if (strcmp((*command)->name, name) == 0)
			return *command;
	}
	return NULL;
}

/* "--root DIR", whose DIR is another word. */
static bool takes_next_word(const char *word)
{
	for (const struct command_option *option = global_options; option->name; option++) {
		if (option->argument && strcmp(word + 2, option->name) == 0)
			return true;
	}
	return false;
}

/*
 * The place of the command's name among the words; 0: there is none. Options may stand in front of
 * it, also those of a command that another program has: a word behind an option is the option's
 * value, unless it names a command. "help" is another way to write --help.
 */
static int find_command_word(const struct program *program, int count, char **arguments)
{
	static char help[] = "--help";
	bool value = false; /* this word may be the value of the one before */

	for (int i = 1; i < count; i++) {
		char *word = arguments[i];

		if (strcmp(word, "--") == 0)
			return i + 1 < count ? i + 1 : 0;
		if (strncmp(word, "--", 2) == 0 && takes_next_word(word)) {
			i++;
			value = false;
		} else if (word[0] == '-') {
			value = word[1] == '-' && !strchr(word, '=');
		} else if (strcmp(word, "help") == 0) {
			arguments[i] = help;
			value = false;
		} else if (!value || find_summary(program, word)) {
			return i;
		} else {
			value = false;
		}
	}
	return 0;
}

static unsigned int smallest(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int least = a < b ? a : b;

	return least < c ? least : c;
}

/* How many letters are to be added, taken away or replaced to make one word of the other
 * (Levenshtein); long words are as good as different. */
static unsigned int word_distance(const char *left, const char *right)
{
	unsigned int row[32];
	size_t length = strlen(right);

	if (length >= sizeof(row) / sizeof(row[0]))
		return (unsigned int)length;
	for (unsigned int k = 0; k <= length; k++)
		row[k] = k;
	for (unsigned int i = 0; left[i]; i++) {
		unsigned int diagonal = row[0];

		row[0] = i + 1;
		for (size_t k = 0; k < length; k++) {
			unsigned int above = row[k + 1];

			row[k + 1] =
				smallest(row[k] + 1, above + 1, diagonal + (left[i] != right[k]));
			diagonal = above;
		}
	}
	return row[length];
}

static int unknown_command(const struct program *program, const char *word, struct error *error)
{
	const char *nearest = NULL;
	unsigned int distance = 3; /* two letters may be wrong */

	for (const struct command_summary *s = program->summaries; s->name; s++) {
		unsigned int d = word_distance(word, s->name);

		if (!is_hidden(s) && d < distance && d < strlen(s->name) - 1) {
			distance = d;
			nearest = s->name;
		}
	}
	return nearest
		? error_set(error, USAGE, "unknown command '%s': did you mean %s?", word, nearest)
		: error_set(error, USAGE, "unknown command '%s' (see gpu-ferry --help)", word);
}

/* ---- parsing */

#define OPTIONS_MAX 24
#define LONG_OPTION 256 /* what getopt_long returns for the first option; the letters are below */

/* What getopt_long is given, and where each value goes. */
struct parser {
	const struct command *command; /* NULL: none was named */
	const struct command_option *options[OPTIONS_MAX];
	char *targets[OPTIONS_MAX];
	struct option longs[OPTIONS_MAX + 1];
	char letters[OPTIONS_MAX + 2];
	int count;
};

static void parser_add(struct parser *parser, const struct command_option *options, void *target)
{
	for (; options && options->name && parser->count < OPTIONS_MAX; options++) {
		int i = parser->count++;
		size_t used = strlen(parser->letters);

		parser->options[i] = options;
		parser->targets[i] = (char *)target + options->offset;
		parser->longs[i] = (struct option){.name = options->name,
			.has_arg = options->argument ? required_argument : no_argument,
			.val = LONG_OPTION + i};
		if (options->letter)
			parser->letters[used] = options->letter;
	}
}

/* The index of what getopt_long returned, or stored in optopt; -1: no option of ours. */
static int parser_find(const struct parser *parser, int option)
{
	if (option >= LONG_OPTION)
		return option - LONG_OPTION;
	for (int i = 0; i < parser->count; i++) {
		if (option && parser->options[i]->letter == option)
			return i;
	}
	return -1;
}

static void parser_set(const struct parser *parser, int i)
{
	if (parser->options[i]->argument)
		memcpy(parser->targets[i], &(const char *){optarg}, sizeof(const char *));
	else
		*(bool *)(void *)parser->targets[i] = true;
}

static int refuse(const struct parser *parser, int option, const char *word, struct error *error)
{
	const char *command = parser->command ? parser->command->name : "";
	const char *space = parser->command ? " " : "";
	const char letter[] = {'-', (char)optopt, '\0'};
	int known = parser_find(parser, optopt);

	if (option == ':')
		return error_set(error, USAGE,
			"the option '%s' needs a value (see gpu-ferry %s%s--help)", word, command,
			space);
	if (known >= 0)
		return error_set(error, USAGE,
			"the option '--%s' takes no value (see gpu-ferry %s%s--help)",
			parser->options[known]->name, command, space);
	if (!parser->command)
		return error_set(error, USAGE, "unknown option '%s' (see gpu-ferry --help)",
			optopt ? letter : word);
	return error_set(error, USAGE, "%s has no option '%s' (see gpu-ferry %s --help)", command,
		optopt ? letter : word, command);
}

static int parser_run(struct parser *parser, int count, char **arguments, struct error *error)
{
	int option, i;

	while ((option = getopt_long(count, arguments, parser->letters, parser->longs, NULL)) !=
		-1) {
		i = option == '?' || option == ':' ? -1 : parser_find(parser, option);
		if (i < 0)
			return refuse(parser, option, arguments[optind - 1], error);
		parser_set(parser, i);
	}
	return 0;
}

static int read_format(const struct command *command, const char *text, enum output_format *ret,
	struct error *error)
{
	static const char *const names[] = {"text", "json", "json-pretty", "prometheus"};
	unsigned int count = command->has_metrics ? OUTPUT_PROMETHEUS + 1 : OUTPUT_PROMETHEUS;

	for (unsigned int i = 0; text && i < count; i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = (enum output_format)i;
			return 0;
		}
	}
	return text ? error_set(error, USAGE,
			      "--output-format is text, json or json-pretty%s, not '%s'",
			      command->has_metrics ? " or prometheus" : "", text)
		    : 0;
}

/* ---- running */

/* Opens the standard descriptors that are closed: otherwise a library's message could be written
 * into a device's file. */
static void open_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

static int run(const struct command *command, const struct global_options *global,
	const void *options, char **arguments, struct error *error)
{
	struct context context = {
		.command = command->name,
		.log_level = global->quiet ? LOG_WARNING
			: global->verbose  ? LOG_DEBUG
					   : LOG_INFO,
		.no_color = global->no_color || getenv("NO_COLOR"),
	};
	int r = read_format(command, global->output_format, &context.output, error);

	if (r == 0)
		r = context_open(&context, global->root ? global->root : "/", error);
	if (r < 0)
		return r;
	r = command->run(&context, options, arguments, error);
	if (r < 0 && command->logs_its_error) {
		text_make_line(error->message);
		context_journal(&context,
			&(const struct log_entry){.priority = LOG_ERR, .text = error->message});
	}
	context_close(&context);
	return r;
}

static int parse_and_run(const struct program *program, const struct command *command, int count,
	char **arguments, struct error *error)
{
	struct global_options global = {0};
	auto_free void *options = calloc(1, command ? command->options_size + 1 : 1);
	struct parser parser = {.command = command, .letters = ":"};
	int r;

	if (!options)
		return error_set_errno(error, -ENOMEM, "read the options");
	parser_add(&parser, global_options, &global);
	parser_add(&parser, command ? command->options : NULL, options);
	r = parser_run(&parser, count, arguments, error);
	if (r < 0)
		return r;
	if (global.version)
		puts("gpu-ferry " VERSION);
	else if (global.help && command)
		print_command_help(program, command);
	else if (global.help)
		print_help(program);
	else if (command)
		return run(command, &global, options, arguments + optind, error);
	else
		return error_set(error, USAGE, "no command given (see gpu-ferry --help)");
	return 0;
}

/* Finds the command, and takes its name out of the words. */
static int call(const struct program *program, int count, char **arguments, struct error *error)
{
	int place = find_command_word(program, count, arguments);
	const struct command *command = NULL;

	if (place) {
		const char *word = arguments[place];

		command = find_command(program, word);
		if (!command && find_summary(program, word) && program->run_other)
			return program->run_other(arguments, error);
		if (!command)
			return unknown_command(program, word, error);
		memmove(&arguments[place], &arguments[place + 1],
			(size_t)(count - place) * sizeof(*arguments));
		count--;
	}
	return parse_and_run(program, command, count, arguments, error);
}

int command_main(const struct program *program, int count, char **arguments)
{
	struct error error = {0};
	int r;

	open_standard_descriptors();
	umask(022);
	r = call(program, count, arguments, &error);
	/* whoever reads what was printed must not take half of it for all of it */
	if (r == 0)
		r = output_close(&error);
	if (r == 0)
		return EXIT_SUCCESS;
	text_make_line(error.message);
	fprintf(stderr, "gpu-ferry: %s\n", error.message);
	return r == USAGE ? EXIT_USAGE : EXIT_FAILURE;
}
