/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kmod-helper/holder/holders.h"

#include "kmod-helper/device/driver_use.h"
#include "kmod-helper/kernel/open_devices.h"
#include "tests/support/scratch.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define GPU "0000:01:00.0"
#define AUDIO "0000:01:00.1"
#define USB "0000:01:00.2"
#define TWIN "0000:02:00.0"
#define BEHIND "../../devices/pci0000:00/0000:00:10.0/"

/* Which process uses which device; the fake of devices_in_use. */
struct use {
	pid_t pid;
	dev_t device;
};

static struct scratch scratch;
static struct kernel kernel;
static struct kernel_ops ops;
static struct use uses[16];
static size_t use_count;
static struct holders holders;
static unsigned int passes; /* over the uses */

static struct open_devices_extent fake_extent; /* of each pass */

static bool is_wanted(const dev_t *wanted, size_t count, dev_t device)
{
	while (count > 0 && wanted[count - 1] != device)
		count--;
	return count > 0;
}

static int visit_uses(void *context, const dev_t *wanted, size_t count, device_visitor visitor,
	void *data, struct open_devices_extent *ret)
{
	int r = 0;

	(void)context;
	passes++;
	*ret = fake_extent;
	for (size_t i = 0; r == 0 && i < use_count; i++) {
		if (is_wanted(wanted, count, uses[i].device))
			r = visitor(data, uses[i].pid, uses[i].device);
	}
	return r;
}

static void add_node(const char *number, const char *place)
{
	char path[64], target[256];

	snprintf(path, sizeof(path), "sys/dev/char/%s", number);
	snprintf(target, sizeof(target), BEHIND "%s", place);
	scratch_link(&scratch, path, target);
}

static void add_use(pid_t pid, const char *command, const char *cgroup, unsigned int major_number,
	unsigned int minor_number)
{
	char path[64];

	snprintf(path, sizeof(path), "proc/%d/comm", (int)pid);
	scratch_write(&scratch, path, command);
	snprintf(path, sizeof(path), "proc/%d/cgroup", (int)pid);
	scratch_write(&scratch, path, cgroup);
	uses[use_count++] = (struct use){pid, makedev(major_number, minor_number)};
}

static void bind_function(const char *address, const char *driver, const char *module)
{
	char path[PCI_PATH_SIZE], target[PCI_PATH_SIZE];

	pci_path(address, "driver", path, sizeof(path));
	snprintf(target, sizeof(target), "../../drivers/%s", driver);
	scratch_link(&scratch, path, target);
	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%s/%s", driver, address);
	scratch_link(&scratch, path, "../../devices");
	snprintf(path, sizeof(path), "sys/bus/pci/drivers/%s/module", driver);
	snprintf(target, sizeof(target), "../../../../module/%s", module);
	scratch_link(&scratch, path, target);
}

static void setup(void)
{
	scratch_init(&scratch);
	cr_assert_eq(kernel_open(scratch.path, &kernel, NULL), 0);
	ops = *kernel.ops;
	ops.devices_in_use = visit_uses;
	kernel.ops = &ops;
	use_count = 0;
	fake_extent = (struct open_devices_extent){0};
	holders = (struct holders){0};
	add_node("226:0", GPU "/drm/card0");
	add_node("29:0", GPU "/graphics/fb0");
	add_node("116:3", AUDIO "/sound/card1/controlC1");
	add_node("13:65", USB "/usb3/3-1/3-1:1.0/0003:046D:C077.0001/input/input5/event1");
	add_node("189:256", USB "/usb3");
	add_node("226:1", "../0000:00:11.0/" TWIN "/drm/card1");
	scratch_link(&scratch, "sys/dev/block/8:1",
		BEHIND USB "/usb3/3-2/3-2:1.0/host6/target6:0:0/6:0:0:0/block/sda/sda1");
}

static void teardown(void)
{
	holders_done(&holders);
	kernel_close(&kernel);
	scratch_done(&scratch);
}

TestSuite(holders, .init = setup, .fini = teardown);

static void find(void)
{
	static const char *const addresses[] = {GPU, AUDIO, USB};
	struct error error = {0};

	holders_done(&holders);
	cr_assert_eq(holders_of_functions(&kernel, NULL, addresses, 3, NULL, &holders, &error), 0);
}

static void expect_holders(const char *expected)
{
	char text[512];

	find();
	holders_format(&holders, text, sizeof(text));
	cr_expect_str_eq(text, expected, "'%s' instead of '%s'", text, expected);
}

Test(holders, nobody_uses_an_idle_card)
{
	add_use(300, "sleep\n", "0::/\n", 1, 3);
	add_use(301, "Xorg\n", "0::/\n", 226, 1);
	expect_holders("");
}

