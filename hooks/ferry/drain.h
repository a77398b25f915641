/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "hooks/base/context.h"
#include "kmod-helper/operation/operation.h"
#include "kmod-helper/plan/plan.h"

/*
 * The step `drain`: closes NVIDIA's driver to new users of a card while the card is taken, so that
 * nobody opens it between the last look for holders and the unbind. Where nvidia-smi is installed:
 * persistence mode off (nvidia-smi(1): a card can be drained without it only), then
 * `nvidia-smi drain -m 1`; its undoing is drain off, and persistence as it was. Both are a
 * precaution: what fails is a remark, and nothing is refused because of it.
 */
extern const struct operation drain_operations[];

/* Adds a step for each function that the plan unbinds from nvidia, behind those that stop holders.
 * 0 or -ENOMEM. */
int drain_plan(const struct context *context, struct plan *plan);

/* Asks nvidia-smi for the persistence mode of each card that is drained, and puts it into its step:
 * before the loan is recorded. */
void drain_ask(const struct context *context, struct plan *plan);
