/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The list of all operations that a step may name. */

#include "operations.h"

#include "drain.h"
#include "kmod-helper/operation/attribute.h"
#include "kmod-helper/operation/binding.h"
#include "kmod-helper/operation/console.h"
#include "kmod-helper/operation/unload.h"
#include "stop_step.h"
#include "windows.h"

static const struct operation *const tables[] = {attribute_operations, binding_operations,
	console_operations, drain_operations, stop_operations, unload_operations,
	windows_operations, NULL};

struct executor operations_executor(const struct context *context)
{
	return (struct executor){
		.kernel = &context->kernel,
		.tables = tables,
		.log = &context->log,
	};
}