Test(holders, each_function_of_the_card_is_looked_at)
{
	add_use(300, "Xorg\n", "0::/user.slice/session-1.scope\n", 226, 0);
	add_use(301, "pulse\n", "0::/\n", 116, 3);
	add_use(302, "systemd-logind\n", "0::/system.slice/systemd-logind.service\n", 13, 65);
	add_use(303, "fsck\n", "0::/\n", 8, 1);
	expect_holders(
		"Xorg (PID 300, card0), pulse (PID 301, controlC1), systemd-logind (PID 302, "
		"event1) of systemd-logind.service, fsck (PID 303, sda1)");
	cr_assert_eq(holders.count, 4u);
	cr_expect_str_eq(holders.items[1].address, AUDIO);
	cr_expect_str_eq(holders.items[2].unit, "systemd-logind.service");
	cr_expect_str_eq(holders.items[3].address, USB);
}

Test(holders, a_process_that_has_two_functions_is_named_once)
{
	add_use(300, "Xorg\n", "0::/\n", 226, 0);
	add_use(300, "Xorg\n", "0::/\n", 29, 0);
	add_use(300, "Xorg\n", "0::/\n", 116, 3);
	expect_holders("Xorg (PID 300, controlC1)");
	cr_expect_eq(holders.count, 2u);
}

/* Mappings come after all descriptors. */
Test(holders, descriptor_and_mapping_of_one_process_are_one_holder)
{
	add_use(300, "Xorg\n", "0::/\n", 226, 0);
	add_use(301, "sleep\n", "0::/\n", 1, 3);
	add_use(300, "Xorg\n", "0::/\n", 226, 0);
	add_use(301, "sleep\n", "0::/\n", 226, 0);
	expect_holders("Xorg (PID 300, card0), sleep (PID 301, card0)");
}

Test(holders, guests_and_services_are_told_by_the_cgroup)
{
	add_use(300, "ollama\n", "0::/lxc/105/ns/system.slice/ollama.service\n", 226, 0);
	add_use(301, "init\n", "0::/lxc/106\n", 226, 0);
	add_use(302, "kvm\n", "0::/qemu.slice/104.scope\n", 226, 0);
	add_use(303, "pipewire\n",
		"0::/user.slice/user-0.slice/user@0.service/app.slice/pipewire.service\n", 116, 3);
	add_use(304, "x\n", "0::/system.slice/x.service.d/y.scope\n", 116, 3);
	expect_holders(
		"container 105 (ollama, PID 300), container 106 (init, PID 301), VM 104 "
		"(kvm, PID 302), pipewire (PID 303, controlC1) of user@0.service, x (PID 304, controlC1)");
	cr_expect_str_eq(holders.items[0].unit, "ollama.service");
	cr_expect_str_eq(holders.items[1].unit, "");
	cr_expect_str_eq(holders.items[2].unit, "");
	cr_expect_str_eq(holders.items[3].unit, "user@0.service");
	cr_expect_str_eq(holders.items[4].unit, "");
}

/* Whoever has a group of his own may make groups of any name in it. */
Test(holders, only_the_beginning_of_the_cgroup_tells_a_guest)
{
	add_use(300, "a\n", "0::/user.slice/user-1000.slice/user@1000.service/lxc/105\n", 226, 0);
	add_use(301, "b\n", "0::/user.slice/user-1000.slice/session-2.scope/qemu.slice/104.scope\n",
		226, 0);
	add_use(302, "c\n", "0::/lxc/106/ns/lxc/105\n", 226, 0);
	add_use(303, "d\n", "0::/lxc.monitor/105\n", 226, 0);
	add_use(304, "e\n", "0::/qemu.slice/104.scope.d\n", 226, 0);
	add_use(305, "f\n", "0::/lxc/1000000000\n", 226, 0);
	expect_holders(
		"a (PID 300, card0) of user@1000.service, b (PID 301, card0), container 106 (c, PID 302), "
		"d (PID 303, card0), e (PID 304, card0), f (PID 305, card0)");
	cr_expect_str_eq(holders.items[0].unit, "user@1000.service");
}

/* A container's own systemd (docker's, podman's) has services of the host's names. */
Test(holders, a_service_below_a_scope_is_not_the_hosts)
{
	add_use(300, "nvidia-persiste\n",
		"0::/system.slice/docker-1.scope/system.slice/nvidia-persistenced.service\n", 226,
		0);
	add_use(301, "x\n", "0::/system.slice/system-x.slice/x@1.service/init.scope\n", 226, 0);
	expect_holders("nvidia-persiste (PID 300, card0), x (PID 301, card0) of x@1.service");
	cr_expect_str_eq(holders.items[0].unit, "");
	cr_expect_str_eq(holders.items[1].unit, "x@1.service");
}

