/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Copies the files of a fault report: what doctor, list, plan and status read, and nothing else. */

#include "report_files.h"

#include "conf/pve/node_name.h"
#include "kmod-helper/base/cleanup.h"
#include "report_filter.h"
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define BYTES_MAX (16u << 20)
#define DEPTH_MAX 20
#define LINKS_MAX 40

/* ---- which files */

struct source {
	/* Patterns of fnmatch for each part of the path; "**": this folder and all below it */
	const char *path;
	/* Patterns of names in it, with blanks between them; a folder is made empty */
	const char *names;
	void (*filter)(struct filter *filter); /* NULL: the whole text */
	unsigned int max;		       /* only so many bytes */
	bool only_name; /* that it is there, since when, and whether it can be run */
};

#define FUNCTIONS "sys/bus/pci/devices/*"
#define CHILDREN "sys/devices/pci*/**"
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* Of a file that two rows name, the first one counts. */
#define WHOLE(...) ROW(__VA_ARGS__, NULL, false)
#define FILTERED(...) ROW(__VA_ARGS__, false)
#define NAMES(...) ROW(__VA_ARGS__, NULL, true)
#define ROW(path_, names_, filter_, only_)                                                         \
	{                                                                                          \
		.path = (path_), .names = (names_), .filter = (filter_), .only_name = (only_)      \
	}

