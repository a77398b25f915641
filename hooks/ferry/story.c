/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Says in one sentence what a start or a return has done: its steps are told only when one is slow,
 * or to who asks for more. No names of cards: to read pci.ids takes longer than many a step. */

#include "story.h"

#include "kmod-helper/base/process.h"
#include <stdio.h>
#include <string.h>

#define CARDS_MAX 8

static bool is_lent(const struct loan_function *function)
{
	return function->use != LOAN_ALTERNATIVE;
}

static bool is_home(const struct loan_function *function)
{
	return function->use == LOAN_TAKEN && function->presence == LOAN_PRESENT;
}

/* How many functions of the card at @index the loan has; 0 when an earlier one is of that card. */
static unsigned int count_card(
	const struct loan *loan, size_t index, bool (*counts)(const struct loan_function *function))
{
	unsigned int count = 0;

	for (size_t i = 0; i < loan->function_count; i++) {
		const struct loan_function *function = &loan->functions[i];

		if (!counts(function) ||
			!pci_same_card(function->address, loan->functions[index].address))
			continue;
		if (i < index)
			return 0;
		count++;
	}
	return count;
}

/* "0000:2b:00, 4 functions"; @is: what the card is now, between the two. */
static void format_card(
	const char *address, unsigned int count, const char *is, char *buffer, size_t size)
{
	if (count == 1)
		snprintf(buffer, size, "%s%s", address, is);
	else
		snprintf(buffer, size, "%.*s%s, %u functions", (int)strcspn(address, "."), address,
			is, count);
}

static void tell(const struct context *context, const struct loan *loan,
	bool (*counts)(const struct loan_function *function), const char *who, const char *is,
	unsigned long long begin_ms)
{
	unsigned long long tenths = (clock_milliseconds() - begin_ms + 50) / 100;
	unsigned int cards = 0;
	char card[128];

	for (size_t i = 0; i < loan->function_count; i++) {
		const char *address = loan->functions[i].address;
		unsigned int count = counts(&loan->functions[i]) ? count_card(loan, i, counts) : 0;

		if (!count || ++cards > CARDS_MAX)
			continue;
		format_card(address, count, is, card, sizeof(card));
		log_step(&context->log, LOG_INFO, address, NULL, "%s%s, %llu.%llu s", who, card,
			tenths / 10, tenths % 10);
	}
	if (cards > CARDS_MAX)
		log_write(&context->log, LOG_INFO, "%s%u more cards%s", who, cards - CARDS_MAX, is);
}

void story_tell_lent(
	const struct context *context, const struct loan *loan, unsigned long long begin_ms)
{
	char who[64] = "";

	if (loan->owner.kind == LOAN_OWNER_VM)
		snprintf(who, sizeof(who), "VM %u has ", loan->owner.vmid);
	tell(context, loan, is_lent, who, *who ? "" : " is lent by hand", begin_ms);
}

void story_tell_home(
	const struct context *context, const struct loan *loan, unsigned long long begin_ms)
{
	tell(context, loan, is_home, "", " is home", begin_ms);
}
