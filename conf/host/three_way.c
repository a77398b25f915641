/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Compares texts line by line: shows a diff, and undoes one change in a text that has changed
 * since. */

#include "three_way.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The most cells in the table of a comparison: 32 MiB. */
#define MAX_CELLS (8u * 1024 * 1024)

#define CONTEXT_LINES 3

/* A text cut into lines, or into words. */
struct piece {
	const char *start;
	size_t length;
};

struct pieces {
	struct piece *items;
	size_t count;
};

typedef size_t (*piece_length)(const char *text);

static void pieces_done(struct pieces *pieces)
{
	free(pieces->items);
}

static size_t line_length(const char *text)
{
	size_t length = strcspn(text, "\n");

	return length + (text[length] == '\n');
}

/* The length of a piece: one quote or newline, or a word with the blanks before it. */
static size_t word_length(const char *text)
{
	size_t blanks = strspn(text, " \t");
	size_t length = strcspn(text + blanks, " \t\n'\"");

	return length || blanks ? blanks + length : 1;
}

static int pieces_split(const struct piece *text, piece_length length_of, struct pieces *ret)
{
	const char *position = text->start;
	const char *end = text->start + text->length;
	/* a piece has at least one byte; one more item, so that the list is never NULL */
	struct piece *items = calloc(text->length + 1, sizeof(*items));

	if (!items)
		return -ENOMEM;
	ret->items = items;
	while (position < end) {
		size_t length = length_of(position);
		size_t left = (size_t)(end - position);

		items[ret->count].start = position;
		items[ret->count].length = length < left ? length : left;
		position += items[ret->count++].length;
	}
	return 0;
}

static bool piece_equal(const struct piece *left, const struct piece *right)
{
	return left->length == right->length &&
		memcmp(left->start, right->start, left->length) == 0;
}

/* The text of the pieces from @first up to, but without, @last: they are adjacent in memory. */
static struct piece pieces_range(const struct pieces *pieces, size_t first, size_t last)
{
	struct piece none = {.start = "", .length = 0};

	if (first >= last)
		return none;
	return (struct piece){
		.start = pieces->items[first].start,
		.length = (size_t)(pieces->items[last - 1].start - pieces->items[first].start) +
			pieces->items[last - 1].length,
	};
}

/* base[base_start, base_end) became other[start, end). */
struct hunk {
	size_t base_start, base_end;
	size_t start, end;
};

struct hunks {
	struct hunk *items;
	size_t count;
};

static void hunks_done(struct hunks *hunks)
{
	free(hunks->items);
}

/* Adds a hunk, or extends the last one when it ends where this one begins. */
static int hunks_add(struct hunks *hunks, const struct hunk *hunk)
{
	struct hunk *last = hunks->count ? &hunks->items[hunks->count - 1] : NULL;
	struct hunk *place;

	if (last && last->base_end == hunk->base_start && last->end == hunk->start) {
		last->base_end = hunk->base_end;
		last->end = hunk->end;
		return 0;
	}
	place = LIST_ADD(hunks->items, hunks->count);
	if (!place)
		return -ENOMEM;
	*place = *hunk;
	return 0;
}

/* What is left of two texts when their common beginning and end are cut off. */
struct middle {
	const struct piece *base, *other;
	size_t skipped; /* pieces cut off at the start */
	size_t base_count, other_count;
};

static struct middle middle_find(const struct pieces *base, const struct pieces *other)
{
	struct middle middle = {.base_count = base->count, .other_count = other->count};

	while (middle.skipped < base->count && middle.skipped < other->count &&
		piece_equal(&base->items[middle.skipped], &other->items[middle.skipped]))
		middle.skipped++;
	while (middle.base_count > middle.skipped && middle.other_count > middle.skipped &&
		piece_equal(&base->items[middle.base_count - 1],
			&other->items[middle.other_count - 1])) {
		middle.base_count--;
		middle.other_count--;
	}
	middle.base_count -= middle.skipped;
	middle.other_count -= middle.skipped;
	middle.base = base->items + middle.skipped;
	middle.other = other->items + middle.skipped;
	return middle;
}

/* The lengths of longest common subsequences, from each place to the end. */
static uint32_t *middle_lengths(const struct middle *middle)
{
	size_t width = middle->other_count + 1;
	uint32_t *lengths = calloc((middle->base_count + 1) * width, sizeof(*lengths));

	if (!lengths)
		return NULL;
	for (size_t i = middle->base_count; i-- > 0;) {
		for (size_t k = middle->other_count; k-- > 0;) {
			uint32_t below = lengths[(i + 1) * width + k];
			uint32_t beside = lengths[i * width + k + 1];

			lengths[i * width + k] = piece_equal(&middle->base[i], &middle->other[k])
				? lengths[(i + 1) * width + k + 1] + 1
				: (below > beside ? below : beside);
		}
	}
	return lengths;
}