Test(holders, containers_of_docker_and_podman_are_told_as_their_commands_name_them)
{
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	add_use(300, "a\n", "0::/system.slice/docker-" ID ".scope\n", 226, 0);
	add_use(301, "b\n", "0::/docker/" ID "/init.scope\n", 226, 0);
	add_use(302, "c\n", "0::/machine.slice/libpod-" ID ".scope/container\n", 226, 0);
	add_use(303, "d\n", "12:devices:/libpod_parent/libpod-" ID "\n0::/\n", 226, 0);
	/* by who is not root, or no id */
	add_use(304, "e\n", "0::/user.slice/user-9.slice/session-2.scope/docker-" ID ".scope\n",
		226, 0);
	add_use(305, "f\n", "0::/system.slice/docker-1.scope\n", 226, 0);
	add_use(306, "g\n", "0::/lxc/105/docker/" ID "\n", 226, 0);
	expect_holders("a (PID 300, card0) of Docker container 0123456789ab, "
		       "b (PID 301, card0) of Docker container 0123456789ab, "
		       "c (PID 302, card0) of Podman container 0123456789ab, "
		       "d (PID 303, card0) of Podman container 0123456789ab, "
		       "e (PID 304, card0), f (PID 305, card0), container 105 (g, PID 306)");
#undef ID
}

#define DOCKER "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define PODMAN "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define NAMELESS "00ba9876543210fedcba9876543210fedcba9876543210fedcba98765432100a"

Test(holders, containers_of_docker_and_podman_are_told_by_their_names)
{
	static const char docker[] = "var/lib/docker/containers/" DOCKER "/config.v2.json";

	add_use(300, "a\n", "0::/system.slice/docker-" DOCKER ".scope\n", 226, 0);
	add_use(301, "b\n", "0::/machine.slice/libpod-" PODMAN ".scope/container\n", 226, 0);
	add_use(302, "c\n", "0::/machine.slice/libpod-" NAMELESS ".scope/container\n", 226, 0);
	scratch_write(&scratch, docker,
		"{\"StreamConfig\": {}, \"State\": {\"Pid\": 300}, \"ID\": \"" DOCKER
		"\", \"Name\": \"/ollama\", \"Driver\": null}");
	scratch_write(&scratch, "var/lib/containers/storage/overlay-containers/containers.json",
		"[{\"id\": \"" NAMELESS "\"}, {\"id\": \"" PODMAN
		"\", \"names\": [\"jellyfin\", \"x\"], \"layer\": \"1\", \"created\": "
		"\"2026-01-01T00:00:00Z\"}]");
	expect_holders("a (PID 300, card0) of Docker container ollama, "
		       "b (PID 301, card0) of Podman container jellyfin, "
		       "c (PID 302, card0) of Podman container 00ba98765432");
	cr_expect_str_eq(holders.items[0].application, "Docker container ollama");
}

/* By others than root, or what is no such file. */
Test(holders, a_container_whose_file_cannot_be_trusted_is_told_by_its_id)
{
	static const char docker[] = "var/lib/docker/containers/" DOCKER "/config.v2.json";
	static const char *const texts[] = {"{\"Name\": 7}", "{}", "[]", "{\"Name\": \"/\"}", ""};
	char path[PATH_MAX];

	add_use(300, "a\n", "0::/system.slice/docker-" DOCKER ".scope\n", 226, 0);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		scratch_write(&scratch, docker, texts[i]);
		expect_holders("a (PID 300, card0) of Docker container 0123456789ab");
	}
	scratch_write(&scratch, docker, "{\"Name\": \"/ollama\"}");
	snprintf(path, sizeof(path), "%s/%s", scratch.path, docker);
	cr_assert_eq(chmod(path, 0666), 0);
	expect_holders("a (PID 300, card0) of Docker container 0123456789ab");
	cr_assert_eq(chmod(path, 0600), 0);
	expect_holders("a (PID 300, card0) of Docker container ollama");
}

Test(holders, guests_are_told_with_cgroup_v1_too)
{
	add_use(300, "a\n",
		"12:devices:/user.slice/lxc/105\n1:name=systemd:/lxc/106/ns/init.scope\n"
		"0::/system.slice/pve-container@106.service\n",
		226, 0);
	add_use(301, "b\n",
		"2:cpu,cpuacct:/qemu.slice/104.scope\n1:name=systemd:/qemu.slice/104.scope\n0::/\n",
		226, 0);
	expect_holders("container 106 (a, PID 300), VM 104 (b, PID 301)");
	cr_expect_str_eq(holders.items[0].unit, "");
}

Test(holders, a_cgroup_that_is_too_long_to_read_still_tells_the_container)
{
	char text[5000];

	memset(text, 'x', sizeof(text));
	memcpy(text, "0::/lxc/105/", 12);
	for (size_t i = 200; i < sizeof(text); i += 200)
		text[i] = '/';
	text[sizeof(text) - 1] = '\0';
	add_use(300, "a\n", text, 226, 0);
	expect_holders("container 105 (a, PID 300)");
}

/* A process can give itself any name; it is cleaned where it leaves (test_output). */
Test(holders, a_command_is_taken_as_it_is)
{
	add_use(300, "a\nb\033[0m", "0::/\n", 226, 0);
	expect_holders("a\nb\033[0m (PID 300, card0)");
}

