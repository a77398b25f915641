/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Prints tables that fit the terminal. */

#include "table.h"

#include "kmod-helper/base/cleanup.h"
#include "kmod-helper/base/list.h"
#include "output.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LEFT_OUT (-1) /* the width of a column that is not shown */
#define GAP 2

int table_init(struct table *table, const struct table_column *columns, size_t column_count)
{
	int r = 0;

	*table = (struct table){.columns = columns, .column_count = column_count};
	for (size_t i = 0; r == 0 && i < column_count; i++)
		r = table_add(table, "%s", columns[i].head);
	return r;
}

int table_add(struct table *table, const char *format, ...)
{
	struct table_cell *cell = LIST_ADD(table->cells, table->count);
	va_list arguments;

	if (!cell)
		return -ENOMEM;
	*cell = (struct table_cell){0};
	va_start(arguments, format);
	cell->text = output_format(format, arguments);
	va_end(arguments);
	if (cell->text)
		return 0;
	table->count--;
	return -ENOMEM;
}

void table_paint(struct table *table, const char *colour)
{
	if (table->count)
		table->cells[table->count - 1].colour = colour;
}

bool table_has_rows(const struct table *table)
{
	return table->count > table->column_count;
}

static void measure(const struct table *table, int *widths)
{
	for (size_t i = 0; i < table->count; i++) {
		int *width = &widths[i % table->column_count];
		int columns = text_columns(table->cells[i].text);

		if (columns > *width)
			*width = columns;
	}
}

/* What the table takes; @cut: when all that may be cut is cut. */
static int total(const struct table *table, const int *widths, bool cut)
{
	int sum = -GAP;

	for (size_t i = 0; i < table->column_count; i++) {
		int least = table->columns[i].cut_to;

		if (widths[i] != LEFT_OUT)
			sum += GAP + (cut && least && widths[i] > least ? least : widths[i]);
	}
	return sum;
}

static size_t find_leaving(const struct table *table, int order)
{
	size_t i = 0;

	while (i < table->column_count && table->columns[i].leave != order)
		i++;
	return i;
}

/* The widest of those that may be cut; NULL: none is left. */
static int *find_widest(const struct table *table, int *widths)
{
	int *widest = NULL;

	for (size_t i = 0; i < table->column_count; i++) {
		int least = table->columns[i].cut_to;

		if (least && widths[i] > least && (!widest || widths[i] >= *widest))
			widest = &widths[i];
	}
	return widest;
}

static void fit(const struct table *table, int *widths, int screen)
{
	int *widest;

	for (int order = 1; total(table, widths, true) > screen; order++) {
		size_t i = find_leaving(table, order);

		if (i == table->column_count)
			break;
		widths[i] = LEFT_OUT;
	}
	while (total(table, widths, false) > screen && (widest = find_widest(table, widths)))
		(*widest)--;
}

static void print_cell(const struct table_cell *cell, int width, bool last, bool coloured)
{
	int columns;

	coloured = coloured && cell->colour;
	screen_paint(coloured, cell->colour);
	columns = screen_print(cell->text, width);
	screen_paint(coloured, NULL);
	for (int i = columns; !last && i < width + GAP; i++)
		putchar(' ');
}

int table_print(const struct table *table, const struct context *context, struct error *error)
{
	auto_free int *widths = calloc(table->column_count + 1, sizeof(*widths));
	bool coloured = screen_has_colours(context);
	int screen = table->columns ? screen_columns() : 0;
	size_t last = table->column_count - 1;

	if (!widths)
		return error_set_errno(error, -ENOMEM, "format the output");
	measure(table, widths);
	if (screen)
		fit(table, widths, screen);
	while (last && widths[last] == LEFT_OUT)
		last--;
	for (size_t i = 0; i < table->count; i++) {
		size_t column = i % table->column_count;

		if (widths[column] != LEFT_OUT)
			print_cell(&table->cells[i], widths[column], column == last, coloured);
		if (column == last)
			putchar('\n');
	}
	return output_flush(error);
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i].text);
	free(table->cells);
	*table = (struct table){0};
}