static int middle_walk(const struct middle *middle, const uint32_t *lengths, struct hunks *ret)
{
	size_t width = middle->other_count + 1;
	size_t i = 0, k = 0;
	int r = 0;

	while (r == 0 && (i < middle->base_count || k < middle->other_count)) {
		bool in_both = i < middle->base_count && k < middle->other_count;
		struct hunk hunk = {i + middle->skipped, i + middle->skipped, k + middle->skipped,
			k + middle->skipped};

		if (in_both && piece_equal(&middle->base[i], &middle->other[k])) {
			i++;
			k++;
			continue;
		}
		if (k == middle->other_count ||
			(in_both && lengths[(i + 1) * width + k] >= lengths[i * width + k + 1])) {
			hunk.base_end++;
			i++;
		} else {
			hunk.end++;
			k++;
		}
		r = hunks_add(ret, &hunk);
	}
	return r;
}

static int hunks_find(const struct pieces *base, const struct pieces *other, struct hunks *ret)
{
	struct middle middle = middle_find(base, other);
	auto_free uint32_t *lengths = NULL;

	if ((middle.base_count + 1) * (middle.other_count + 1) > MAX_CELLS)
		return -EFBIG;
	lengths = middle_lengths(&middle);
	return lengths ? middle_walk(&middle, lengths, ret) : -ENOMEM;
}

/* ---- showing */

static void print_piece(FILE *stream, char mark, const struct piece *piece)
{
	bool whole = piece->length && piece->start[piece->length - 1] == '\n';

	fputc(mark, stream);
	fwrite(piece->start, 1, piece->length, stream);
	if (!whole)
		fputs("\n\\ No newline at end of file\n", stream);
}

static void print_pieces(
	FILE *stream, char mark, const struct pieces *pieces, size_t first, size_t last)
{
	for (size_t i = first; i < last; i++)
		print_piece(stream, mark, &pieces->items[i]);
}

/* "12,3", as diff writes it: an empty range names the line before it. */
static void print_range(FILE *stream, char mark, size_t first, size_t last)
{
	fprintf(stream, " %c%zu", mark, last > first ? first + 1 : first);
	if (last - first != 1)
		fprintf(stream, ",%zu", last - first);
}

struct comparison {
	struct pieces base, other;
	struct hunks hunks;
};

static void comparison_done(struct comparison *comparison)
{
	pieces_done(&comparison->base);
	pieces_done(&comparison->other);
	hunks_done(&comparison->hunks);
}

static int compare(const struct piece *base, const struct piece *other, piece_length length_of,
	struct comparison *ret)
{
	int r = pieces_split(base, length_of, &ret->base);

	if (r == 0)
		r = pieces_split(other, length_of, &ret->other);
	if (r == 0)
		r = hunks_find(&ret->base, &ret->other, &ret->hunks);
	return r;
}

/* Hunks whose context lines would touch are shown as one group. Returns the index after its last
 * hunk. */
static size_t group_end(const struct hunks *hunks, size_t first)
{
	size_t next = first + 1;

	while (next < hunks->count &&
		hunks->items[next].base_start - hunks->items[next - 1].base_end <=
			2 * CONTEXT_LINES)
		next++;
	return next;
}

static void print_group(
	FILE *stream, const struct comparison *comparison, size_t first, size_t next)
{
	const struct hunk *hunks = comparison->hunks.items;
	const struct hunk *last = &hunks[next - 1];
	size_t before =
		hunks[first].base_start < CONTEXT_LINES ? hunks[first].base_start : CONTEXT_LINES;
	size_t after = comparison->base.count - last->base_end;
	size_t position = hunks[first].base_start - before;

	after = after < CONTEXT_LINES ? after : CONTEXT_LINES;
	fputs("@@", stream);
	print_range(stream, '-', position, last->base_end + after);
	print_range(stream, '+', hunks[first].start - before, last->end + after);
	fputs(" @@\n", stream);
	for (size_t i = first; i < next; i++) {
		print_pieces(stream, ' ', &comparison->base, position, hunks[i].base_start);
		print_pieces(
			stream, '-', &comparison->base, hunks[i].base_start, hunks[i].base_end);
		print_pieces(stream, '+', &comparison->other, hunks[i].start, hunks[i].end);
		position = hunks[i].base_end;
	}
	print_pieces(stream, ' ', &comparison->base, position, position + after);
}