static void add_nvidia(const char *address, const char *minor_number)
{
	char path[PCI_PATH_SIZE], text[64];

	snprintf(path, sizeof(path), "proc/driver/nvidia/gpus/%s/information", address);
	snprintf(text, sizeof(text), "Model: \t\t Test\nDevice Minor: \t %s\n", minor_number);
	scratch_write(&scratch, path, text);
	scratch_write(&scratch, "proc/devices",
		"Character devices:\n  1 mem\n195 nvidia\n508 nvidia-uvm\n\nBlock devices:\n  8 sd\n");
}

Test(holders, nvidias_nodes_are_no_files_of_the_function)
{
	add_nvidia(GPU, "0");
	add_use(300, "python3\n", "0::/\n", 195, 0);
	add_use(301, "nvidia-persiste\n", "0::/system.slice/nvidia-persistenced.service\n", 195,
		255);
	add_use(302, "cuda\n", "0::/\n", 508, 0);
	add_use(303, "other\n", "0::/\n", 507, 0);
	expect_holders(
		"python3 (PID 300, nvidia0), nvidia-persiste (PID 301, nvidiactl) of nvidia-persistenced.service, cuda (PID "
		"302, nvidia-uvm)");
}

/* Who has another card's node has the shared ones for that card. */
Test(holders, who_works_on_the_other_nvidia_card_does_not_hold_this_one)
{
	add_nvidia(GPU, "0");
	add_nvidia(TWIN, "1");
	add_use(300, "cuda1\n", "0::/\n", 195, 255);
	uses[use_count++] = (struct use){300, makedev(508, 0)};
	uses[use_count++] = (struct use){300, makedev(195, 1)};
	add_use(301, "unknown\n", "0::/\n", 195, 255);
	add_use(302, "both\n", "0::/\n", 195, 1);
	uses[use_count++] = (struct use){302, makedev(195, 0)};
	expect_holders("unknown (PID 301, nvidiactl), both (PID 302, nvidia0)");
}

Test(holders, vfio_users_of_a_lent_function_are_its_groups)
{
	bind_function(GPU, "vfio-pci", "vfio_pci");
	scratch_link(&scratch, "sys/bus/pci/devices/" GPU "/iommu_group",
		"../../../kernel/iommu_groups/15");
	scratch_write(&scratch, "sys/class/vfio/15/dev", "243:0\n");
	add_use(300, "kvm\n", "0::/qemu.slice/104.scope\n", 243, 0);
	add_use(301, "kvm\n", "0::/qemu.slice/106.scope\n", 243, 1);
	expect_holders("VM 104 (kvm, PID 300)");
}

Test(holders, a_group_is_held_by_its_devices_nodes_too)
{
	struct error error = {0};

	scratch_write(&scratch, "sys/class/vfio/15/dev", "243:0\n");
	scratch_write(&scratch, "sys/kernel/iommu_groups/15/devices/" GPU, "");
	scratch_write(&scratch, "sys/bus/pci/devices/" GPU "/vfio-dev/vfio3/dev", "511:3\n");
	add_use(300, "kvm\n", "0::/qemu.slice/104.scope\n", 511, 3);
	cr_assert_eq(holders_of_group(&kernel, 15, &holders, &error), 0);
	cr_assert_eq(holders.count, 1u);
	cr_expect_str_eq(holders.items[0].node, "vfio/devices/vfio3");
}

/* The count has one for each module that is built on it, and one for each open file. */
Test(holders, processes_are_looked_at_when_vfio_has_more_uses_than_modules_on_it)
{
	static const struct {
		const char *count;
		unsigned int passes;
	} hosts[] = {{NULL, 1}, {"2\n", 0}, {"3\n", 1}, {"1\n", 1}, {"0\n", 1}};

	scratch_write(&scratch, "sys/class/vfio/15/dev", "243:0\n");
	scratch_link(&scratch, "sys/module/vfio/holders/vfio_pci_core", "../../vfio_pci_core");
	scratch_link(
		&scratch, "sys/module/vfio/holders/vfio_iommu_type1", "../../vfio_iommu_type1");
	add_use(300, "kvm\n", "0::/qemu.slice/104.scope\n", 243, 0);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		struct error error = {0};

		if (hosts[i].count)
			scratch_write(&scratch, "sys/module/vfio/refcnt", hosts[i].count);
		passes = 0;
		holders_done(&holders);
		cr_assert_eq(holders_of_group(&kernel, 15, &holders, &error), 0);
		cr_expect_eq(passes, hosts[i].passes, "%zu", i);
		cr_expect_eq(holders.count, hosts[i].passes, "%zu", i);
	}
}

static void use_module(const char *references)
{
	bind_function(AUDIO, "snd_hda_intel", "snd_hda_intel");
	scratch_write(&scratch, "sys/module/snd_hda_intel/refcnt", references);
}

Test(holders, what_only_a_module_counts_is_the_kernels)
{
	use_module("1\n");
	expect_holders("the kernel (a user of the module snd_hda_intel that no process lists)");
	cr_expect_eq(holders.items[0].kind, HOLDER_KERNEL);
	cr_expect_eq(holders.items[0].pid, 0);
}

