/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Reads, writes and changes loans. */

#include "loan.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "kmod-helper/base/parse.h"
#include "kmod-helper/base/process.h"
#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#define LOAN_FILE_MAX (1u << 20)

static const char *const state_names[] = {"taking", "lent", "returning", "owed", "overdue"};
static const char *const use_names[] = {"taken", "alternative", "borrowed", "static"};
static const char *const step_names[] = {"planned", "started", "done", "stuck"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *loan_state_name(enum loan_state state)
{
	return state_names[state];
}

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

/* Room for that many more, so that what follows cannot fail. */
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
	long iommu_group;    /* or, when that is NULL, this group's */
	bool rest;	     /* and the steps that are no function's */
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

/* In the order of the steps, by which they are undone. */
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

/* ---- reading: every getter leaves @error set and returns negative on a field of the wrong kind */

static int get_text(
	struct json_object *object, const char *key, char *ret, size_t size, struct error *error)
{
	struct json_object *value = json_object_object_get(object, key);
	const char *text = value ? json_object_get_string(value) : "";

	if (value && !json_object_is_type(value, json_type_string))
		return error_set(error, -EBADMSG, "the field '%s' is no text", key);
	if (strlen(text) >= size)
		return error_set(error, -EBADMSG, "the field '%s' is too long", key);
	strcpy(ret, text);
	return 0;
}

static int get_number(struct json_object *object, const char *key, int64_t minimum, int64_t maximum,
	int64_t *ret, struct error *error)
{
	struct json_object *value = json_object_object_get(object, key);
	int64_t number = json_object_get_int64(value);

	if (!json_object_is_type(value, json_type_int) || number < minimum || number > maximum)
		return error_set(error, -EBADMSG, "the field '%s' is no number in its range", key);
	*ret = number;
	return 0;
}

static int get_choice(struct json_object *object, const char *key, const char *const *names,
	size_t count, unsigned int *ret, struct error *error)
{
	char text[32];
	int r = get_text(object, key, text, sizeof(text), error);

	for (unsigned int i = 0; r == 0 && i < count; i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret = i;
			return 0;
		}
	}
	return r < 0 ? r : error_set(error, -EBADMSG, "the field '%s' is unknown: '%s'", key, text);
}

static int get_array(
	struct json_object *object, const char *key, struct json_object **ret, struct error *error)
{
	struct json_object *value = json_object_object_get(object, key);

	if (!json_object_is_type(value, json_type_array))
		return error_set(error, -EBADMSG, "the field '%s' is no list", key);
	*ret = value;
	return 0;
}

static int parse_owner(struct json_object *object, struct loan_owner *ret, struct error *error)
{
	static const char *const kinds[] = {"vm", "hand"};
	struct json_object *owner = json_object_object_get(object, "owner");
	unsigned int kind = 0;
	int64_t number;
	int r;

	if (!json_object_is_type(owner, json_type_object))
		return error_set(error, -EBADMSG, "the field 'owner' is missing");
	r = get_choice(owner, "kind", kinds, COUNT(kinds), &kind, error);
	if (r < 0)
		return r;
	ret->kind = (enum loan_owner_kind)kind;
	r = get_number(owner, ret->kind == LOAN_OWNER_VM ? "vmid" : "iommu_group", 0, INT32_MAX,
		&number, error);
	if (r < 0)
		return r;
	if (ret->kind == LOAN_OWNER_VM)
		ret->vmid = (unsigned int)number;
	else
		ret->iommu_group = (long)number;
	return 0;
}

static int parse_function(
	struct json_object *object, struct loan_function *ret, struct error *error)
{
	char device[PCI_ADDRESS_SIZE];
	unsigned int use = 0;
	int64_t group = 0;
	int r;