static struct piece whole(const char *text)
{
	return (struct piece){.start = text ? text : "", .length = text ? strlen(text) : 0};
}

static void print_head(FILE *stream, const char *path, const char *before, const char *after)
{
	fprintf(stream, "--- %s%s\n", before ? "/" : "/dev/null", before ? path : "");
	fprintf(stream, "+++ %s%s\n", after ? "/" : "/dev/null", after ? path : "");
}

int revision_diff(
	const char *path, const char *before, const char *after, char **ret, struct error *error)
{
	cleanup(comparison_done) struct comparison comparison = {0};
	struct piece base = whole(before), other = whole(after);
	int r = compare(&base, &other, line_length, &comparison);
	char *text = NULL;
	size_t size, next;
	FILE *stream;

	if (r < 0)
		return error_set_errno(error, r, "compare the versions of /%s", path);
	stream = open_memstream(&text, &size);
	if (!stream)
		return error_set_errno(error, -ENOMEM, "compare the versions of /%s", path);
	if (comparison.hunks.count || !before != !after)
		print_head(stream, path, before, after);
	for (size_t i = 0; i < comparison.hunks.count; i = next) {
		next = group_end(&comparison.hunks, i);
		print_group(stream, &comparison, i, next);
	}
	if (fclose(stream) == EOF || !text) {
		free(text);
		return error_set_errno(error, -ENOMEM, "compare the versions of /%s", path);
	}
	*ret = text;
	return 0;
}

/* ---- taking back */

/* Two sets of changes to one base, the text that we wrote: "theirs" leads to the current text,
 * "ours" back to the original. Both are applied. */
struct merge {
	struct comparison theirs, ours;
	FILE *stream;
	size_t position; /* in the base; all before it has been written */
	size_t their_next, our_next;
};

static void merge_done(struct merge *merge)
{
	comparison_done(&merge->theirs);
	comparison_done(&merge->ours);
}

static void write_piece(FILE *stream, struct piece piece)
{
	fwrite(piece.start, 1, piece.length, stream);
}

static const struct hunk *next_of(const struct comparison *comparison, size_t next)
{
	return next < comparison->hunks.count ? &comparison->hunks.items[next] : NULL;
}

static bool overlap(const struct hunk *left, const struct hunk *right)
{
	return left->base_start < right->base_end && right->base_start < left->base_end;
}

static bool is_same_change(
	const struct merge *merge, const struct hunk *theirs, const struct hunk *ours)
{
	struct piece left = pieces_range(&merge->theirs.other, theirs->start, theirs->end);
	struct piece right = pieces_range(&merge->ours.other, ours->start, ours->end);

	return theirs->base_start == ours->base_start && theirs->base_end == ours->base_end &&
		piece_equal(&left, &right);
}

static void take_hunk(struct merge *merge, const struct comparison *from, const struct hunk *hunk)
{
	write_piece(merge->stream, pieces_range(&from->base, merge->position, hunk->base_start));
	write_piece(merge->stream, pieces_range(&from->other, hunk->start, hunk->end));
	merge->position = hunk->base_end;
}

/* The hunk that begins first comes first. At the same place an insertion comes first, and of two
 * insertions ours. */
static bool is_ours_next(const struct hunk *theirs, const struct hunk *ours)
{
	if (!theirs || !ours)
		return !theirs;
	if (theirs->base_start != ours->base_start)
		return ours->base_start < theirs->base_start;
	return ours->base_end == ours->base_start || theirs->base_end != theirs->base_start;
}

/* The part of @comparison's other text that stands for base[start, end). No hunk crosses these
 * limits. */
static struct piece other_part(const struct comparison *comparison, size_t first_hunk,
	size_t last_hunk, size_t start, size_t end)
{
	const struct hunk *first = &comparison->hunks.items[first_hunk];
	const struct hunk *last = &comparison->hunks.items[last_hunk - 1];

	return pieces_range(&comparison->other, first->start - (first->base_start - start),
		last->end + (end - last->base_end));
}

static int merge_pieces(const struct piece *written, const struct piece *current,
	const struct piece *original, bool by_words, FILE *stream, size_t *ret_line);

/* Extends @region by the next hunk of @comparison, if they overlap. Returns whether they did. */
static bool region_grow(struct hunk *region, const struct comparison *comparison, size_t *next)
{
	const struct hunk *hunk = next_of(comparison, *next);

	if (!hunk || !overlap(hunk, region))
		return false;
	if (hunk->base_start < region->base_start)
		region->base_start = hunk->base_start;
	if (hunk->base_end > region->base_end)
		region->base_end = hunk->base_end;
	(*next)++;
	return true;
}

