/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads, writes and changes loans. */

#include "loan.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include "kmod-helper/record/record.h"
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <time.h>

#define LOAN_FILE_MAX (1u << 20)

void loan_init(struct loan *loan, const struct loan_owner *owner)
{
	time_t now = time(NULL);
	struct tm utc;

	*loan = (struct loan){.owner = *owner, .state = LOAN_TAKING};
	gmtime_r(&now, &utc);
	strftime(loan->since, sizeof(loan->since), "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void loan_done(struct loan *loan)
{
	for (size_t i = 0; i < loan->function_count; i++)
		json_object_put(loan->functions[i].record);
	free(loan->functions);
	steps_done(&loan->steps);
	json_object_put(loan->record);
	*loan = (struct loan){0};
}

struct loan_function *loan_find(const struct loan *loan, const char *address)
{
	for (size_t i = 0; i < loan->function_count; i++) {
		if (strcmp(loan->functions[i].address, address) == 0)
			return &loan->functions[i];
	}
	return NULL;
}

enum loan_presence loan_function_presence(
	const struct kernel *kernel, const struct loan_function *function)
{
	char now[PCI_IDENTITY_SIZE];

	pci_read_identity(kernel, function->address, now);
	if (!*now)
		return pci_is_on_bus(kernel, function->address) ? LOAN_PRESENT : LOAN_LEFT;
	return *function->identity && strcmp(now, function->identity) != 0 ? LOAN_REPLACED
									   : LOAN_PRESENT;
}

void loan_look(const struct kernel *kernel, struct loan *loan)
{
	for (size_t i = 0; i < loan->function_count; i++)
		loan->functions[i].presence = loan_function_presence(kernel, &loan->functions[i]);
}

const char *loan_overdue_text(const struct loan_function *function)
{
	return function && function->waits_forever
		? "this version of the driver does not notice that: only a restart of "
		  "the host brings the card back;"
		: "it comes home by itself when that ends; until then";
}

int loan_add_function(struct loan *loan, const struct loan_function *function)
{
	struct loan_function *place = LIST_ADD(loan->functions, loan->function_count);

	if (!place)
		return -ENOMEM;
	*place = *function;
	return 0;
}

void loan_drop_function(struct loan *loan, const char *address)
{
	struct loan_function *function = loan_find(loan, address);
	size_t index;

	for (size_t i = loan->steps.count; i-- > 0;) {
		if (strcmp(loan->steps.items[i].subject, address) == 0)
			steps_remove(&loan->steps, i);
	}
	if (!function)
		return;
	json_object_put(function->record);
	index = (size_t)(function - loan->functions);
	loan->function_count--;
	memmove(function, function + 1, (loan->function_count - index) * sizeof(*function));
}

/* Makes room for that many more, so that adding them cannot fail. */
static int reserve(struct loan *loan, size_t functions, size_t steps)
{
	struct loan_function *grown =
		list_grow(loan->functions, loan->function_count, functions, sizeof(*grown));
	struct step *items;

	if (!grown)
		return -ENOMEM;
	loan->functions = grown;
	items = list_grow(loan->steps.items, loan->steps.count, steps, sizeof(*items));
	if (!items)
		return -ENOMEM;
	loan->steps.items = items;
	return 0;
}

/* What moves from one loan to another. */
struct selection {
	const char *address; /* this function, */
	long iommu_group;    /* or if that is NULL, those of this group */
	bool rest;	     /* and the steps that belong to no function */
};

static bool is_selected(const struct selection *what, const struct loan_function *function)
{
	return what->address ? strcmp(function->address, what->address) == 0
			     : function->iommu_group == what->iommu_group;
}

static bool is_step_selected(
	const struct loan *loan, const struct selection *what, const struct step *step)
{
	const struct loan_function *function = loan_find(loan, step->subject);

	return function ? is_selected(what, function) : what->rest;
}

/* Keeps the order of the steps, because they are undone by it. */
static int move_selected(struct loan *from, struct loan *to, const struct selection *what)
{
	size_t kept = 0;

	if (reserve(to, from->function_count, from->steps.count) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < from->function_count; i++) {
		if (is_selected(what, &from->functions[i]))
			loan_drop_function(to, from->functions[i].address);
	}
	for (size_t i = 0; i < from->steps.count; i++) {
		const struct step *step = &from->steps.items[i];

		if (is_step_selected(from, what, step))
			to->steps.items[to->steps.count++] = *step;
		else
			from->steps.items[kept++] = *step;
	}
	from->steps.count = kept;
	kept = 0;
	for (size_t i = 0; i < from->function_count; i++) {
		if (is_selected(what, &from->functions[i]))
			to->functions[to->function_count++] = from->functions[i];
		else
			from->functions[kept++] = from->functions[i];
	}
	from->function_count = kept;
	return 0;
}

int loan_move_function(struct loan *from, struct loan *to, const char *address)
{
	const struct selection what = {.address = address};

	return move_selected(from, to, &what);
}

static bool is_last_group(const struct loan *loan, long iommu_group)
{
	for (size_t i = 0; i < loan->function_count; i++) {
		if (loan->functions[i].use != LOAN_ALTERNATIVE &&
			loan->functions[i].iommu_group != iommu_group)
			return false;
	}
	return true;
}

int loan_move_group(struct loan *from, struct loan *to, long iommu_group)
{
	const struct selection what = {
		.iommu_group = iommu_group, .rest = is_last_group(from, iommu_group)};

	return move_selected(from, to, &what);
}

bool loan_owner_equal(const struct loan_owner *left, const struct loan_owner *right)
{
	if (left->kind != right->kind)
		return false;
	return left->kind == LOAN_OWNER_VM ? left->vmid == right->vmid
					   : left->iommu_group == right->iommu_group;
}

void loan_owner_format(const struct loan_owner *owner, char *buffer, size_t size)
{
	if (owner->kind == LOAN_OWNER_VM)
		snprintf(buffer, size, "VM %u", owner->vmid);
	else
		snprintf(buffer, size, "by hand");
}

static void owner_path(const struct loan_owner *owner, char *buffer, size_t size)
{
	if (owner->kind == LOAN_OWNER_VM)
		snprintf(buffer, size, LOAN_FOLDER "/vm-%u.json", owner->vmid);
	else
		snprintf(buffer, size, LOAN_FOLDER "/hand-%ld.json", owner->iommu_group);
}

/* ---- as JSON */

static const char *const kind_names[] = {"vm", "hand"};
static const char *const state_names[] = {"taking", "lent", "returning", "owed", "overdue"};
static const char *const use_names[] = {"taken", "alternative", "borrowed", "static"};
static const char *const step_names[] = {"planned", "started", "done", "stuck"};

static bool owner_is_vm(const void *owner)
{
	return ((const struct loan_owner *)owner)->kind == LOAN_OWNER_VM;
}

static bool owner_is_hand(const void *owner)
{
	return !owner_is_vm(owner);
}

static bool loan_has_started(const void *item)
{
	return ((const struct loan *)item)->has_started != 0;
}

static bool loan_has_child(const void *loan)
{
	return ((const struct loan *)loan)->child != 0;
}

static bool step_has_child(const void *step)
{
	return ((const struct step *)step)->child != 0;
}

static bool function_is_boot_display(const void *function)
{
	return ((const struct loan_function *)function)->boot_display != 0;
}

static bool step_has_deadline(const void *step)
{
	return ((const struct step *)step)->write_deadline_ms != 0;
}

static bool function_is_slow(const void *function)
{
	return ((const struct loan_function *)function)->slow_deadline_ms != 0;
}

static bool function_waits_forever(const void *function)
{
	return ((const struct loan_function *)function)->waits_forever != 0;
}

#define TEXT(type, member)                                                                         \
	{                                                                                          \
#member, RECORD_TEXT, RECORD_MEMBER(type, member)                                  \
	}
#define NUMBER(type, member, from, to)                                                             \
	{                                                                                          \
#member, RECORD_NUMBER, RECORD_MEMBER(type, member), .minimum = (from),            \
								     .maximum = (to)               \
	}
#define CHOICE(type, member, array)                                                                \
	{                                                                                          \
#member, RECORD_CHOICE, RECORD_MEMBER(type, member), RECORD_NAMED(array)           \
	}

/* With the start time a pid names one process for ever. */
#define CHILD_FIELDS(type)                                                                         \
	{                                                                                          \
		{"pid", RECORD_NUMBER, RECORD_MEMBER(type, child), .minimum = 1,                   \
			.maximum = INT_MAX},                                                       \
			{"start_time", RECORD_NUMBER, RECORD_MEMBER(type, child_start_time),       \
				.maximum = INT64_MAX},                                             \
	}

static const struct record_field loan_child_fields[] = CHILD_FIELDS(struct loan);
static const struct record_field step_child_fields[] = CHILD_FIELDS(struct step);
static const struct record_format loan_child_format = {RECORD_FIELDS(loan_child_fields)};
static const struct record_format step_child_format = {RECORD_FIELDS(step_child_fields)};

static const struct record_field owner_fields[] = {
	CHOICE(struct loan_owner, kind, kind_names),
	{"vmid", RECORD_NUMBER, RECORD_MEMBER(struct loan_owner, vmid), .maximum = INT32_MAX,
		.is_there = owner_is_vm},
	{"iommu_group", RECORD_NUMBER, RECORD_MEMBER(struct loan_owner, iommu_group),
		.maximum = INT32_MAX, .is_there = owner_is_hand},
};
static const struct record_format owner_format = {RECORD_FIELDS(owner_fields)};

static const struct record_field function_fields[] = {
	{"address", RECORD_TEXT, RECORD_MEMBER(struct loan_function, address), .required = true},
	TEXT(struct loan_function, identity),
	NUMBER(struct loan_function, iommu_group, PCI_NO_GROUP, INT32_MAX),
	TEXT(struct loan_function, home_driver),
	TEXT(struct loan_function, home_module),
	TEXT(struct loan_function, driver_override),
	TEXT(struct loan_function, target),
	TEXT(struct loan_function, nodes),
	CHOICE(struct loan_function, use, use_names),
	{"boot_display", RECORD_NUMBER, RECORD_MEMBER(struct loan_function, boot_display),
		.maximum = 1, .is_there = function_is_boot_display},
	{"slow_deadline_ms", RECORD_NUMBER, RECORD_MEMBER(struct loan_function, slow_deadline_ms),
		.maximum = INT32_MAX, .is_there = function_is_slow},
	{"waits_forever", RECORD_NUMBER, RECORD_MEMBER(struct loan_function, waits_forever),
		.maximum = 1, .is_there = function_waits_forever},
};
static const struct record_format function_format = {RECORD_FIELDS(function_fields),
	.size = sizeof(struct loan_function), .record = offsetof(struct loan_function, record)};

static const struct record_field step_fields[] = {
	TEXT(struct step, operation),
	TEXT(struct step, subject),
	TEXT(struct step, argument),
	TEXT(struct step, original),
	CHOICE(struct step, state, step_names),
	{"write_deadline_ms", RECORD_NUMBER, RECORD_MEMBER(struct step, write_deadline_ms),
		.maximum = INT32_MAX, .is_there = step_has_deadline},
	{"child", RECORD_OBJECT, .format = &step_child_format, .is_there = step_has_child},
};
static const struct record_format step_format = {RECORD_FIELDS(step_fields),
	.size = sizeof(struct step), .record = offsetof(struct step, record)};

static const struct record_field loan_fields[] = {
	{"owner", RECORD_OBJECT, RECORD_MEMBER(struct loan, owner), .required = true,
		.format = &owner_format},
	CHOICE(struct loan, state, state_names),
	{"has_started", RECORD_NUMBER, RECORD_MEMBER(struct loan, has_started), .maximum = 1,
		.is_there = loan_has_started},
	TEXT(struct loan, since),
	NUMBER(struct loan, write_deadline_ms, 0, INT32_MAX),
	NUMBER(struct loan, return_wait_ms, 0, INT32_MAX),
	{"child", RECORD_OBJECT, .format = &loan_child_format, .is_there = loan_has_child},
	{"functions", RECORD_LIST, RECORD_MEMBER(struct loan, functions),
		.count = offsetof(struct loan, function_count), .format = &function_format},
	{"steps", RECORD_LIST, RECORD_MEMBER(struct loan, steps.items),
		.count = offsetof(struct loan, steps.count), .format = &step_format},
};

static int check_addresses(const void *record, struct error *error)
{
	const struct loan *loan = record;

	for (size_t i = 0; i < loan->function_count; i++) {
		const char *address = loan->functions[i].address;
		char device[PCI_ADDRESS_SIZE];

		if (pci_device_parse(address, device, sizeof(device)) < 0 ||
			strcmp(device, address) != 0)
			return error_set(error, -EBADMSG, "'%s' is not a PCI address", address);
	}
	return 0;
}

static const struct record_format loan_record = {RECORD_FIELDS(loan_fields),
	.size = sizeof(struct loan), .record = offsetof(struct loan, record), .schema = LOAN_SCHEMA,
	.max = LOAN_FILE_MAX, .check = check_addresses};

const char *loan_state_name(enum loan_state state)
{
	return state_names[state];
}

int loan_parse(const char *text, struct loan *ret, struct error *error)
{
	cleanup(loan_done) struct loan loan = {0};
	int r = record_parse(&loan_record, text, &loan, error);

	if (r < 0)
		return r;
	*ret = loan;
	loan = (struct loan){0};
	return 0;
}

int loan_format(const struct loan *loan, char **ret_text, struct error *error)
{
	return record_write(&loan_record, loan, ret_text, error);
}

int loan_write(const struct root *root, const struct loan *loan, struct error *error)
{
	auto_free char *text = NULL;
	char path[PATH_MAX];
	int r;

	owner_path(&loan->owner, path, sizeof(path));
	r = folder_make(root, LOAN_FOLDER, 0755, error);
	if (r == 0)
		r = loan_format(loan, &text, error);
	if (r == 0)
		r = file_replace(root, path, 0644, text, error);
	return r < 0 ? error_wrap(error, r, "record the loan") : 0;
}

const struct step *loan_find_stuck(const struct loan *loan, const char *address)
{
	for (size_t i = 0; i < loan->steps.count; i++) {
		const struct step *step = &loan->steps.items[i];

		if (step->state == STEP_STUCK && (!address || strcmp(step->subject, address) == 0))
			return step;
	}
	return NULL;
}

bool loan_is_busy(const struct root *root, const struct loan *loan)
{
	return loan->child && process_is_alive(root, loan->child, loan->child_start_time);
}

int loan_await(const struct root *root, const struct loan *loan, unsigned int deadline_ms)
{
	struct pollfd polled = {.events = POLLIN};
	auto_close int fd = -1;

	if (!loan_is_busy(root, loan))
		return 0;
	fd = (int)syscall(SYS_pidfd_open, loan->child, 0);
	polled.fd = fd;
	/* checked again now that we hold it: meanwhile the number may belong to another process */
	if (fd >= 0 && loan_is_busy(root, loan))
		poll(&polled, 1, (int)deadline_ms);
	return loan_is_busy(root, loan) ? -EBUSY : 0;
}

int loan_remove(const struct root *root, const struct loan_owner *owner, struct error *error)
{
	char path[PATH_MAX];

	owner_path(owner, path, sizeof(path));
	/* temporary files of hooks that were killed while they wrote it */
	file_sweep(root, path);
	return file_remove(root, path, error);
}

/* A write may have come back when the process that would have recorded it was gone. */
static void mark_returned(const struct root *root, struct loan *loan)
{
	for (size_t i = 0; i < loan->steps.count; i++) {
		struct step *step = &loan->steps.items[i];

		if (step->state != STEP_STUCK ||
			process_is_alive(root, step->child, step->child_start_time))
			continue;
		step->state = STEP_STARTED;
		step->child = 0;
	}
	if (loan->state == LOAN_OVERDUE && !loan_find_stuck(loan, NULL))
		loan->state = LOAN_OWED;
}

void loan_set_overdue(struct loan *loan, struct step *step)
{
	loan->state = LOAN_OVERDUE;
	step->state = STEP_STUCK;
	step->child = loan->child;
	step->child_start_time = loan->child_start_time;
	loan->child = 0;
}

/* The process that would have marked the write as overdue was killed. The file is written right
 * before each write, so its age is that of the write. Of the steps that were begun the first one is
 * under way: an undo goes backwards, past those that failed. */
static void mark_overdue(const struct root *root, const char *path, struct loan *loan)
{
	struct step *step = loan->steps.items;
	const struct step *end = step + loan->steps.count;

	while (step < end && step->state != STEP_STARTED)
		step++;
	if (step == end || !step->write_deadline_ms || !loan_is_busy(root, loan) ||
		file_age_seconds(root, path) * 1000 <= step->write_deadline_ms)
		return;
	loan_set_overdue(loan, step);
}

static int read_file(
	const struct root *root, const char *path, struct loan *ret, struct error *error)
{
	auto_free char *text = NULL;
	char expected[PATH_MAX];
	int r = record_read_file(root, path, &loan_record, &text, error);

	if (r < 0)
		return r;
	r = loan_parse(text, ret, error);
	if (r < 0)
		return error_wrap(error, r, "read the loan /%s", path);
	owner_path(&ret->owner, expected, sizeof(expected));
	if (strcmp(expected, path) != 0) {
		loan_done(ret);
		return error_set(error, -EBADMSG,
			"read the loan /%s: it names another owner than its file's name", path);
	}
	if (root->live) {
		mark_returned(root, ret);
		mark_overdue(root, path, ret);
	}
	return 0;
}

int loan_read(const struct root *root, const struct loan_owner *owner, struct loan *ret,
	struct error *error)
{
	char path[PATH_MAX];

	owner_path(owner, path, sizeof(path));
	return read_file(root, path, ret, error);
}

static bool is_loan_name(const char *name)
{
	size_t length = strlen(name);

	return name[0] != '.' && length > 5 && strcmp(name + length - 5, ".json") == 0;
}

static int add_loan(struct loans *loans, const struct loan *loan)
{
	struct loan *place = LIST_ADD(loans->items, loans->count);

	if (!place)
		return -ENOMEM;
	*place = *loan;
	return 0;
}

static int read_into(const struct root *root, const char *name, struct loans *loans)
{
	struct error error = {0};
	char path[PATH_MAX];
	struct loan loan;
	int r;

	snprintf(path, sizeof(path), LOAN_FOLDER "/%s", name);
	r = read_file(root, path, &loan, &error);
	/* -ENOENT: it was given back between the listing and the reading */
	if (r < 0 && r != -ENOENT && loans->unreadable.status == 0)
		loans->unreadable = error;
	if (r < 0)
		return 0;
	r = add_loan(loans, &loan);
	if (r < 0)
		loan_done(&loan);
	return r;
}

int loans_read(const struct root *root, struct loans *ret, struct error *error)
{
	cleanup(names_done) struct names names = {0};
	struct loans loans = {0};
	int r = folder_list(root, LOAN_FOLDER, &names);

	if (r < 0 && r != -ENOENT)
		return error_set_errno(error, r, "list the loans in /" LOAN_FOLDER);
	for (size_t i = 0; i < names.count; i++) {
		if (is_loan_name(names.names[i]) && read_into(root, names.names[i], &loans) < 0) {
			loans_done(&loans);
			return error_set_errno(error, -ENOMEM, "read the loans");
		}
	}
	*ret = loans;
	return 0;
}

int loans_check(const struct loans *loans, struct error *error)
{
	if (loans->unreadable.status < 0)
		*error = loans->unreadable;
	return loans->unreadable.status;
}

int loans_notify(const struct root *root, int notify)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/" LOAN_FOLDER, root->fd);
	return inotify_add_watch(notify, path, IN_MOVED_TO | IN_DELETE) < 0 ? -errno : 0;
}

void loans_done(struct loans *loans)
{
	for (size_t i = 0; i < loans->count; i++)
		loan_done(&loans->items[i]);
	free(loans->items);
	*loans = (struct loans){0};
}

void loans_mark_boot_displays(const struct loans *loans, struct pci_functions *functions)
{
	for (size_t i = 0; i < functions->count; i++) {
		struct pci_function *function = &functions->items[i];

		for (size_t k = 0; k < loans->count; k++) {
			const struct loan_function *lent =
				loan_find(&loans->items[k], function->address);

			if (lent && lent->boot_display)
				function->boot_display = true;
		}
	}
}

const struct loan *loans_find(const struct loans *loans, const char *address)
{
	for (size_t i = 0; i < loans->count; i++) {
		const struct loan_function *function = loan_find(&loans->items[i], address);

		if (function && function->use != LOAN_ALTERNATIVE)
			return &loans->items[i];
	}
	return NULL;
}

const struct loan *loans_find_user(const struct loans *loans, const char *address)
{
	const struct loan *found = loans_find(loans, address);

	for (size_t i = 0; i < loans->count; i++) {
		const struct loan *loan = &loans->items[i];
		const struct loan_function *function = loan_find(loan, address);

		if (loan->owner.kind == LOAN_OWNER_VM && function &&
			function->use != LOAN_ALTERNATIVE)
			return loan;
	}
	return found;
}

const struct loan *loans_find_owner(const struct loans *loans, const struct loan_owner *owner)
{
	for (size_t i = 0; i < loans->count; i++) {
		if (loan_owner_equal(&loans->items[i].owner, owner))
			return &loans->items[i];
	}
	return NULL;
}
