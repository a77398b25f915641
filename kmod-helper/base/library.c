/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Loads a shared library that only some runs need. */

#include "library.h"

#include <dlfcn.h>
#include <errno.h>

int library_load(const struct library *library, struct error *error)
{
	void *handle = dlopen(library->file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (!handle)
		return error_set(error, -ENOENT, "load a library: %s; install %s", dlerror(),
			library->package);
	for (size_t i = 0; i < library->symbol_count; i++) {
		const struct library_symbol *symbol = &library->symbols[i];
		void *address = dlsym(handle, symbol->name);

		if (!address)
			return error_set(error, -ENOSYS, "load a library: %s has no %s; upgrade %s",
				library->file, symbol->name, library->package);
		/* as dlsym(3) has it: to C an object pointer is no function pointer */
		*(void **)symbol->pointer = address;
	}
	return 0;
}
