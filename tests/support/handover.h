/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "fake_kernel.h"
#include "hooks/ferry/known_quirks.h"
#include "kmod-helper/plan/executor.h"
#include "kmod-helper/plan/plan.h"
#include "scratch.h"

#define VM_104                                                                                     \
	(&(const struct loan_owner){                                                               \
		.kind = LOAN_OWNER_VM,                                                             \
		.vmid = 104,                                                                       \
	})

/* A fake host (fake_fill), a folder for loans, and an executor that works on both. */
struct handover {
	struct fake *fake;
	struct scratch scratch;
	struct kernel kernel;
	struct executor executor;
	char *before;		  /* fake_describe at the beginning */
	struct quirks quirks;	  /* the shipped ones */
	struct plan_quirk *known; /* what they say of the functions of handover_know */
};

void handover_init(struct handover *handover);
void handover_done(struct handover *handover);

/* The shipped quirks, conf/gpu-ferry.quirks. */
void shipped_quirks(struct quirks *ret);

/* Gives the request what the shipped quirks say of its host. */
void handover_know(struct handover *handover, struct plan_request *request);

/* A new loan of VM 104 with the plan that takes the card 01:00; the fake starts to count anew. */
void handover_plan(struct handover *handover, struct loan *ret);

/* Undoes the loan, and a copy of it once more: what comes of an undo whose record could not be
 * written. Both must succeed. */
void handover_undo_twice(struct handover *handover, struct loan *loan, const char *when);

/* Fails the test unless every function is bound as it was at the beginning. */
void handover_expect_home(struct handover *handover, const char *when);

/* What was logged at LOG_NOTICE and above since handover_init, a line for each. */
extern char handover_told[4096];
void handover_tell(void *data, const struct log_entry *entry);

/* kernel_ops.devices_in_use of a host on which the process @pid has @device open, and nobody else
 * has anything. */
struct handover_user {
	dev_t device;
	pid_t pid;
};
extern struct handover_user handover_user;
int handover_devices_in_use(void *fake, const dev_t *wanted, size_t count, device_visitor visitor,
	void *data, struct open_devices_extent *ret);

/* Waits until the orphans of a killed caller have ended. handover_adopt_orphans comes first. */
void handover_adopt_orphans(void);
void handover_await_orphans(void);
