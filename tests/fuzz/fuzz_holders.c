/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/holder/holders.h"
#include "tests/fuzz/answers.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check(const struct holders *holders)
{
	char text[HOLDERS_TEXT_SIZE];

	for (size_t i = 0; i < holders->count; i++) {
		const struct holder *holder = &holders->items[i];

		assert(*holder->command);
		assert(!holder->pid == (holder->kind == HOLDER_KERNEL));
	}
	holders_format(holders, text, sizeof(text));
}

/* Who has a card: the names of processes and their users, and the counts of modules. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const char *const addresses[] = {"0000:01:00.0", "0000:01:00.1"};
	struct answers answers;
	struct kernel kernel = answers_kernel(&answers);
	struct holders holders = {0};

	answers_init(&answers, bytes, length);
	if (holders_of_group(&kernel, 15, &holders, NULL) == 0)
		check(&holders);
	holders_done(&holders);
	if (holders_of_functions(&kernel, NULL, addresses, 2, NULL, &holders, NULL) == 0)
		check(&holders);
	holders_done(&holders);
	answers_done(&answers);
	return 0;
}
