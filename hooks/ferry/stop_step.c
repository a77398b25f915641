/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The time limits of the steps that stop a service or a container. */

#include "stop_step.h"

#include "kmod-helper/base/parse.h"
#include <stdio.h>
#include <string.h>

unsigned int stop_step_ms(const struct step *step)
{
	unsigned long long seconds;

	/* only wrong when somebody has edited the loan */
	if (parse_unsigned(step->argument, 10, 3600, &seconds) < 0)
		return STOP_STEP_GRACE_MS;
	return (unsigned int)seconds * 1000;
}

unsigned int stop_step_deadline_ms(const struct step *step)
{
	return stop_step_ms(step) + STOP_STEP_GRACE_MS;
}

struct step stop_step_make(const char *operation, const char *subject, unsigned int seconds)
{
	struct step step = {.why = "it uses the card; started again when the card is home"};

	snprintf(step.operation, sizeof(step.operation), "%s", operation);
	snprintf(step.subject, sizeof(step.subject), "%s", subject);
	snprintf(step.argument, sizeof(step.argument), "%u", seconds);
	return step;
}

const char *stop_step_reason(char *output)
{
	char *hint = strstr(output, "\nSee ");

	if (hint)
		*hint = '\0';
	return text_last_line(output);
}

bool stop_step_is(const struct step *step)
{
	return strcmp(step->operation, STOP_UNIT) == 0 ||
		strcmp(step->operation, STOP_CONTAINER) == 0;
}
