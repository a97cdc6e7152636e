/* CPython 3.14: stack references in frames carry tags; the GIL is an int of its own.
 * Source: Include/internal/pycore_debug_offsets.h for the order of the table; the rows, for what
 * the table lacks, from the internal headers; x86-64, release builds. */
#include "remote/layouts/layouts.h"

static const struct layout base = {
	.version = 0x030e0000,
	.free_threaded = false,
	.frame_style = FRAME_STYLE_INTERPRETER,
	.line_style = LINE_STYLE_LOCATIONS,
	.stack_style = STACK_STYLE_POINTER,
	.runtime =
		{
			.interpreters_head = ABSENT,
			.tstate_current = ABSENT,
			.gil_last_holder = ABSENT,
			.gil_locked = ABSENT,
			.gil_switches = ABSENT,
			.gil_cond = ABSENT,
			.gc_collecting = ABSENT,
			.initialized = 776,
			.finalizing = ABSENT,
		},
	.interp =
		{
			.id = ABSENT,
			.next = ABSENT,
			.threads_head = ABSENT,
			.threads_main = ABSENT,
			.gc_collecting = ABSENT,
			.gil = ABSENT,
			.modules = ABSENT,
			.code_object_generation = ABSENT,
			.gc_frame = ABSENT,
			.asyncio_tasks = ABSENT,
		},
	.gil =
		{
			.last_holder = ABSENT,
			.locked = ABSENT,
			.switches = ABSENT,
			.cond = ABSENT,
		},
	.tstate =
		{
			.size = ABSENT,
			.prev = ABSENT,
			.next = ABSENT,
			.interp = ABSENT,
			.frame = ABSENT,
			.cframe = ABSENT,
			.base_frame = ABSENT,
			.thread_id = ABSENT,
			.native_thread_id = ABSENT,
			.datastack_chunk = ABSENT,
			.datastack_top = ABSENT,
			.datastack_limit = ABSENT,
			.status = ABSENT,
			.state = ABSENT,
			.holds_gil = 36,
			.gil_requested = ABSENT,
			.current_exception = 112,
			.exc_info = 120,
			.exc_state = 256,
			.context_ver = ABSENT,
			.dict = ABSENT,
			.asyncio_loop = ABSENT,
			.asyncio_task = ABSENT,
			.asyncio_tasks = ABSENT,
			.status_active_bit = 4,
			.status_holds_gil_bit = ABSENT,
		},
	.err_stackitem =
		{
			.value = 0,
			.previous = 8,
		},
	.cframe =
		{
			.current_frame = ABSENT,
		},
	.chunk =
		{
			.previous = 0,
			.size = 8,
			.top = 16,
			.data = 24,
		},
	.frame =
		{
			.size = ABSENT,
			.previous = ABSENT,
			.executable = ABSENT,
			.instr_ptr = ABSENT,
			.owner = ABSENT,
			.is_entry = ABSENT,
			.stackpointer = ABSENT,
			.valuestack = ABSENT,
			.localsplus = ABSENT,
			.tlbc_index = ABSENT,
			.executable_mask = ~UINT64_C(3),
			.idle = layout_idle_3_14,
			.lasti_unit = ABSENT,
			.generator = ABSENT,
			.instr_back = 0,
			.owner_thread = 0,
			.owner_generator = 1,
			.owner_frame_object = 2,
			.owner_interpreter = 3,
			.owner_cstack = 4,
		},
	.code =
		{
			.size = ABSENT,
			.filename = ABSENT,
			.name = ABSENT,
			.qualname = ABSENT,
			.linetable = ABSENT,
			.firstlineno = ABSENT,
			.argcount = ABSENT,
			.flags = 48,
			.code = ABSENT,
			.firsttraceable = 192,
			.tlbc = ABSENT,
			.co_version = 92,
		},
	.object =
		{
			.size = ABSENT,
			.ob_type = ABSENT,
		},
	.var =
		{
			.ob_size = ABSENT,
		},
	.type =
		{
			.tp_name = ABSENT,
			.tp_basicsize = 32,
			.tp_dictoffset = 288,
			.tp_flags = ABSENT,
			.tp_base = 256,
			.ht_cached_keys = 880,
		},
	.unicode =
		{
			.state = ABSENT,
			.length = ABSENT,
			.ascii_data = ABSENT,
			.compact_data = 56,
			.kind_shift = 2,
			.compact_shift = 5,
			.ascii_shift = 6,
		},
	.bytes =
		{
			.ob_size = ABSENT,
			.ob_sval = ABSENT,
		},
	.tuple =
		{
			.ob_size = ABSENT,
			.ob_item = ABSENT,
		},
	.list =
		{
			.ob_size = ABSENT,
			.ob_item = ABSENT,
		},
	.dict =
		{
			.ma_used = 16,
			.ma_keys = ABSENT,
			.ma_values = ABSENT,
			.keys_header = 32,
			.keys_size = 8,
			.keys_log2_index_bytes = 9,
			.keys_kind = 10,
			.keys_nentries = 24,
		},
	.integer =
		{
			.digits = ABSENT,
			.tag = ABSENT,
		},
	.gen =
		{
			.iframe = ABSENT,
			.frame_state = ABSENT,
			.frame = ABSENT,
			.await_depth = 1,
			.exc_state = ABSENT,
			.created = -3,
			.suspended = -2,
			.yield_from = -1,
			.executing = 0,
			.yield_from_opcodes = {ABSENT, ABSENT},
			.yield_from_arg = ABSENT,
		},
	.task =
		{
			.loop = 16,
			.callback0 = 24,
			.callbacks = 40,
			.state = 104,
			.fut_waiter = 120,
			.coro = ABSENT,
			.name = ABSENT,
			.awaited_by = ABSENT,
			.awaited_by_is_set = ABSENT,
			.node = ABSENT,
		},
	.llist =
		{
			.next = 0,
			.prev = 8,
		},
	.set =
		{
			.used = 24,
			.mask = ABSENT,
			.table = ABSENT,
		},
	.inner =
		{
			.first = 16,
			.method_self = 24,
			.partial_args = 24,
			.function_closure = 72,
			.function_globals = 16,
			.frame_object = 24,
		},
	.gc =
		{
			.generations = 168,
			.permanent = 72,
			.generation_size = 24,
		},
};

