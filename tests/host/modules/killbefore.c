// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Kills a process, or its whole process group, right before the Nth system call that it and its
 * children make. No tracer: it runs at its own speed until then.
 *
 * "at" is N (0: calls are only counted), with "from_rename" counted from the first call that
 * renames a file; with "group" the whole group of the watched process dies, whoever makes the call.
 * A process has itself watched by writing to "watch": what it executes next is what counts.
 *
 * "count" says how many calls there have been, "rename" the number of the first that renamed a
 * file. "hit" says who made the Nth, which call it is, and how many others are in the group.
 */
#include <asm/syscall.h>
#include <asm/unistd.h>
#include <linux/atomic.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/sched/signal.h>
#include <linux/tracepoint.h>

#define GENERATIONS 4

static ulong at;
module_param(at, ulong, 0644);

static bool group;
module_param(group, bool, 0644);

static bool from_rename;
module_param(from_rename, bool, 0644);

static ulong rename_at;
module_param_named(rename, rename_at, ulong, 0444);

static char hit[64];
module_param_string(hit, hit, sizeof(hit), 0444);

static atomic_long_t calls;
static struct pid *watched;
static bool begun;

static int count_get(char *buffer, const struct kernel_param *parameter)
{
	return sysfs_emit(buffer, "%ld\n", atomic_long_read(&calls));
}

static const struct kernel_param_ops count_operations = {.get = count_get};
module_param_cb(count, &count_operations, NULL, 0444);

static int watch_set(const char *value, const struct kernel_param *parameter)
{
	struct pid *before = watched;

	WRITE_ONCE(watched, NULL);
	synchronize_rcu();
	tracepoint_synchronize_unregister();
	put_pid(before);
	begun = false;
	atomic_long_set(&calls, 0);
	rename_at = 0;
	hit[0] = '\0';
	WRITE_ONCE(watched, get_task_pid(current, PIDTYPE_TGID));
	return 0;
}

static const struct kernel_param_ops watch_operations = {.set = watch_set};
module_param_cb(watch, &watch_operations, NULL, 0200);

static bool is_family(struct pid *root)
{
	struct task_struct *task = current;
	bool found = false;
	int n;

	rcu_read_lock();
	for (n = 0; n < GENERATIONS && !found; n++) {
		found = task_tgid(task) == root;
		task = rcu_dereference(task->real_parent);
	}
	rcu_read_unlock();
	return found;
}

static int group_size(struct pid *root)
{
	struct task_struct *task;
	int n = 0;

	rcu_read_lock();
	do_each_pid_task(root, PIDTYPE_PGID, task)
	{
		n++;
	}
	while_each_pid_task(root, PIDTYPE_PGID, task);
	rcu_read_unlock();
	return n;
}

static bool is_rename(long id)
{
	return id == __NR_rename || id == __NR_renameat || id == __NR_renameat2;
}

static void enter(void *unused, struct pt_regs *regs, long id)
{
	struct pid *root = READ_ONCE(watched);
	long n;

	if (!root || !is_family(root))
		return;
	/* the call that starts what is watched is made before anything of it can be killed */
	if (!begun) {
		begun = id == __NR_execve;
		return;
	}
	n = atomic_long_inc_return(&calls);
	if (is_rename(id) && !rename_at)
		rename_at = n;
	if (from_rename ? !rename_at || n - rename_at + 1 != at : n != at)
		return;
	snprintf(hit, sizeof(hit), "%d %ld %d\n", task_tgid_nr(current), id, group_size(root) - 1);
	if (group)
		kill_pgrp(root, SIGKILL, 1);
	else
		send_sig(SIGKILL, current, 1);
	/* no such call: who dies must not make this one any more */
	if (fatal_signal_pending(current))
		regs->orig_ax = -1;
}

static struct tracepoint *sys_enter;

static void find(struct tracepoint *tracepoint, void *unused)
{
	if (!strcmp(tracepoint->name, "sys_enter"))
		sys_enter = tracepoint;
}

static int __init killbefore_init(void)
{
	for_each_kernel_tracepoint(find, NULL);
	return sys_enter ? tracepoint_probe_register(sys_enter, enter, NULL) : -ENOENT;
}

static void __exit killbefore_exit(void)
{
	tracepoint_probe_unregister(sys_enter, enter, NULL);
	tracepoint_synchronize_unregister();
	put_pid(watched);
}

module_init(killbefore_init);
module_exit(killbefore_exit);

MODULE_DESCRIPTION("gpu-ferry test: death right before the Nth system call");
MODULE_LICENSE("GPL");
