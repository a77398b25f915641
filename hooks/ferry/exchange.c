/* SPDX-License-Identifier: GPL-2.0-or-later */

/* After a VM's start: corrects the loans where Proxmox did not choose what the plan expected. */

#include "exchange.h"

#include "conf/pve/reservation.h"
#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/holder/holders.h"
#include "kmod-helper/loan/lock.h"
#include "kmod-helper/operation/binding.h"
#include "kmod-helper/plan/plan.h"
#include "loan_life.h"
#include "operations.h"
#include "return.h"
#include <errno.h>
#include <string.h>
#include <time.h>

/* The VMs that may exchange cards of a mapping. All are locked in ascending order, so that two of
 * us never wait for each other. */
struct swap {
	struct context *context;
	struct loans loans; /* read after the locks */
	struct reservations reservations;
	int *locks;
	size_t lock_count;
	struct loan *robbed; /* the VM whose prepared card this one got */
};

static void swap_done(struct swap *swap)
{
	for (size_t i = 0; i < swap->lock_count; i++)
		close(swap->locks[i]);
	free(swap->locks);
	loans_done(&swap->loans);
	reservations_done(&swap->reservations);
}

static struct loan *find_loan(struct swap *swap, unsigned int vmid)
{
	for (size_t i = 0; i < swap->loans.count; i++) {
		struct loan *loan = &swap->loans.items[i];

		if (loan->owner.kind == LOAN_OWNER_VM && loan->owner.vmid == vmid)
			return loan;
	}
	return NULL;
}

static bool has_alternatives(const struct loan *loan)
{
	for (size_t i = 0; i < loan->function_count; i++) {
		if (loan->functions[i].use == LOAN_ALTERNATIVE)
			return true;
	}
	return false;
}

static int compare_owners(const void *left, const void *right)
{
	unsigned int a = ((const struct loan *)left)->owner.vmid;
	unsigned int b = ((const struct loan *)right)->owner.vmid;

	return (a > b) - (a < b);
}

/* Locks every VM whose loan has alternatives, and reads the loans again. */
static int swap_open(struct swap *swap, struct error *error)
{
	cleanup(loans_done) struct loans before = {0};
	struct context *context = swap->context;
	int r = loans_read(&context->kernel.root, &before, error);

	if (r < 0)
		return r;
	swap->locks = calloc(before.count + 1, sizeof(*swap->locks));
	if (!swap->locks)
		return error_set_errno(error, -ENOMEM, "compare the devices");
	if (before.count)
		qsort(before.items, before.count, sizeof(*before.items), compare_owners);
	for (size_t i = 0; i < before.count; i++) {
		const struct loan *loan = &before.items[i];
		int lock;

		if (loan->owner.kind != LOAN_OWNER_VM || !has_alternatives(loan))
			continue;
		lock = loan_life_lock(context, &loan->owner, error);
		if (lock < 0)
			return lock;
		swap->locks[swap->lock_count++] = lock;
	}
	r = loans_read(&context->kernel.root, &swap->loans, error);
	return r < 0 ? r : reservations_read(&context->kernel.root, &swap->reservations, error);
}

static unsigned int reserved_by(const struct swap *swap, const char *address)
{
	return reservation_owner(
		&swap->reservations, &swap->context->kernel.root, address, 0, time(NULL), NULL);
}

/* The VM that has reserved the group; 0: none. Proxmox reserves only the functions of the entry,
 * but the rest of their group goes with them. */
static unsigned int group_reserved_by(
	const struct swap *swap, const struct loan *loan, long iommu_group)
{
	for (size_t i = 0; i < loan->function_count; i++) {
		unsigned int vmid;

		if (loan->functions[i].iommu_group != iommu_group)
			continue;
		vmid = reserved_by(swap, loan->functions[i].address);
		if (vmid)
			return vmid;
	}
	return 0;
}

static struct loan *find_taker(struct swap *swap, const struct loan *except, const char *address)
{
	for (size_t i = 0; i < swap->loans.count; i++) {
		struct loan *loan = &swap->loans.items[i];
		const struct loan_function *function = loan_find(loan, address);

		if (loan != except && loan->owner.kind == LOAN_OWNER_VM && function &&
			function->use == LOAN_TAKEN)
			return loan;
	}
	return NULL;
}

static int save(struct swap *swap, struct loan *loan, struct error *error)
{
	return loan_write(&swap->context->kernel.root, loan, error);
}

/* Moves a function that @from prepared to @to. @from keeps it as an alternative, with the home
 * driver that was recorded. */
static int hand_over(struct swap *swap, struct loan *from, struct loan *to, const char *address,
	struct error *error)
{
	struct loan_function kept = *loan_find(from, address);
	int r;