static const struct source sources[] = {
	WHOLE("sys/bus/pci/devices", "*"),
	WHOLE(FUNCTIONS,
		"boot_display boot_vga class d3cold_allowed device driver driver_override drm "
		"iommu_group mdev_supported_types modalias nvidia pci_bus physfn power_state removable "
		"reset_method resource sriov_numvfs sriov_totalvfs subsystem_device subsystem_vendor "
		"vendor vfio-dev virtfn*"),
	WHOLE(FUNCTIONS "/power", "control runtime_status"),
	{.path = FUNCTIONS, .names = "config", .max = 64},
	WHOLE(FUNCTIONS "/drm/*", "boot_display"),
	WHOLE(FUNCTIONS "/*", "card[0-9]* renderD[0-9]* vfio[0-9]*"),
	/* what uses a function: interfaces, disks, keyboards */
	WHOLE(CHILDREN "/net/*", "flags master"),
	WHOLE(CHILDREN, "dev subsystem"),
	WHOLE(CHILDREN "/holders", "*"),
	WHOLE(CHILDREN "/usb*/**/input*", "name"),
	WHOLE(CHILDREN "/usb*/**/capabilities", "key rel"),
	WHOLE("sys/devices/virtual/nvme-subsystem/**", "dev subsystem"),
	WHOLE("sys/devices/virtual/nvme-subsystem/**/holders", "*"),
	WHOLE("sys/bus/*/drivers", "*"),
	WHOLE("sys/bus/*/drivers/*", "bind module unbind [0-9a-f]*:[0-9a-f]*"),
	WHOLE("sys/bus/platform/drivers/*-framebuffer", "*"),
	WHOLE("sys/class/block", "nvme*"),
	WHOLE("sys/class/dmi/id", "chassis_type"),
	WHOLE("sys/class/iommu", "*"),
	WHOLE("sys/class/misc", "kvm"),
	WHOLE("sys/class/vfio/*", "dev"),
	WHOLE("sys/class/vtconsole/*", "bind name"),
	WHOLE("sys/dev/block", "*"),
	WHOLE("sys/dev/char", "*"),
	WHOLE("sys/firmware", "efi"),
	NAMES("sys/firmware/acpi/tables", "[A-Z]*"),
	WHOLE("sys/firmware/efi/efivars", "LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"),
	WHOLE("sys/fs/cgroup/qemu.slice/*.scope", "cgroup.procs"),
	WHOLE("sys/fs/cgroup/systemd/qemu.slice/*.scope", "cgroup.procs"),
	WHOLE("sys/kernel/iommu_groups", "*"),
	WHOLE("sys/kernel/iommu_groups/*/devices", "*"),
	WHOLE("sys/module", "*"),
	WHOLE("sys/module/*", "refcnt version"),
	WHOLE("sys/module/*/drivers", "*"),
	WHOLE("sys/module/*/holders", "*"),
	WHOLE("sys/module/amdgpu/parameters", "*"),
	WHOLE("sys/module/i915/parameters", "*"),
	WHOLE("sys/module/nouveau/parameters", "*"),
	WHOLE("sys/module/nvidia*/parameters", "*"),
	WHOLE("sys/module/radeon/parameters", "*"),
	WHOLE("sys/module/vfio*/parameters", "*"),
	WHOLE("sys/module/xe/parameters", "*"),

	FILTERED("proc", "cmdline", filter_arguments),
	FILTERED("proc", "cpuinfo", filter_cpuinfo),
	WHOLE("proc", "devices fb iomem"),
	FILTERED("proc/driver/nvidia/gpus/*", "information", filter_nvidia),
	FILTERED("proc/net", "ipv6_route route", filter_routes),
	FILTERED("proc/self", "mountinfo", filter_mounts),
	FILTERED("proc", "swaps", filter_swaps),
	/* the kernel takes memory of the size of the buffer for a read of these */
	{.path = "proc/sys/kernel", .names = "osrelease", .max = 128},

	WHOLE("boot", "config-*"),
	NAMES("boot", "initrd.img-* vmlinuz-*"),
	FILTERED("etc/default", "grub", filter_grub),
	FILTERED("etc/default/grub.d", "*.cfg", filter_grub),
	WHOLE("etc/driverctl.d", "pci-*"),
	FILTERED("etc/initramfs-tools", "modules", filter_modules),
	FILTERED("etc/kernel", "cmdline", filter_arguments),
	FILTERED("etc/kernel", "proxmox-boot-uuids", filter_boot_ids),
	FILTERED("etc/modprobe.d", "*", filter_modprobe),
	FILTERED("run/modprobe.d", "*", filter_modprobe),
	FILTERED("usr/local/lib/modprobe.d", "*", filter_modprobe),
	FILTERED("usr/lib/modprobe.d", "*", filter_modprobe),
	FILTERED("lib/modprobe.d", "*", filter_modprobe),
	FILTERED("etc", "modules", filter_modules),
	FILTERED("etc/modules-load.d", "*", filter_modules),
	WHOLE("lib/modules/*", "modules.alias modules.builtin modules.dep"),

	FILTERED("etc", "hostname", filter_node_name),
	WHOLE("etc/pve", "local"),
	FILTERED("etc/pve/lxc", "*.conf", filter_container),
	FILTERED("etc/pve/qemu-server", "*.conf", filter_vm),
	WHOLE("etc/pve/nodes/*", "lxc qemu-server"),
	NAMES("etc/pve/nodes/*/*", "[1-9]*.conf"),
	FILTERED("etc/pve/mapping", "pci.cfg", filter_mapping),
	FILTERED("etc/pve", "storage.cfg", filter_storage),
	WHOLE("run/qemu-server", "[1-9]*.pid pci-id-reservations"),
	NAMES("usr/share/kvm", "*.bin *.rom"),
	NAMES("var/lock/qemu-server", "lock-[1-9]*.conf"),

	FILTERED("etc/gpu-ferry", "gpu-ferry.conf", filter_settings),
	FILTERED("etc/gpu-ferry/quirks.d", "*.conf", filter_settings),
	NAMES("etc/systemd/system/multi-user.target.wants", "gpu-ferry-watch.path"),
	WHOLE("etc/udev/rules.d", "90-gpu-ferry-vfs.rules"),
	WHOLE("run/gpu-ferry/loans", "*.json"),
	NAMES("run/gpu-ferry/locks", "*"),
	NAMES("usr/libexec/gpu-ferry", "hookscript"),
	NAMES("usr/local/libexec/gpu-ferry", "hookscript"),
	NAMES("usr/sbin", "proxmox-boot-tool update-grub update-initramfs"),
	WHOLE("usr/share/gpu-ferry", "quirks.conf"),
	FILTERED("var/lib/gpu-ferry/attachments", "*.json", filter_attachment),
	NAMES("var/lib/vz/snippets", "gpu-ferry* *.pl *.py *.sh"),
};

/* the processes that the VMs' pidfiles name */
static const struct source process_sources[] = {
	WHOLE("", "cgroup comm stat status"),
	FILTERED("", "cmdline", filter_qemu),
};

/* ---- the tree of the report */

