/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/pve/storage.h"
#include "kmod-helper/base/cleanup.h"
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a volume id means begins in its storage's folder and ends with its name. */
static void check_volume(const struct storages *storages, const struct storage *storage)
{
	char volume[512], path[4096];
	struct error error = {0};
	int r;

	snprintf(volume, sizeof(volume), "%.300s:snippets/hook", storage->id);
	r = storages_find_snippet(storages, volume, path, sizeof(path), &error);
	assert(r == 0 || error.message[0]);
	if (r == 0) {
		assert(strncmp(path, storage->path + 1, strlen(storage->path + 1)) == 0);
		assert(strcmp(path + strlen(path) - strlen("/hook"), "/hook") == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cleanup(storages_done) struct storages storages = {0};
	struct error error = {0};

	if (storages_parse((const char *)data, size, &storages, &error) < 0)
		abort();
	assert(storages_find(&storages, "local"));
	assert(strcmp(storages_find(&storages, "local")->path, "/var/lib/vz") == 0);
	for (size_t i = 0; i < storages.count; i++) {
		storage_holds(&storages.items[i], "snippets");
		if (strlen(storages.items[i].id) < 300)
			check_volume(&storages, &storages.items[i]);
	}
	return 0;
}