	kept.record = NULL;
	kept.use = LOAN_ALTERNATIVE;
	r = loan_move_function(from, to, address);
	if (r == 0)
		r = loan_add_function(from, &kept);
	/* a return of @from may have been under way, and Proxmox have bound it again */
	if (r == 0)
		r = binding_plan_id(&swap->context->kernel, address, &to->steps);
	if (r < 0)
		return error_set_errno(error, r, "exchange %s", address);
	/* the new owner first: if we are killed in between, two loans have the function, but never
	 * none */
	r = save(swap, to, error);
	if (r == 0)
		r = save(swap, from, error);
	if (r == 0)
		log_step(&swap->context->log, LOG_INFO, address, NULL,
			"%s goes from VM %u to VM %u, as Proxmox VE chose", address,
			from->owner.vmid, to->owner.vmid);
	return r;
}

static bool is_lent_by_hand(const struct swap *swap, const char *address)
{
	for (size_t i = 0; i < swap->loans.count; i++) {
		const struct loan *loan = &swap->loans.items[i];

		if (loan->owner.kind == LOAN_OWNER_HAND && loan_find(loan, address))
			return true;
	}
	return false;
}

static int adopt(
	struct swap *swap, struct loan *loan, struct loan_function *function, struct error *error)
{
	struct loan *taker = find_taker(swap, loan, function->address);
	char address[PCI_ADDRESS_SIZE];
	int r;

	strcpy(address, function->address);
	if (taker) {
		swap->robbed = taker;
		return hand_over(swap, taker, loan, address, error);
	}
	if (is_lent_by_hand(swap, address) ||
		strcmp(function->home_driver, function->target) == 0) {
		function->use = is_lent_by_hand(swap, address) ? LOAN_BORROWED : LOAN_STATIC;
		return save(swap, loan, error);
	}
	r = loan_life_adopt(swap->context, loan, function);
	if (r < 0)
		return error_set_errno(error, r, "adopt %s", address);
	log_step(&swap->context->log, LOG_INFO, address, NULL,
		"%s was chosen by Proxmox VE: it is in the loan now", address);
	return save(swap, loan, error);
}

static int give_up(struct swap *swap, struct loan *loan, const char *address, struct error *error)
{
	struct context *context = swap->context;
	const struct executor executor = operations_executor(context);
	int saved;
	int r;

	log_step(&context->log, LOG_INFO, address, NULL,
		"%s was not chosen by Proxmox VE: it goes "
		"home",
		address);
	r = executor_undo(&executor, loan, address, error);
	if (r == 0)
		loan_find(loan, address)->use = LOAN_ALTERNATIVE;
	/* save also after a failure: a write that is stuck must stay recorded */
	saved = save(swap, loan, r < 0 ? NULL : error);
	return r < 0 ? r : saved;
}

/* Adopts an alternative that this VM has reserved: that is what its QEMU got. */
static int settle_chosen(
	struct swap *swap, struct loan *loan, const char *address, struct error *error)
{
	struct loan_function *function = loan_find(loan, address);

	if (function->use != LOAN_ALTERNATIVE ||
		group_reserved_by(swap, loan, function->iommu_group) != loan->owner.vmid)
		return 0;
	return adopt(swap, loan, function, error);
}

/* A function that was prepared but not chosen goes to the VM that has reserved it, or to the VM
 * whose card we got and which has not chosen yet. Otherwise it is returned to the host. */
static int settle_rest(
	struct swap *swap, struct loan *loan, const char *address, struct error *error)
{
	struct loan_function *function = loan_find(loan, address);
	unsigned int vmid = group_reserved_by(swap, loan, function->iommu_group);
	struct loan *other = vmid ? find_loan(swap, vmid) : swap->robbed;

	if (function->use != LOAN_TAKEN || vmid == loan->owner.vmid)
		return 0;
	if (other && loan_find(other, address))
		return hand_over(swap, loan, other, address, error);
	/* reserved by a VM whose loan does not have it: do not take it away from that VM */
	return vmid ? 0 : give_up(swap, loan, address, error);
}

static int settle(struct swap *swap, struct loan *loan, struct error *error)
{
	int (*const passes[])(struct swap *, struct loan *, const char *, struct error *) = {
		settle_chosen, settle_rest};
	cleanup(names_done) struct names addresses = {0};
	int first = 0;

	for (size_t i = 0; i < loan->function_count; i++) {
		if (names_add(&addresses, loan->functions[i].address) < 0)
			return error_set_errno(error, -ENOMEM, "compare the devices");
	}
	for (size_t i = 0; i < 2 * addresses.count; i++) {
		struct error why = {0};
		int r = passes[i / addresses.count](
			swap, loan, addresses.names[i % addresses.count], &why);

		if (r < 0 && first == 0) {
			first = r;
			*error = why;
		}
	}
	return first;
}

int exchange_alternatives(struct context *context, unsigned int vmid, struct error *error)
{
	cleanup(swap_done) struct swap swap = {.context = context};
	const struct loan_owner owner = {.kind = LOAN_OWNER_VM, .vmid = vmid};
	cleanup(loan_done) struct loan loan = {0};
	struct loan *own;
	int r = loan_read(&context->kernel.root, &owner, &loan, error);

	if (r == -ENOENT)
		return 0;
	if (r < 0 || !has_alternatives(&loan))
		return r;
	r = swap_open(&swap, error);
	own = r < 0 ? NULL : find_loan(&swap, vmid);
	return own ? settle(&swap, own, error) : r;
}
