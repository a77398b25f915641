/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Begins a loan, locks it among several processes, and says when its return is due. */

#include "loan_life.h"

#include "conf/pve/vm_process.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/plan/plan.h"
#include "vm_state.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool is_returning(const struct loan *loan)
{
	return loan->state == LOAN_RETURNING && !loan_find_stuck(loan, NULL);
}

#define LOCK_NAME_SIZE 32
#define CLAIM "start-%ld"

static void format_lock_name(const struct loan_owner *owner, char name[static LOCK_NAME_SIZE])
{
	if (owner->kind == LOAN_OWNER_VM)
		snprintf(name, LOCK_NAME_SIZE, "vm-%u", owner->vmid);
	else
		snprintf(name, LOCK_NAME_SIZE, "hand-%ld", owner->iommu_group);
}

static bool is_stopping(struct context *context, const struct loan *loan)
{
	return loan->owner.kind == LOAN_OWNER_VM && loan->state == LOAN_LENT &&
		loan->has_started != 0 &&
		vm_process_find(&context->kernel.root, loan->owner.vmid) == 0 &&
		!vm_is_gone(&context->kernel, loan->owner.vmid);
}

/* Before the first write and after the last one no child is at work, and the lock alone tells it:
 * who returns the loan has it to the end. */
bool loan_life_is_returning(struct context *context, const struct loan *loan)
{
	char name[LOCK_NAME_SIZE];

	if (!is_returning(loan))
		return is_stopping(context, loan);
	format_lock_name(&loan->owner, name);
	return loan_is_busy(&context->kernel.root, loan) ||
		lock_is_held(&context->kernel.root, name);
}

/* True when the process that has the lock is returning the loan. */
static bool is_locked_returning(struct context *context, const struct loan_owner *owner)
{
	cleanup(loan_done) struct loan loan = {0};

	return loan_read(&context->kernel.root, owner, &loan, NULL) == 0 && is_returning(&loan);
}

int loan_life_lock(struct context *context, const struct loan_owner *owner, struct error *error)
{
	unsigned int deadline_ms = LOAN_LOCK_MS;
	char name[LOCK_NAME_SIZE], text[32];
	int fd;

	format_lock_name(owner, name);
	loan_owner_format(owner, text, sizeof(text));
	while ((fd = lock_take(&context->kernel.root, name, deadline_ms, error)) == -EBUSY &&
		is_locked_returning(context, owner)) {
		if (stop_requested)
			return error_set(error, -EINTR, "stopped by a signal");
		if (deadline_ms == LOAN_LOCK_MS)
			log_write(&context->log, LOG_NOTICE,
				"the devices lent (%s) are being returned: waiting for that", text);
		deadline_ms = LOAN_LOCK_MS / 20;
	}
	return fd == -EBUSY
		? error_set(error, fd,
			  "another gpu-ferry is working on the devices lent (%s): wait for it; "
			  "`gpu-ferry status` shows its state",
			  text)
		: fd;
}

int loan_life_try_lock(struct context *context, const struct loan_owner *owner)
{
	char name[LOCK_NAME_SIZE];

	format_lock_name(owner, name);
	return lock_take(&context->kernel.root, name, 0, NULL);
}

void loan_life_claim(struct context *context, const long *groups, size_t count, struct locks *ret)
{
	char name[LOCK_NAME_SIZE];

	for (size_t i = 0; i < count; i++) {
		int *fd = LIST_ADD(ret->fds, ret->count);

		if (!fd)
			return;
		snprintf(name, sizeof(name), CLAIM, groups[i]);
		*fd = lock_take(&context->kernel.root, name, 0, NULL);
		ret->count -= *fd < 0;
	}
}

bool loan_life_is_claimed(struct context *context, const char *address)
{
	char name[LOCK_NAME_SIZE];

	snprintf(name, sizeof(name), CLAIM, pci_read_group(&context->kernel, address));
	return lock_is_held(&context->kernel.root, name);
}