Test(holders, a_count_that_a_process_explains_is_not_the_kernels)
{
	use_module("1\n");
	add_use(300, "sleep\n", "0::/\n", 116, 3);
	expect_holders("sleep (PID 300, controlC1)");
}

/* The onboard sound card is in use: that says nothing about the GPU's. */
Test(holders, a_count_of_a_driver_of_two_says_nothing)
{
	use_module("1\n");
	scratch_link(&scratch, "sys/bus/pci/drivers/snd_hda_intel/0000:00:1f.3", "../../devices");
	expect_holders("");
}

Test(holders, the_consoles_use_of_a_drm_driver_is_none)
{
	bind_function(GPU, "amdgpu", "amdgpu");
	scratch_write(&scratch, "sys/module/amdgpu/refcnt", "3\n");
	scratch_write(&scratch, "sys/bus/pci/devices/" GPU "/drm/card0/dev", "226:0\n");
	expect_holders("");
	cr_expect_not(driver_may_wait(&kernel, GPU));
}

Test(holders, only_a_driver_that_somebody_may_use_can_wait)
{
	use_module("0\n");
	cr_expect_not(driver_may_wait(&kernel, AUDIO));
	scratch_write(&scratch, "sys/module/snd_hda_intel/refcnt", "1\n");
	cr_expect(driver_may_wait(&kernel, AUDIO));
	bind_function(GPU, "nvidia", "nvidia");
	scratch_write(&scratch, "sys/module/nvidia/refcnt", "0\n");
	cr_expect_not(driver_may_wait(&kernel, GPU));
	/* a module of others is built on it: its count does not tell who they use it for */
	scratch_write(&scratch, "sys/module/nvidia/holders/gdrdrv", "");
	cr_expect(driver_may_wait(&kernel, GPU));
	bind_function(USB, "built_in", "");
	cr_expect(driver_may_wait(&kernel, USB));
}

/* A descriptor that is on its way through a socket is in no process. nvidia_drm's node is none of
 * nvidia's. */
Test(holders, what_nvidias_own_modules_do_not_explain_is_a_user)
{
	bind_function(GPU, "nvidia", "nvidia");
	scratch_write(&scratch, "sys/module/nvidia/holders/nvidia_uvm", "");
	scratch_write(&scratch, "sys/module/nvidia/holders/nvidia_modeset", "");
	scratch_write(&scratch, "sys/bus/pci/devices/" GPU "/drm/card0/dev", "226:0\n");
	scratch_write(&scratch, "sys/module/nvidia/refcnt", "2\n");
	expect_holders("");
	cr_expect_not(driver_may_wait(&kernel, GPU));
	scratch_write(&scratch, "sys/module/nvidia/refcnt", "3\n");
	expect_holders("the kernel (a user of the module nvidia that no process lists)");
	cr_expect(driver_may_wait(&kernel, GPU));
}

/* A driver that is in remove(), or stuck there, has lost that function, and its users count still.
 */
Test(holders, the_users_of_a_function_on_its_way_out_are_not_the_twins)
{
	static const char *const twins_audio[] = {"0000:02:00.1"};
	struct loan_function function = {.address = AUDIO, .home_driver = "snd_hda_intel"};
	struct step step = {.operation = "unbind", .subject = AUDIO, .state = STEP_STUCK};
	struct loan loan = {0};
	struct loans loans = {.items = &loan, .count = 1};

	bind_function(twins_audio[0], "snd_hda_intel", "snd_hda_intel");
	scratch_write(&scratch, "sys/module/snd_hda_intel/refcnt", "1\n");
	cr_assert_eq(loan_add_function(&loan, &function), 0);
	cr_assert_not_null(steps_add(&loan.steps, &step));
	cr_assert_eq(
		holders_of_functions(&kernel, &loans, twins_audio, 1, NULL, &holders, NULL), 0);
	cr_expect_eq(holders.count, 0u);
	/* before the deadline, or when nobody is left to record it */
	loan.steps.items[0].state = STEP_STARTED;
	cr_assert_eq(
		holders_of_functions(&kernel, &loans, twins_audio, 1, NULL, &holders, NULL), 0);
	cr_expect_eq(holders.count, 0u);
	loan.steps.items[0].state = STEP_DONE;
	cr_assert_eq(
		holders_of_functions(&kernel, &loans, twins_audio, 1, NULL, &holders, NULL), 0);
	cr_expect_eq(holders.count, 1u, "nobody else explains the count");
	loan_done(&loan);
}

Test(holders, however_many_nodes_it_is_one_pass)
{
	add_nvidia(GPU, "0");
	passes = 0;
	expect_holders("");
	cr_expect_eq(passes, 1u);
}