/* @path as the report has it: the names of nodes and the addresses in it are replaced. */
static void rename_path(const struct report *report, const char *path, char *ret, size_t size)
{
	size_t used = 0;
	bool is_node = false;

	while (*path && used + 1 < size) {
		size_t length = strcspn(path, "/");
		char node[16];

		if (length == 0) {
			ret[used++] = *path++;
			continue;
		}
		if (is_node)
			filter_node(&report->nodes, path, length, node);
		used += (size_t)snprintf(ret + used, size - used, "%.*s",
			is_node ? (int)strlen(node) : (int)length, is_node ? node : path);
		is_node = length == 5 && strncmp(path, "nodes", 5) == 0;
		path += length;
	}
	ret[used < size ? used : size - 1] = '\0';
	filter_addresses(ret);
}

/* Opens the folder of the report that holds @path. The last part of @path is *@ret_name. */
static int open_place(const struct report *report, char *path, const char **ret_name)
{
	char *slash = strrchr(path, '/');
	struct error ignored;
	int r = 0;

	*ret_name = slash ? slash + 1 : path;
	if (slash)
		*slash = '\0';
	if (slash)
		r = folder_make(&report->tree, path, 0755, &ignored);
	return r < 0 ? r : file_open(&report->tree, slash ? path : ".", O_RDONLY | O_DIRECTORY);
}

static int put_link(struct report *report, const char *path, const char *target)
{
	char place[PATH_MAX], renamed[PATH_MAX];
	auto_close int folder = -1;
	const char *name;

	rename_path(report, path, place, sizeof(place));
	rename_path(report, target, renamed, sizeof(renamed));
	folder = open_place(report, place, &name);
	if (folder < 0)
		return folder;
	return symlinkat(renamed, folder, name) < 0 && errno != EEXIST ? -errno : 0;
}

static int put_folder(struct report *report, const char *path)
{
	char place[PATH_MAX];
	struct error ignored;

	rename_path(report, path, place, sizeof(place));
	return folder_make(&report->tree, place, 0755, &ignored);
}

static int put_file(struct report *report, const char *path, const struct stat *status,
	const char *text, size_t length)
{
	char place[PATH_MAX], whole[PATH_MAX];
	const struct timespec times[] = {status->st_mtim, status->st_mtim};
	auto_close int folder = -1, fd = -1;
	const char *name;

	rename_path(report, path, place, sizeof(place));
	memcpy(whole, place, sizeof(whole));
	folder = open_place(report, place, &name);
	if (folder < 0)
		return folder;
	fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	if (write(fd, text, length) != (ssize_t)length)
		return -ENOSPC;
	if (fchmod(fd, status->st_mode & 0111 ? 0755 : 0644) < 0 || futimens(fd, times) < 0)
		return -errno;
	return names_add(&report->files, whole);
}

/* ---- copying */

static int put_filtered(struct report *report, const char *path, const struct stat *status,
	void (*filter)(struct filter *filter), char *text, size_t length)
{
	struct filter work = {.text = text,
		.length = length,
		.nodes = &report->nodes,
		.private = &report->private};
	auto_free char *kept = NULL;
	size_t size = 0;

	if (filter) {
		work.out = open_memstream(&kept, &size);
		if (!work.out)
			return -ENOMEM;
		filter(&work);
		if (fclose(work.out) != 0)
			return -ENOMEM;
	}
	/* what has NUL bytes is not text, but the kernel's */
	if (!filter && memchr(text, '\0', length))
		return put_file(report, path, status, text, length);
	filter_addresses(filter ? kept : text);
	return put_file(report, path, status, filter ? kept : text, filter ? size : length);
}

/* Reading the config space of a card that is in D3cold would wake it. */
static bool is_asleep(const struct root *root, const char *config)
{
	char path[PATH_MAX], state[16];

	snprintf(path, sizeof(path), "%.*spower_state", (int)(strrchr(config, '/') + 1 - config),
		config);
	return file_read_attribute(root, path, state, sizeof(state)) > 0 &&
		strcmp(state, "D3cold") == 0;
}

static int copy_file(struct report *report, const struct source *source, const char *path,
	const struct stat *status)
{
	const struct root *root = &report->context->kernel.root;
	const struct file_read_options options = {.max = BYTES_MAX};
	auto_free char *text = NULL;
	char start[256];
	size_t length = 0;
	ssize_t got;
	int r;

	if (source->only_name)
		return put_file(report, path, status, "", 0);
	if (source->max) {
		if (is_asleep(root, path))
			return 0;
		got = file_read_attribute(root, path, start, source->max + 1);
		if (got < 0 && got != -EFBIG)
			return names_add(&report->unread, path);
		return put_file(
			report, path, status, start, got == -EFBIG ? source->max : (size_t)got);
	}
	r = file_read(root, path, &options, &text, &length, NULL);
	return r < 0 ? names_add(&report->unread, path)
		     : put_filtered(report, path, status, source->filter, text, length);
}

