#include "tests/unit/stream_tables.h"

static bool get_string(void *arg, uint32_t id, struct stream_string *ret)
{
	*ret = ((const struct stream_tables *)arg)->strings[id];
	return true;
}

static bool get_function(void *arg, uint32_t id, struct stream_function *ret)
{
	*ret = ((const struct stream_tables *)arg)->functions[id];
	return true;
}

static bool get_frame(void *arg, uint32_t id, struct stream_frame *ret)
{
	*ret = ((const struct stream_tables *)arg)->frames[id];
	return true;
}

static bool get_stack(void *arg, uint32_t id, struct stream_stack *ret)
{
	*ret = ((const struct stream_tables *)arg)->stacks[id];
	return true;
}

static bool get_thread(void *arg, uint32_t id, struct stream_thread *ret)
{
	*ret = ((const struct stream_tables *)arg)->threads[id];
	return true;
}

struct stream_definitions stream_tables_definitions(struct stream_tables *t)
{
	return (struct stream_definitions){.arg = t,
					   .string = get_string,
					   .function = get_function,
					   .frame = get_frame,
					   .stack = get_stack,
					   .thread = get_thread};
}