/* Takes the overlapping hunks of both sides, from their next ones on, as one region, and merges
 * that again by words. */
static int merge_collision(
	struct merge *merge, const struct hunk *theirs, bool by_words, size_t *ret_line)
{
	size_t their_first = merge->their_next, our_first = merge->our_next;
	struct hunk region = *theirs;
	struct piece written, current, original;
	size_t ignored = 0;

	*ret_line = theirs->start;
	if (by_words)
		return -EUCLEAN;
	merge->their_next++;
	while (region_grow(&region, &merge->ours, &merge->our_next) ||
		region_grow(&region, &merge->theirs, &merge->their_next))
		;
	write_piece(merge->stream,
		pieces_range(&merge->theirs.base, merge->position, region.base_start));
	merge->position = region.base_end;
	written = pieces_range(&merge->theirs.base, region.base_start, region.base_end);
	current = other_part(
		&merge->theirs, their_first, merge->their_next, region.base_start, region.base_end);
	original = other_part(
		&merge->ours, our_first, merge->our_next, region.base_start, region.base_end);
	return merge_pieces(&written, &current, &original, true, merge->stream, &ignored);
}

static int merge_run(struct merge *merge, bool by_words, size_t *ret_line)
{
	const struct hunk *theirs = next_of(&merge->theirs, merge->their_next);
	const struct hunk *ours = next_of(&merge->ours, merge->our_next);
	int r = 0;

	while (r == 0 && (theirs || ours)) {
		if (theirs && ours && is_same_change(merge, theirs, ours)) {
			take_hunk(merge, &merge->theirs, theirs);
			merge->their_next++;
			merge->our_next++;
		} else if (theirs && ours && overlap(theirs, ours)) {
			r = merge_collision(merge, theirs, by_words, ret_line);
		} else if (is_ours_next(theirs, ours)) {
			take_hunk(merge, &merge->ours, ours);
			merge->our_next++;
		} else {
			take_hunk(merge, &merge->theirs, theirs);
			merge->their_next++;
		}
		theirs = next_of(&merge->theirs, merge->their_next);
		ours = next_of(&merge->ours, merge->our_next);
	}
	write_piece(merge->stream,
		pieces_range(&merge->theirs.base, merge->position, merge->theirs.base.count));
	return r;
}

static int merge_pieces(const struct piece *written, const struct piece *current,
	const struct piece *original, bool by_words, FILE *stream, size_t *ret_line)
{
	piece_length length_of = by_words ? word_length : line_length;
	cleanup(merge_done) struct merge merge = {.stream = stream};
	int r = compare(written, current, length_of, &merge.theirs);

	if (r == 0)
		r = compare(written, original, length_of, &merge.ours);
	return r < 0 ? r : merge_run(&merge, by_words, ret_line);
}

int revision_revert(const char *original, const char *written, const char *current, char **ret,
	struct error *error)
{
	struct piece base = whole(written), theirs = whole(current), ours = whole(original);
	auto_free char *text = NULL;
	size_t size, line = 0;
	FILE *stream = open_memstream(&text, &size);
	int r;

	if (!stream)
		return error_set_errno(error, -ENOMEM, "undo a change");
	r = merge_pieces(&base, &theirs, &ours, false, stream, &line);
	if (fclose(stream) == EOF || !text)
		r = -ENOMEM;
	if (r == -EUCLEAN)
		return error_set(error, r,
			"line %zu, or a line next to it, was changed after gpu-ferry had changed "
			"it",
			line + 1);
	if (r < 0)
		return error_set_errno(error, r, "undo a change");
	*ret = TAKE_PTR(text);
	return 0;
}

int revision_remove(const char *written, const char *current, char **ret, struct error *error)
{
	cleanup(comparison_done) struct comparison comparison = {0};
	struct piece base = whole(written), other = whole(current);
	int r = compare(&base, &other, line_length, &comparison);
	char *text = NULL;
	size_t size;
	FILE *stream;

	if (r < 0)
		return error_set_errno(error, r, "remove lines");
	stream = open_memstream(&text, &size);
	if (!stream)
		return error_set_errno(error, -ENOMEM, "remove lines");
	for (size_t i = 0; i < comparison.hunks.count; i++)
		write_piece(stream,
			pieces_range(&comparison.other, comparison.hunks.items[i].start,
				comparison.hunks.items[i].end));
	if (fclose(stream) == EOF || !text) {
		free(text);
		return error_set_errno(error, -ENOMEM, "remove lines");
	}
	*ret = text;
	return 0;
}