/* @path leads through no link. */
static int copy(struct report *report, const struct source *source, const char *path)
{
	auto_close int fd = file_open(&report->context->kernel.root, path, O_PATH | O_NOFOLLOW);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? 0 : names_add(&report->unread, path);
	if (S_ISDIR(status.st_mode))
		return put_folder(report, path);
	/* sysfs has attributes that can only be written: that they are there is enough */
	if (S_ISREG(status.st_mode) && !(status.st_mode & 0444))
		return put_file(report, path, &status, "", 0);
	return S_ISREG(status.st_mode) ? copy_file(report, source, path, &status) : 0;
}

static int walk(struct report *report, const struct source *source, const char *folder,
	const char *rest, unsigned int links);

/* A link is copied as it is, and what it leads to is copied in its own place. Where links in sysfs
 * lead to has rows of its own. */
static int follow(struct report *report, const struct source *source, const char *path,
	const char *target, const char *rest, unsigned int links)
{
	char onward[PATH_MAX], folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	int r = put_link(report, path, target);

	if (r < 0 || links == LINKS_MAX || (!*rest && strncmp(path, "sys/", 4) == 0) ||
		snprintf(onward, sizeof(onward), "%s/%s", target, rest) >= (int)sizeof(onward))
		return r;
	snprintf(folder, sizeof(folder), "%.*s", slash && *target != '/' ? (int)(slash - path) : 0,
		path);
	return walk(report, source, folder, onward, links + 1);
}

static int visit(struct report *report, const struct source *source, const char *folder,
	const char *name, const char *rest, unsigned int links)
{
	char path[PATH_MAX], target[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s%s%s", folder, *folder ? "/" : "", name) >=
		(int)sizeof(path))
		return 0;
	if (link_read(&report->context->kernel.root, path, target, sizeof(target)) == 0)
		return follow(report, source, path, target, rest, links);
	return *rest ? walk(report, source, path, rest, links) : copy(report, source, path);
}

static int visit_fitting(struct report *report, const struct source *source, const char *folder,
	const char *pattern, const char *rest, unsigned int links)
{
	cleanup(names_done) struct names names = {0};
	int r = 0;

	(void)folder_list(&report->context->kernel.root, *folder ? folder : ".", &names);
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		if (fnmatch(pattern, names.names[i], 0) == 0)
			r = visit(report, source, folder, names.names[i], rest, links);
	}
	return r;
}

static int walk_below(struct report *report, const struct source *source, const char *folder,
	const char *rest, unsigned int depth)
{
	cleanup(names_done) struct names names = {0};
	char path[PATH_MAX];
	int r = walk(report, source, folder, rest, 0);

	if (depth < DEPTH_MAX)
		(void)folder_list_folders(&report->context->kernel.root, folder, &names);
	for (size_t i = 0; r == 0 && i < names.count; i++) {
		if (snprintf(path, sizeof(path), "%s/%s", folder, names.names[i]) <
			(int)sizeof(path))
			r = walk_below(report, source, path, rest, depth + 1);
	}
	return r;
}

/* Goes on from @folder, which leads through no link, with the parts of the path that are left. */
static int walk(struct report *report, const struct source *source, const char *folder,
	const char *rest, unsigned int links)
{
	size_t length = strcspn(rest += strspn(rest, "/"), "/");
	auto_free char *part = strndup(rest, length);
	const char *slash = strrchr(folder, '/');

	if (!part || stop_requested)
		return part ? -EINTR : -ENOMEM;
	rest += length + strspn(rest + length, "/");
	if (!*part)
		return copy(report, source, folder);
	if (strcmp(part, ".") == 0)
		return walk(report, source, folder, rest, links);
	if (strcmp(part, "..") == 0) {
		auto_free char *above = strndup(folder, slash ? (size_t)(slash - folder) : 0);

		return above ? walk(report, source, above, rest, links) : -ENOMEM;
	}
	if (strcmp(part, "**") == 0)
		return walk_below(report, source, folder, rest, 0);
	return strpbrk(part, "*[?") ? visit_fitting(report, source, folder, part, rest, links)
				    : visit(report, source, folder, part, rest, links);
}

