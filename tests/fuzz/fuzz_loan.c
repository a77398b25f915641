/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/loan/loan.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* What was read must come back from what is written, and be written alike again. */
static void check_round_trip(const struct loan *loan)
{
	auto_free char *text = NULL, *again = NULL;
	struct loan read = {0};

	assert(loan_format(loan, &text, NULL) == 0);
	assert(loan_parse(text, &read, NULL) == 0);
	assert(loan_owner_equal(&read.owner, &loan->owner));
	assert(read.state == loan->state);
	assert(read.child == loan->child);
	assert(read.function_count == loan->function_count);
	assert(read.steps.count == loan->steps.count);
	assert(loan_format(&read, &again, NULL) == 0);
	assert(strcmp(text, again) == 0);
	loan_done(&read);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	auto_free char *text = strndup((const char *)bytes, length);
	struct error error = {0};
	struct loan loan = {0};

	if (!text)
		return 0;
	if (loan_parse(text, &loan, &error) == 0)
		check_round_trip(&loan);
	else
		assert(error.message[0]);
	loan_done(&loan);
	return 0;
}
