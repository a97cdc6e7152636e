/* A made-up process whose definitions stand in tables. */
#ifndef PYPROF_TESTS_STREAM_TABLES_H
#define PYPROF_TESTS_STREAM_TABLES_H

#include "formats/stream.h"

/* By id; the first entry of each is of none. Borrowed by the definitions made of it. */
struct stream_tables {
	const struct stream_string *strings;
	const struct stream_function *functions;
	const struct stream_frame *frames;
	const struct stream_stack *stacks;
	const struct stream_thread *threads;
};

/* A string of a table, of a literal. */
#define STREAM_TEXT(literal)                                                                       \
	{                                                                                          \
		literal, sizeof(literal) - 1                                                       \
	}

struct stream_definitions stream_tables_definitions(struct stream_tables *t);

#endif