/* Copies the files of one row, whose path @folder replaces unless it is NULL. */
static int copy_source(struct report *report, const struct source *source, const char *folder)
{
	const char *names = source->names;
	char path[PATH_MAX];
	int r = 0;

	while (r == 0 && *names) {
		size_t length = strcspn(names, " ");

		snprintf(path, sizeof(path), "%s/%.*s", folder ? folder : source->path, (int)length,
			names);
		r = walk(report, source, "", path, 0);
		names += length + strspn(names + length, " ");
	}
	return r;
}

static int copy_processes(struct report *report)
{
	const struct root *root = &report->context->kernel.root;
	cleanup(names_done) struct names pidfiles = {0};
	int r = 0;

	(void)folder_list(root, "run/qemu-server", &pidfiles);
	for (size_t i = 0; r == 0 && i < pidfiles.count; i++) {
		const char *suffix = strrchr(pidfiles.names[i], '.');
		char path[PATH_MAX], pid[16];

		snprintf(path, sizeof(path), "run/qemu-server/%s", pidfiles.names[i]);
		if (!suffix || strcmp(suffix, ".pid") != 0 ||
			file_read_attribute(root, path, pid, sizeof(pid)) <= 0 || !*pid ||
			pid[strspn(pid, "0123456789")])
			continue;
		snprintf(path, sizeof(path), "proc/%s", pid);
		for (size_t k = 0; r == 0 && k < COUNT(process_sources); k++)
			r = copy_source(report, &process_sources[k], path);
	}
	return r;
}

/* ---- the report */

/* Also whether /etc/pve answers: nothing there is read otherwise. */
static int find_nodes(struct report *report)
{
	const struct root *root = &report->context->kernel.root;
	cleanup(names_done) struct names names = {0};
	char own[NODE_NAME_SIZE] = "";
	struct error ignored;
	int r = node_name(root, own, sizeof(own), &ignored);

	report->no_cluster = r == -ETIMEDOUT;
	r = *own ? names_add(&report->nodes, own) : 0;
	if (!report->no_cluster)
		(void)folder_list(root, "etc/pve/nodes", &names);
	for (size_t i = 0; r == 0 && i < names.count; i++)
		r = names_add_once(&report->nodes, names.names[i]);
	return r;
}

static int make_stage(struct report *report, struct error *error)
{
	cleanup(root_close) struct root stage = ROOT_NONE;
	char path[sizeof(report->stage) + sizeof("/" REPORT_FOLDER)];
	int r;

	strcpy(report->stage, P_tmpdir "/gpu-ferry-XXXXXX");
	if (!mkdtemp(report->stage)) {
		r = -errno;
		report->stage[0] = '\0';
		return error_set_errno(error, r, "make a folder in " P_tmpdir);
	}
	r = root_open(report->stage, &stage, error);
	if (r == 0)
		r = folder_make(&stage, REPORT_FOLDER, 0755, error);
	snprintf(path, sizeof(path), "%s/" REPORT_FOLDER, report->stage);
	return r < 0 ? r : root_open(path, &report->tree, error);
}

int report_collect(const struct context *context, struct report *report, struct error *error)
{
	int r;

	*report = (struct report){.context = context, .tree = ROOT_NONE};
	r = make_stage(report, error);
	if (r < 0)
		return r;
	r = find_nodes(report);
	for (size_t i = 0; r == 0 && i < COUNT(sources); i++) {
		if (!report->no_cluster || strncmp(sources[i].path, "etc/pve", 7) != 0)
			r = copy_source(report, &sources[i], NULL);
	}
	if (r == 0)
		r = copy_processes(report);
	names_sort(&report->files);
	return r < 0 ? error_set_errno(error, r, "copy the files of the report") : 0;
}

int report_add_text(struct report *report, const char *name, const char *text, struct error *error)
{
	const struct stat status = {.st_mtim = {.tv_nsec = UTIME_NOW}};
	auto_free char *copy = strdup(text);
	int r = copy ? put_filtered(report, name, &status, filter_journal, copy, strlen(copy))
		     : -ENOMEM;

	return r < 0 ? error_set_errno(error, r, "write %s into the report", name) : 0;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	(void)status;
	(void)kind;
	(void)place;
	return remove(path);
}

void report_done(struct report *report)
{
	root_close(&report->tree);
	if (report->stage[0])
		nftw(report->stage, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	names_done(&report->nodes);
	names_done(&report->private);
	names_done(&report->files);
	names_done(&report->unread);
}