	*ret = (struct loan_function){0};
	if (!json_object_is_type(object, json_type_object))
		return error_set(error, -EBADMSG, "a function is no object");
	if ((r = get_text(object, "address", ret->address, sizeof(ret->address), error)) < 0 ||
		(r = get_text(object, "home_driver", ret->home_driver, sizeof(ret->home_driver),
			 error)) < 0 ||
		(r = get_text(object, "home_module", ret->home_module, sizeof(ret->home_module),
			 error)) < 0 ||
		(r = get_text(object, "driver_override", ret->driver_override,
			 sizeof(ret->driver_override), error)) < 0 ||
		(r = get_text(object, "target", ret->target, sizeof(ret->target), error)) < 0 ||
		(r = get_text(object, "nodes", ret->nodes, sizeof(ret->nodes), error)) < 0 ||
		(r = get_number(object, "iommu_group", PCI_NO_GROUP, INT32_MAX, &group, error)) <
			0 ||
		(r = get_choice(object, "use", use_names, COUNT(use_names), &use, error)) < 0)
		return r;
	if (pci_device_parse(ret->address, device, sizeof(device)) < 0 ||
		strcmp(device, ret->address) != 0)
		return error_set(error, -EBADMSG, "'%s' is no PCI address", ret->address);
	ret->iommu_group = (long)group;
	ret->use = (enum loan_use)use;
	ret->record = json_object_get(object);
	return 0;
}

/* null, or {"pid", "start_time"}: with the start time a pid names one process for ever. */
static int parse_child(struct json_object *object, pid_t *ret_pid,
	unsigned long long *ret_start_time, struct error *error)
{
	struct json_object *child = json_object_object_get(object, "child");
	int64_t pid, start;
	int r;

	if (!child)
		return 0;
	r = get_number(child, "pid", 1, INT_MAX, &pid, error);
	if (r == 0)
		r = get_number(child, "start_time", 0, INT64_MAX, &start, error);
	if (r == 0) {
		*ret_pid = (pid_t)pid;
		*ret_start_time = (unsigned long long)start;
	}
	return r;
}

static int parse_step(struct json_object *object, struct step *ret, struct error *error)
{
	unsigned int state = 0;
	int r;

	*ret = (struct step){0};
	if (!json_object_is_type(object, json_type_object))
		return error_set(error, -EBADMSG, "a step is no object");
	if ((r = get_text(object, "operation", ret->operation, sizeof(ret->operation), error)) <
			0 ||
		(r = get_text(object, "subject", ret->subject, sizeof(ret->subject), error)) < 0 ||
		(r = get_text(object, "argument", ret->argument, sizeof(ret->argument), error)) <
			0 ||
		(r = get_text(object, "original", ret->original, sizeof(ret->original), error)) <
			0 ||
		(r = get_choice(object, "state", step_names, COUNT(step_names), &state, error)) <
			0 ||
		(r = parse_child(object, &ret->child, &ret->child_start_time, error)) < 0)
		return r;
	ret->state = (enum step_state)state;
	ret->record = json_object_get(object);
	return 0;
}

static int parse_lists(struct json_object *object, struct loan *loan, struct error *error)
{
	struct json_object *list = NULL;
	struct loan_function function;
	struct step step;
	int r = get_array(object, "functions", &list, error);

	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
		r = parse_function(json_object_array_get_idx(list, i), &function, error);
		if (r == 0)
			r = loan_add_function(loan, &function);
	}
	if (r == 0)
		r = get_array(object, "steps", &list, error);
	for (size_t i = 0; r == 0 && i < json_object_array_length(list); i++) {
		r = parse_step(json_object_array_get_idx(list, i), &step, error);
		if (r == 0 && !steps_add(&loan->steps, &step))
			r = -ENOMEM;
	}
	return r;
}