static const struct layout base_free_threaded = {
	.version = 0x030e0000,
	.free_threaded = true,
	.frame_style = FRAME_STYLE_INTERPRETER,
	.line_style = LINE_STYLE_LOCATIONS,
	.stack_style = STACK_STYLE_POINTER,
	.runtime =
		{
			.interpreters_head = ABSENT,
			.tstate_current = ABSENT,
			.gil_last_holder = ABSENT,
			.gil_locked = ABSENT,
			.gil_switches = ABSENT,
			.gil_cond = ABSENT,
			.gc_collecting = ABSENT,
			.initialized = 776,
			.finalizing = ABSENT,
		},
	.interp =
		{
			.id = ABSENT,
			.next = ABSENT,
			.threads_head = ABSENT,
			.threads_main = ABSENT,
			.gc_collecting = ABSENT,
			.gil = ABSENT,
			.modules = ABSENT,
			.code_object_generation = ABSENT,
			.gc_frame = ABSENT,
			.asyncio_tasks = ABSENT,
		},
	.gil =
		{
			.last_holder = ABSENT,
			.locked = ABSENT,
			.switches = ABSENT,
			.cond = ABSENT,
		},
	.tstate =
		{
			.size = ABSENT,
			.prev = ABSENT,
			.next = ABSENT,
			.interp = ABSENT,
			.frame = ABSENT,
			.cframe = ABSENT,
			.base_frame = ABSENT,
			.thread_id = ABSENT,
			.native_thread_id = ABSENT,
			.datastack_chunk = ABSENT,
			.datastack_top = ABSENT,
			.datastack_limit = ABSENT,
			.status = ABSENT,
			.state = 44,
			.holds_gil = 36,
			.gil_requested = ABSENT,
			.current_exception = 112,
			.exc_info = 120,
			.exc_state = 256,
			.context_ver = ABSENT,
			.dict = ABSENT,
			.asyncio_loop = ABSENT,
			.asyncio_task = ABSENT,
			.asyncio_tasks = ABSENT,
			.status_active_bit = 4,
			.status_holds_gil_bit = ABSENT,
		},
	.err_stackitem =
		{
			.value = 0,
			.previous = 8,
		},
	.cframe =
		{
			.current_frame = ABSENT,
		},
	.chunk =
		{
			.previous = 0,
			.size = 8,
			.top = 16,
			.data = 24,
		},
	.frame =
		{
			.size = ABSENT,
			.previous = ABSENT,
			.executable = ABSENT,
			.instr_ptr = ABSENT,
			.owner = ABSENT,
			.is_entry = ABSENT,
			.stackpointer = ABSENT,
			.valuestack = ABSENT,
			.localsplus = ABSENT,
			.tlbc_index = ABSENT,
			.executable_mask = ~UINT64_C(1),
			.idle = layout_idle_3_14,
			.lasti_unit = ABSENT,
			.generator = ABSENT,
			.instr_back = 0,
			.owner_thread = 0,
			.owner_generator = 1,
			.owner_frame_object = 2,
			.owner_interpreter = 3,
			.owner_cstack = 4,
		},
	.code =
		{
			.size = ABSENT,
			.filename = ABSENT,
			.name = ABSENT,
			.qualname = ABSENT,
			.linetable = ABSENT,
			.firstlineno = ABSENT,
			.argcount = ABSENT,
			.flags = 64,
			.code = ABSENT,
			.firsttraceable = 208,
			.tlbc = ABSENT,
			.co_version = 108,
		},
	.object =
		{
			.size = ABSENT,
			.ob_type = ABSENT,
		},
	.var =
		{
			.ob_size = ABSENT,
		},
	.type =
		{
			.tp_name = ABSENT,
			.tp_basicsize = 48,
			.tp_dictoffset = 304,
			.tp_flags = ABSENT,
			.tp_base = 272,
			.ht_cached_keys = 896,
		},
	.unicode =
		{
			.state = ABSENT,
			.length = ABSENT,
			.ascii_data = ABSENT,
			.compact_data = 72,
			.kind_shift = 8,
			.compact_shift = 11,
			.ascii_shift = 12,
		},
	.bytes =
		{
			.ob_size = ABSENT,
			.ob_sval = ABSENT,
		},
	.tuple =
		{
			.ob_size = ABSENT,
			.ob_item = ABSENT,
		},
	.list =
		{
			.ob_size = ABSENT,
			.ob_item = ABSENT,
		},
	.dict =
		{
			.ma_used = 32,
			.ma_keys = ABSENT,
			.ma_values = ABSENT,
			.keys_header = 32,
			.keys_size = 8,
			.keys_log2_index_bytes = 9,
			.keys_kind = 10,
			.keys_nentries = 24,
		},
	.integer =
		{
			.digits = ABSENT,
			.tag = ABSENT,
		},
	.gen =
		{
			.iframe = ABSENT,
			.frame_state = ABSENT,
			.frame = ABSENT,
			.await_depth = 1,
			.exc_state = ABSENT,
			.created = -3,
			.suspended = -2,
			.yield_from = -1,
			.executing = 0,
			.yield_from_opcodes = {ABSENT, ABSENT},
			.yield_from_arg = ABSENT,
		},
	.task =
		{
			.loop = 32,
			.callback0 = ABSENT,
			.callbacks = ABSENT,
			.state = ABSENT,
			.fut_waiter = ABSENT,
			.coro = ABSENT,
			.name = ABSENT,
			.awaited_by = ABSENT,
			.awaited_by_is_set = ABSENT,
			.node = ABSENT,
		},
	.llist =
		{
			.next = 0,
			.prev = 8,
		},
	.set =
		{
			.used = 40,
			.mask = ABSENT,
			.table = ABSENT,
		},
	.inner =
		{
			.first = 32,
			.method_self = 40,
			.partial_args = 40,
			.function_closure = 88,
			.function_globals = 32,
			.frame_object = 40,
		},
	.gc =
		{
			.generations = ABSENT,
			.permanent = ABSENT,
			.generation_size = ABSENT,
		},
};