/* Those found count; a module's count says nothing then. */
Test(holders, a_pass_that_does_not_come_to_the_end_is_told_with_who_made_it_long)
{
	char status[8192];

	/* it is in many groups, and the kernel lists them all */
	snprintf(status, sizeof(status),
		"Name:\tperl\nUid:\t65534\t65534\t65534\t65534\nGroups:\t%06000d\n", 0);
	use_module("1\n");
	add_use(300, "Xorg\n", "0::/\n", 226, 0);
	scratch_write(&scratch, "proc/4242/comm", "perl\n");
	scratch_write(&scratch, "proc/4242/status", status);
	fake_extent = (struct open_devices_extent){.is_partial = true,
		.processes = 480,
		.milliseconds = 5010,
		.pid = 4242,
		.most = 20001};
	expect_holders("Xorg (PID 300, card0)");
	cr_expect_str_eq(holders.unknown,
		"looked at 480 processes in 5.0 s, and process 4242 (perl) of user 65534 has more "
		"than 20000 descriptors and mappings: who uses the card is not known; end that "
		"process, then try again");
	fake_extent.most = 0;
	expect_holders("Xorg (PID 300, card0)");
	cr_expect_not_null(strstr(holders.unknown, "(perl) of user 65534 was the last one: who"));
	fake_extent.is_partial = false;
	find();
	cr_expect_str_eq(holders.unknown, "");
}

static unsigned int waits;
static size_t uses_after_a_wait;
static char waited_for[64];

static void wait_and_see(void *context, const char *path, unsigned int milliseconds)
{
	(void)context, (void)milliseconds;
	snprintf(waited_for, sizeof(waited_for), "%s", path);
	if (++waits == 2)
		use_count = uses_after_a_wait;
}

static void find_those_that_stay(size_t later)
{
	static const char *const addresses[] = {GPU, AUDIO, USB};
	struct error error = {0};

	ops.wait_close = wait_and_see;
	waits = 0;
	uses_after_a_wait = later;
	cr_assert_eq(holders_that_stay(&kernel, NULL, addresses, 3, NULL, &holders, &error), 0);
}

/* As 90-alsa-restore.rules does with a sound card that has just come. */
Test(holders, what_udev_does_with_a_new_device_passes)
{
	add_use(300, "(udev-worker)\n", "0::/system.slice/systemd-udevd.service/udev\n", 116, 3);
	find_those_that_stay(0);
	cr_expect_eq(holders.count, 0u);
	cr_expect_eq(waits, 2u);
}

Test(holders, a_rule_of_udev_that_does_not_end_is_named)
{
	add_use(300, "alsactl\n", "0::/system.slice/systemd-udevd.service\n", 116, 3);
	find_those_that_stay(1);
	cr_expect_eq(holders.count, 1u);
	cr_expect_gt(waits, 10u);
}

Test(holders, who_is_not_udev_is_not_waited_for)
{
	add_use(300, "(udev-worker)\n", "0::/system.slice/systemd-udevd.service/udev\n", 116, 3);
	add_use(301, "ollama\n", "0::/system.slice/ollama.service\n", 226, 0);
	find_those_that_stay(0);
	cr_expect_eq(holders.count, 2u);
	cr_expect_eq(waits, 0u);
}

Test(holders, a_count_without_a_process_is_looked_at_twice_and_as_long_as_udev_works)
{
	use_module("1\n");
	find_those_that_stay(0);
	cr_expect_eq(holders.count, 1u);
	cr_expect_eq(waits, 1u);

	holders_done(&holders);
	scratch_write(&scratch, "run/udev/queue", "");
	find_those_that_stay(0);
	cr_expect_eq(holders.count, 1u);
	cr_expect_gt(waits, 10u);
}

/* What is left of a second once others had their part of it. */
Test(holders, a_group_that_stays_open_is_told_with_the_seconds_of_the_settings)
{
	struct error error = {0};

	ops.wait_close = wait_and_see;
	uses_after_a_wait = 1;
	scratch_write(&scratch, "sys/class/vfio/15/dev", "243:0\n");
	add_use(300, "sleep\n", "0::/\n", 243, 0);
	cr_expect_eq(holders_await_group(&kernel, 15, 501, &error), -EBUSY);
	cr_expect_not_null(strstr(error.message, "/dev/vfio/15 is still open after 1 s: sleep"),
		"%s", error.message);
}

/* A kernel with VFIO_DEVICE_CDEV has the group's node too, but nobody has it open. */
Test(holders, a_wait_for_a_devices_own_node_is_for_that_node_and_names_it)
{
	struct error error = {0};

	ops.wait_close = wait_and_see;
	uses_after_a_wait = 1;
	scratch_write(&scratch, "sys/class/vfio/15/dev", "243:0\n");
	scratch_write(&scratch, "sys/kernel/iommu_groups/15/devices/" GPU, "");
	scratch_write(&scratch, "sys/bus/pci/devices/" GPU "/vfio-dev/vfio2/dev", "511:2\n");
	add_use(300, "kvm\n", "0::/qemu.slice/104.scope\n", 511, 2);
	cr_expect_eq(holders_await_group(&kernel, 15, 501, &error), -EBUSY);
	cr_expect_str_eq(error.message,
		"/dev/vfio/devices/vfio2 is still open after 1 s: VM 104 (kvm, PID 300)");
	cr_expect_str_eq(waited_for, "dev/vfio/devices/vfio2");
}