static int parse_fields(struct json_object *object, struct loan *loan, struct error *error)
{
	const struct {
		const char *key;
		unsigned int *value;
	} deadlines[] = {
		{"write_deadline_ms", &loan->write_deadline_ms},
		{"slow_write_deadline_ms", &loan->slow_write_deadline_ms},
		{"return_wait_ms", &loan->return_wait_ms},
	};
	unsigned int state = 0;
	int64_t number;
	int r = get_number(object, "schema", 1, INT32_MAX, &number, error);

	if (r < 0)
		return r;
	if (number > LOAN_SCHEMA)
		return error_set(error, -EPROTONOSUPPORT,
			"it was written by a newer gpu-ferry (schema %lld, this one knows %d)",
			(long long)number, LOAN_SCHEMA);
	for (size_t i = 0; i < COUNT(deadlines); i++) {
		r = get_number(object, deadlines[i].key, 0, INT32_MAX, &number, error);
		if (r < 0)
			return r;
		*deadlines[i].value = (unsigned int)number;
	}
	if ((r = parse_owner(object, &loan->owner, error)) < 0 ||
		(r = get_choice(object, "state", state_names, COUNT(state_names), &state, error)) <
			0 ||
		(r = get_text(object, "since", loan->since, sizeof(loan->since), error)) < 0 ||
		(r = parse_child(object, &loan->child, &loan->child_start_time, error)) < 0)
		return r;
	loan->state = (enum loan_state)state;
	return parse_lists(object, loan, error);
}

int loan_parse(const char *text, struct loan *ret, struct error *error)
{
	struct json_object *object = json_tokener_parse(text);
	struct loan loan = {0};
	int r;

	if (!json_object_is_type(object, json_type_object)) {
		json_object_put(object);
		return error_set(error, -EBADMSG, "it is no JSON object");
	}
	loan.record = object;
	r = parse_fields(object, &loan, error);
	if (r < 0) {
		loan_done(&loan);
		return r;
	}
	*ret = loan;
	return 0;
}

/* ---- writing */

static void put_text(struct json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, json_object_new_string(text));
}

static void put_number(struct json_object *object, const char *key, int64_t number)
{
	json_object_object_add(object, key, json_object_new_int64(number));
}

/* A copy of what was read, so that the fields we do not know go back into the file. */
static struct json_object *record_copy(struct json_object *record)
{
	struct json_object *copy = NULL;

	if (!record || json_object_deep_copy(record, &copy, NULL) < 0)
		copy = json_object_new_object();
	return copy;
}

static struct json_object *format_owner(const struct loan_owner *owner)
{
	struct json_object *object = json_object_new_object();

	put_text(object, "kind", owner->kind == LOAN_OWNER_VM ? "vm" : "hand");
	if (owner->kind == LOAN_OWNER_VM)
		put_number(object, "vmid", owner->vmid);
	else
		put_number(object, "iommu_group", owner->iommu_group);
	return object;
}

static struct json_object *format_function(const struct loan_function *function)
{
	struct json_object *object = record_copy(function->record);

	put_text(object, "address", function->address);
	put_number(object, "iommu_group", function->iommu_group);
	put_text(object, "home_driver", function->home_driver);
	put_text(object, "home_module", function->home_module);
	put_text(object, "driver_override", function->driver_override);
	put_text(object, "target", function->target);
	put_text(object, "nodes", function->nodes);
	put_text(object, "use", use_names[function->use]);
	return object;
}

static struct json_object *format_child(pid_t pid, unsigned long long start_time)
{
	struct json_object *object;

	if (!pid)
		return NULL;
	object = json_object_new_object();
	put_number(object, "pid", pid);
	put_number(object, "start_time", (int64_t)start_time);
	return object;
}

static struct json_object *format_step(const struct step *step)
{
	struct json_object *object = record_copy(step->record);

	put_text(object, "operation", step->operation);
	put_text(object, "subject", step->subject);
	put_text(object, "argument", step->argument);
	put_text(object, "original", step->original);
	put_text(object, "state", step_names[step->state]);
	json_object_object_add(object, "child", format_child(step->child, step->child_start_time));
	return object;
}

static struct json_object *format_loan(const struct loan *loan)
{
	struct json_object *object = record_copy(loan->record);
	struct json_object *functions = json_object_new_array();
	struct json_object *steps = json_object_new_array();