/* The same table in both builds. Indices count words from the cookie on. */
static const struct layout_word words[] = {
	/* runtime_state */
	LAYOUT_SET(4, runtime.finalizing),
	LAYOUT_SET(5, runtime.interpreters_head),
	/* interpreter_state */
	LAYOUT_SET(7, interp.id),
	LAYOUT_SET(8, interp.next),
	LAYOUT_SET(9, interp.threads_head),
	LAYOUT_SET(10, interp.threads_main),
	LAYOUT_SET(11, interp.gc_collecting),
	LAYOUT_SET(12, interp.modules),
	LAYOUT_SET(15, interp.gil),
	LAYOUT_SET(18, gil.locked),
	LAYOUT_SUB(16, gil.locked),
	LAYOUT_SET_BEHIND(18, 8, gil.switches),
	LAYOUT_SUB(16, gil.switches),
	LAYOUT_SET_BEHIND(18, 16, gil.cond),
	LAYOUT_SUB(16, gil.cond),
	LAYOUT_SET(19, gil.last_holder),
	LAYOUT_SUB(16, gil.last_holder),
	LAYOUT_SET(20, interp.code_object_generation),
	/* thread_state */
	LAYOUT_SET(23, tstate.prev),
	LAYOUT_SET(24, tstate.next),
	LAYOUT_SET(25, tstate.interp),
	LAYOUT_SET(26, tstate.frame),
	LAYOUT_SET(27, tstate.thread_id),
	LAYOUT_SET(28, tstate.native_thread_id),
	LAYOUT_SET_BEHIND(29, -16, tstate.context_ver),
	LAYOUT_SET(29, tstate.datastack_chunk),
	LAYOUT_SET_BEHIND(29, 8, tstate.datastack_top),
	LAYOUT_SET_BEHIND(29, 16, tstate.datastack_limit),
	LAYOUT_SET(30, tstate.status),
	/* interpreter_frame */
	LAYOUT_SET(32, frame.previous),
	LAYOUT_SET(33, frame.executable),
	LAYOUT_SET(34, frame.instr_ptr),
	LAYOUT_SET(35, frame.localsplus),
	LAYOUT_SET(36, frame.owner),
	LAYOUT_SET(37, frame.stackpointer),
	LAYOUT_SET_UNLESS_0(38, frame.tlbc_index),
	/* code_object */
	LAYOUT_SET(40, code.filename),
	LAYOUT_SET(41, code.name),
	LAYOUT_SET(42, code.qualname),
	LAYOUT_SET(43, code.linetable),
	LAYOUT_SET(44, code.firstlineno),
	LAYOUT_SET(45, code.argcount),
	LAYOUT_SET(48, code.code),
	LAYOUT_SET_UNLESS_0(49, code.tlbc),
	/* pyobject */
	LAYOUT_SET(50, object.size),
	LAYOUT_SET(51, object.ob_type),
	/* type_object */
	LAYOUT_SET(53, type.tp_name),
	LAYOUT_SET(55, type.tp_flags),
	/* tuple_object */
	LAYOUT_SET(57, tuple.ob_item),
	LAYOUT_SET(58, tuple.ob_size),
	LAYOUT_SET(58, var.ob_size),
	/* list_object */
	LAYOUT_SET(60, list.ob_item),
	LAYOUT_SET(61, list.ob_size),
	/* set_object */
	LAYOUT_SET(64, set.table),
	LAYOUT_SET(65, set.mask),
	/* dict_object */
	LAYOUT_SET(67, dict.ma_keys),
	LAYOUT_SET(68, dict.ma_values),
	/* long_object */
	LAYOUT_SET(72, integer.tag),
	LAYOUT_SET(73, integer.digits),
	/* bytes_object */
	LAYOUT_SET(75, bytes.ob_size),
	LAYOUT_SET(76, bytes.ob_sval),
	/* unicode_object */
	LAYOUT_SET(78, unicode.state),
	LAYOUT_SET(79, unicode.length),
	LAYOUT_SET(80, unicode.ascii_data),
	/* gc */
	LAYOUT_ADD(82, interp.gc_collecting),
	/* gen_object */
	LAYOUT_SET(85, gen.iframe),
	LAYOUT_SET(86, gen.frame_state),
	/* llist_node */
	LAYOUT_SET(87, llist.next),
	LAYOUT_SET(88, llist.prev),
};

const struct layout_table layout_table_3_14 = {
	.version = 0x030e0000,
	.free_threaded = false,
	.len = 95 * sizeof(uint64_t),
	.base = &base,
	.words = words,
	.words_count = sizeof(words) / sizeof(words[0]),
};

const struct layout_table layout_table_3_14t = {
	.version = 0x030e0000,
	.free_threaded = true,
	.len = 95 * sizeof(uint64_t),
	.base = &base_free_threaded,
	.words = words,
	.words_count = sizeof(words) / sizeof(words[0]),
};