int loan_life_start(struct context *context, const struct loan_owner *owner, struct error *error)
{
	cleanup(loan_done) struct loan loan = {0};
	auto_close int lock = loan_life_lock(context, owner, error);
	int r = lock < 0 ? lock : loan_read(&context->kernel.root, owner, &loan, error);

	if (r < 0 || loan.state != LOAN_LENT)
		return r == -ENOENT ? 0 : r;
	loan.has_started = 1;
	return loan_write(&context->kernel.root, &loan, error);
}

int loan_life_adopt(struct context *context, struct loan *loan, struct loan_function *function)
{
	function->use = LOAN_TAKEN;
	return plan_adopt(&context->kernel, function, &loan->steps);
}

int loan_life_settle(struct context *context, struct loan *loan, struct error *error)
{
	const struct step *stuck = loan_find_stuck(loan, NULL);

	if (stuck)
		return error_set(error, -EBUSY,
			"%s is overdue: process %d still waits in its driver (gpu-ferry status %s)",
			stuck->subject, (int)stuck->child, stuck->subject);
	if (loan->child != getpid() &&
		loan_await(&context->kernel.root, loan, loan->write_deadline_ms) < 0)
		return error_set(error, -EBUSY,
			"process %d, left by a hook that was killed, is still working: try again "
			"when it has ended",
			(int)loan->child);
	loan->child = 0;
	return 0;
}

int loan_life_begin(struct context *context, const struct loan_owner *owner,
	const struct settings *settings, struct loan *ret, struct error *error)
{
	int r = loan_read(&context->kernel.root, owner, ret, error);

	if (r == -ENOENT) {
		loan_init(ret, owner);
		r = 0;
	} else if (r == 0) {
		r = loan_life_settle(context, ret, error);
	}
	ret->write_deadline_ms = settings->write_deadline_seconds * 1000;
	ret->return_wait_ms = settings->return_wait_seconds * 1000;
	return r;
}

static const struct loan_function *find_borrowed(const struct loan *lent, const struct loan *loan)
{
	for (size_t i = 0; i < loan->function_count; i++) {
		const struct loan_function *function = &loan->functions[i];

		if (function->use == LOAN_BORROWED && loan_find(lent, function->address))
			return function;
	}
	return NULL;
}

int loan_life_check_borrowers(struct context *context, const struct loan *lent, struct error *error)
{
	cleanup(loans_done) struct loans loans = {0};
	int r = lent->owner.kind == LOAN_OWNER_HAND
		? loans_read(&context->kernel.root, &loans, error)
		: 0;

	for (size_t i = 0; r == 0 && i < loans.count; i++) {
		const struct loan *loan = &loans.items[i];
		const struct loan_function *function = find_borrowed(lent, loan);

		if (function && loan->owner.kind == LOAN_OWNER_VM &&
			!vm_is_gone(&context->kernel, loan->owner.vmid))
			return error_set(error, -EBUSY,
				"%s was lent by hand and VM %u has it now: stop it",
				function->address, loan->owner.vmid);
	}
	return r;
}

/* True when nothing of what the loan has is left on the bus. */
static bool has_left(struct context *context, const struct loan *loan)
{
	for (size_t i = 0; i < loan->function_count; i++) {
		if (loan_function_presence(&context->kernel, &loan->functions[i]) == LOAN_PRESENT)
			return false;
	}
	return loan->function_count > 0;
}

bool loan_life_is_home(
	const struct kernel *kernel, const struct loan *loan, const struct loan_function *function)
{
	char now[PCI_DRIVER_SIZE];

	for (size_t i = 0; i < loan->steps.count; i++) {
		if (strcmp(loan->steps.items[i].subject, function->address) == 0)
			return false;
	}
	return pci_read_driver(kernel, function->address, now, sizeof(now)) == 0 &&
		strcmp(now, function->home_driver) == 0;
}

bool loan_life_is_due(struct context *context, const struct loan *loan)
{
	if (loan_is_busy(&context->kernel.root, loan) || loan_find_stuck(loan, NULL))
		return false;
	if (loan->owner.kind == LOAN_OWNER_HAND)
		return (loan->state != LOAN_LENT || has_left(context, loan)) &&
			loan_life_check_borrowers(context, loan, NULL) == 0;
	return vm_is_gone(&context->kernel, loan->owner.vmid);
}