	put_number(object, "schema", LOAN_SCHEMA);
	json_object_object_add(object, "owner", format_owner(&loan->owner));
	put_text(object, "state", state_names[loan->state]);
	put_text(object, "since", loan->since);
	put_number(object, "write_deadline_ms", loan->write_deadline_ms);
	put_number(object, "slow_write_deadline_ms", loan->slow_write_deadline_ms);
	put_number(object, "return_wait_ms", loan->return_wait_ms);
	json_object_object_add(object, "child", format_child(loan->child, loan->child_start_time));
	for (size_t i = 0; i < loan->function_count; i++)
		json_object_array_add(functions, format_function(&loan->functions[i]));
	for (size_t i = 0; i < loan->steps.count; i++)
		json_object_array_add(steps, format_step(&loan->steps.items[i]));
	json_object_object_add(object, "functions", functions);
	json_object_object_add(object, "steps", steps);
	return object;
}

int loan_format(const struct loan *loan, char **ret_text, struct error *error)
{
	struct json_object *object = format_loan(loan);
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY);
	char *copy = NULL;

	if (text && asprintf(&copy, "%s\n", text) < 0)
		copy = NULL;
	json_object_put(object);
	if (!copy)
		return error_set_errno(error, -ENOMEM, "write down the loan");
	*ret_text = copy;
	return 0;
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
	/* looked at again once it is held: the number may have come round meanwhile */
	if (fd >= 0 && loan_is_busy(root, loan))
		poll(&polled, 1, (int)deadline_ms);
	return loan_is_busy(root, loan) ? -EBUSY : 0;
}

int loan_remove(const struct root *root, const struct loan_owner *owner, struct error *error)
{
	char path[PATH_MAX];

	owner_path(owner, path, sizeof(path));
	/* what hooks that were killed while they wrote it left */
	file_sweep(root, path);
	return file_remove(root, path, error);
}

/* A write may have come back when nobody was left to say so. */
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

/* Units and containers that are stopped wait in no driver. */
static bool waits_in_a_driver(const struct step *step)
{
	return strncmp(step->operation, "stop-", 5) != 0;
}

unsigned int loan_deadline_ms(const struct loan *loan, const struct step *step)
{
	/* i2c_nvidia_gpu ("nvidia-gpu") waits for its USB-C controller: three minutes were seen */
	return strcmp(step->argument, "nvidia-gpu") == 0 ? loan->slow_write_deadline_ms
							 : loan->write_deadline_ms;
}

void loan_set_overdue(struct loan *loan, struct step *step)
{
	loan->state = LOAN_OVERDUE;
	step->state = STEP_STUCK;
	step->child = loan->child;
	step->child_start_time = loan->child_start_time;
	loan->child = 0;
}

/* Who would have said that a write is overdue was killed. The file is written right before each
 * write; of the steps begun the first is in hand, as an undo goes backwards past those that failed.
 */
static void mark_overdue(const struct root *root, const char *path, struct loan *loan)
{
	struct step *step = loan->steps.items;
	const struct step *end = step + loan->steps.count;

	while (step < end && step->state != STEP_STARTED)
		step++;
	if (step == end || !waits_in_a_driver(step) || !loan_is_busy(root, loan) ||
		file_age_seconds(root, path) * 1000 <= loan_deadline_ms(loan, step))
		return;
	loan_set_overdue(loan, step);
}

static int read_file(
	const struct root *root, const char *path, struct loan *ret, struct error *error)
{
	const struct file_read_options options = {.max = LOAN_FILE_MAX, .require_owner = true};
	auto_free char *text = NULL;
	char expected[PATH_MAX];
	int r = file_read(root, path, &options, &text, NULL, error);

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

void loans_done(struct loans *loans)
{
	for (size_t i = 0; i < loans->count; i++)
		loan_done(&loans->items[i]);
	free(loans->items);
	*loans = (struct loans){0};
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
