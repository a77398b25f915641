/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Frees things when their scope ends, as systemd and crun do: the declaration names the cleanup. */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup(function) __attribute__((cleanup(function)))

static inline void cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_closedir(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

#define auto_free cleanup(cleanup_free)
#define auto_close cleanup(cleanup_close)
#define auto_closedir cleanup(cleanup_closedir)

/* Hands the pointer on and leaves NULL behind, so that the cleanup finds nothing. */
#define TAKE_PTR(pointer)                                                                          \
	({                                                                                         \
		__typeof__(pointer) taken_ = (pointer);                                            \
		(pointer) = NULL;                                                                  \
		taken_;                                                                            \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -1;                                                                         \
		taken_;                                                                            \
	})