/* On its way out a driver has taken its nodes off the list before it waits. */
Test(holders, a_stuck_driver_is_held_by_who_has_what_was_recorded)
{
	static const char *const addresses[] = {AUDIO};
	struct loan_function function = {
		.address = AUDIO, .iommu_group = 15, .nodes = "controlC1=116:33 hwC1D0=116:34"};
	struct step step = {.operation = "unbind", .subject = AUDIO, .state = STEP_STUCK};
	struct loan loan = {0};
	struct loans loans = {.items = &loan, .count = 1};
	struct error error = {0};
	char text[128];

	cr_assert_eq(loan_add_function(&loan, &function), 0);
	cr_assert_not_null(steps_add(&loan.steps, &step));
	add_use(300, "sleep\n", "0::/\n", 116, 33);
	cr_assert_eq(
		holders_of_functions(&kernel, &loans, addresses, 1, NULL, &holders, &error), 0);
	holders_format(&holders, text, sizeof(text));
	cr_expect_str_eq(text, "sleep (PID 300, controlC1)");
	holders_done(&holders);
	cr_assert_eq(holders_of_stuck(&kernel, &loan, AUDIO, &holders, &error), 0);
	cr_expect_eq(holders.count, 1u);
	loan_done(&loan);
}

Test(holders, nodes_are_recorded_as_many_as_fit)
{
	static const char *const addresses[] = {GPU, USB};
	struct nodes nodes = {0}, again = {0};
	char text[24];

	cr_assert_eq(nodes_collect(&kernel, addresses, 2, &nodes), 0);
	cr_expect_eq(nodes.count, 5u);
	nodes_format(&nodes, GPU, text, sizeof(text));
	cr_expect_str_eq(text, "card0=226:0 fb0=29:0");
	cr_assert_eq(nodes_parse(text, GPU, &again), 0);
	cr_assert_eq(nodes_parse("x y=1 =2:z a=b=3:4", GPU, &again), 0);
	cr_assert_eq(again.count, 3u);
	cr_expect_eq(again.items[1].device, makedev(29, 0));
	cr_expect_str_eq(again.items[2].name, "a=b");
	nodes_format(&nodes, USB, text, sizeof(text));
	cr_expect_str_eq(text, "event1=13:65");
	nodes_done(&nodes);
	nodes_done(&again);
}

static void add_holders(unsigned int count)
{
	struct holder holder = {
		.kind = HOLDER_PROCESS, .command = "ollama_llama_se", .node = "renderD128"};

	for (unsigned int i = 0; i < count; i++) {
		holder.pid = (pid_t)(100000 + i);
		cr_assert_eq(holders_add(&holders, &holder), 0);
	}
}

/* "names every holder": of one that does not fit not even a part, but the number of them. */
Test(holders, a_message_has_room_for_fifty_and_counts_the_rest)
{
	char text[HOLDERS_TEXT_SIZE], last[32];
	unsigned int named = 0, more = 0;

	add_holders(50);
	holders_format(&holders, text, sizeof(text));
	cr_expect_not_null(strstr(text, "(PID 100049, renderD128)"));
	cr_expect_null(strstr(text, "more"));
	add_holders(1950);
	holders_format(&holders, text, sizeof(text));
	for (const char *at = text; (at = strstr(at, "PID 1")); at++)
		named++;
	cr_assert_eq(sscanf(strrchr(text, ',') + 1, " and %u more", &more), 1, "%s", text);
	cr_expect_eq(named + more, 2000u - 50, "%u named and %u more", named, more);
	snprintf(last, sizeof(last), "renderD128), and %u more", more);
	cr_expect_str_eq(text + strlen(text) - strlen(last), last);
}

Test(holders, the_smallest_list_is_whole_too)
{
	char text[24];

	add_holders(2);
	holders_format(&holders, text, sizeof(text));
	cr_expect_str_eq(text, "2 more");
}

/* The running kernel's /proc, with children of ours in it. */
struct sighting {
	pid_t pid;
	dev_t device;
	unsigned int count;
};

static int see(void *data, pid_t pid, dev_t device)
{
	struct sighting *sighting = data;

	cr_expect_neq(pid, getpid());
	cr_expect_eq(device, sighting->device, "a device that nobody asked for");
	sighting->count += pid == sighting->pid;
	return 0;
}

/* A child that did @prepare and sleeps. */
static pid_t start_child(bool (*prepare)(void))
{
	int ready[2];
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing is left of a test that fails */
		if (!prepare() || write(ready[1], "", 1) != 1)
			_exit(1);
		pause();
	}
	close(ready[1]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static unsigned int count_sightings(pid_t pid, dev_t device)
{
	struct sighting sighting = {.pid = pid, .device = device};
	struct open_devices_extent extent;

	cr_expect_eq(open_devices_visit(&device, 1, NULL, see, &sighting, &extent), 0);
	cr_expect_not(extent.is_partial);
	cr_expect_gt(extent.processes, 0u);
	return sighting.count;
}

#define FULL makedev(1, 7)
#define ZERO makedev(1, 5)

static bool open_full(void)
{
	return open("/dev/full", O_RDWR) >= 0 && open("/dev/full", O_RDONLY) >= 0;
}

Test(open_devices, a_descriptor_of_a_child_is_seen_once)
{
	pid_t pid = start_child(open_full);

	cr_expect_eq(count_sightings(pid, FULL), 1u);
	cr_expect_eq(count_sightings(pid, ZERO), 0u);
	end_child(pid);
	cr_expect_eq(count_sightings(pid, FULL), 0u);
}

/* More of them than were once room for. */
static bool map_zero(void)
{
	int fd = open("/dev/zero", O_RDWR);

	/* two kinds in turn: neighbours that are alike become one */
	for (int i = 0; i < 3000; i++) {
		if (mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE, fd,
			    0) == MAP_FAILED)
			return false;
	}
	return fd >= 0 && close(fd) == 0;
}

/* A person may not follow these links, nor may root of a user namespace. */
static bool may_follow_mappings(void)
{
	glob_t found;
	struct stat status;
	bool may = glob("/proc/self/map_files/*", GLOB_NOSORT, NULL, &found) == 0 &&
		stat(found.gl_pathv[0], &status) == 0;

	globfree(&found);
	return may;
}

Test(open_devices, a_mapping_without_a_descriptor_is_seen_once)
{
	pid_t pid;

	if (!may_follow_mappings())
		cr_skip_test("only root can see what is mapped");
	pid = start_child(map_zero);
	cr_expect_eq(count_sightings(pid, ZERO), 1u);
	end_child(pid);
}

static sem_t opened;

static void *open_full_alone(void *ready)
{
	*(bool *)ready = unshare(CLONE_FILES) == 0 && open("/dev/full", O_RDONLY) >= 0;
	sem_post(&opened);
	pause();
	return NULL;
}

static bool open_full_in_a_thread(void)
{
	pthread_t thread;
	bool is_open = false;

	sem_init(&opened, 0, 0);
	return pthread_create(&thread, NULL, open_full_alone, &is_open) == 0 &&
		sem_wait(&opened) == 0 && is_open;
}

Test(open_devices, a_descriptor_that_one_thread_has_for_itself_is_seen)
{
	pid_t pid = start_child(open_full_in_a_thread);

	cr_expect_eq(count_sightings(pid, FULL), 1u);
	end_child(pid);
}

static bool open_much(void)
{
	for (int i = 0; i < 900; i++) {
		if (open("/dev/full", O_RDONLY) < 0)
			return false;
	}
	return true;
}

/* The first that is found has all of what may be looked at. */
Test(open_devices, past_the_bound_what_was_found_stays_and_the_one_with_most_is_named)
{
	const dev_t device = FULL;
	pid_t pid = start_child(open_much);
	struct sighting sighting = {.pid = pid, .device = device};
	struct open_devices_limits limits = {.deadline_ms = 60000, .items = 10000000};
	struct open_devices_extent extent = {0};

	cr_assert_eq(open_devices_visit(&device, 1, &limits, see, &sighting, &extent), 0);
	cr_assert_not(extent.is_partial);
	/* how many come before the child, and after it, is not known */
	for (size_t low = 0, high = 1u << 22; low + 1 < high;) {
		limits.items = (low + high) / 2;
		sighting.count = 0;
		cr_assert_eq(open_devices_visit(&device, 1, &limits, see, &sighting, &extent), 0);
		if (extent.is_partial && sighting.count)
			break;
		*(extent.is_partial ? &low : &high) = limits.items;
	}
	cr_expect(extent.is_partial);
	cr_expect_eq(sighting.count, 1u);
	cr_expect_gt(extent.pid, 0);
	cr_expect_gt(extent.most, 100u);
	limits = (struct open_devices_limits){.deadline_ms = 0, .items = 10000000};
	sighting.count = 0;
	cr_expect_eq(open_devices_visit(&device, 1, &limits, see, &sighting, &extent), 0);
	cr_expect(extent.is_partial, "past its deadline");
	end_child(pid);
}

static int stop_at_once(void *data, pid_t pid, dev_t device)
{
	(void)pid, (void)device;
	++*(unsigned int *)data;
	return -EINTR;
}

Test(open_devices, what_the_visitor_says_ends_it)
{
	const dev_t device = FULL;
	pid_t first = start_child(open_full), second = start_child(open_full);
	struct open_devices_extent extent;
	unsigned int count = 0;

	cr_expect_eq(open_devices_visit(&device, 1, NULL, stop_at_once, &count, &extent), -EINTR);
	cr_expect_eq(count, 1u);
	end_child(first);
	end_child(second);
}
