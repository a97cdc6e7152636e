/* CPython 3.15: frames end at a base frame inside the thread state.
 * Source: Include/internal/pycore_debug_offsets.h for the order of the table; the rows, for what
 * the table lacks, from the internal headers; x86-64, release builds. */
#include "remote/layouts/layouts.h"

static const struct layout base = {
	.version = 0x030f0000,
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
			.initialized = 904,
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
			.holds_gil = ABSENT,
			.gil_requested = ABSENT,
			.current_exception = ABSENT,
			.exc_info = ABSENT,
			.exc_state = ABSENT,
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
			.value = ABSENT,
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
			.idle = layout_idle_3_15,
			.lasti_unit = ABSENT,
			.generator = ABSENT,
			.instr_back = 0,
			.owner_thread = 0,
			.owner_generator = 1,
			.owner_frame_object = 2,
			.owner_interpreter = 3,
			.owner_cstack = ABSENT,
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
			.tp_basicsize = ABSENT,
			.tp_dictoffset = ABSENT,
			.tp_flags = ABSENT,
			.tp_base = 256,
			.ht_cached_keys = ABSENT,
		},
	.unicode =
		{
			.state = ABSENT,
			.length = ABSENT,
			.ascii_data = ABSENT,
			.compact_data = ABSENT,
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
			.await_depth = 2,
			.exc_state = ABSENT,
			.created = 0,
			.suspended = 1,
			.yield_from = 2,
			.executing = 4,
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
			.generations = 104,
			.permanent = 72,
			.generation_size = 24,
		},
};

static const struct layout base_free_threaded = {
	.version = 0x030f0000,
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
			.initialized = 904,
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
			.state = 48,
			.holds_gil = ABSENT,
			.gil_requested = ABSENT,
			.current_exception = ABSENT,
			.exc_info = ABSENT,
			.exc_state = ABSENT,
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
			.value = ABSENT,
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
			.idle = layout_idle_3_15,
			.lasti_unit = ABSENT,
			.generator = ABSENT,
			.instr_back = 0,
			.owner_thread = 0,
			.owner_generator = 1,
			.owner_frame_object = 2,
			.owner_interpreter = 3,
			.owner_cstack = ABSENT,
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
			.tp_basicsize = ABSENT,
			.tp_dictoffset = ABSENT,
			.tp_flags = ABSENT,
			.tp_base = 272,
			.ht_cached_keys = ABSENT,
		},
	.unicode =
		{
			.state = ABSENT,
			.length = ABSENT,
			.ascii_data = ABSENT,
			.compact_data = ABSENT,
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
			.await_depth = 2,
			.exc_state = ABSENT,
			.created = 0,
			.suspended = 1,
			.yield_from = 2,
			.executing = 4,
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
	LAYOUT_SET(11, interp.gc_frame),
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
	LAYOUT_SET(27, tstate.base_frame),
	LAYOUT_SET(30, tstate.thread_id),
	LAYOUT_SET(31, tstate.native_thread_id),
	LAYOUT_SET_BEHIND(32, -16, tstate.context_ver),
	LAYOUT_SET(32, tstate.datastack_chunk),
	LAYOUT_SET_BEHIND(32, 8, tstate.datastack_top),
	LAYOUT_SET_BEHIND(32, 16, tstate.datastack_limit),
	LAYOUT_SET(33, tstate.status),
	LAYOUT_SET(34, tstate.holds_gil),
	LAYOUT_SET(35, tstate.gil_requested),
	LAYOUT_SET(36, tstate.current_exception),
	LAYOUT_SET_BEHIND(36, 8, tstate.exc_info),
	LAYOUT_SET(37, tstate.exc_state),
	/* err_stackitem */
	LAYOUT_SET(38, err_stackitem.value),
	/* interpreter_frame */
	LAYOUT_SET(40, frame.previous),
	LAYOUT_SET(41, frame.executable),
	LAYOUT_SET(42, frame.instr_ptr),
	LAYOUT_SET(43, frame.localsplus),
	LAYOUT_SET(44, frame.owner),
	LAYOUT_SET(45, frame.stackpointer),
	LAYOUT_SET_UNLESS_0(46, frame.tlbc_index),
	/* code_object */
	LAYOUT_SET(48, code.filename),
	LAYOUT_SET(49, code.name),
	LAYOUT_SET(50, code.qualname),
	LAYOUT_SET(51, code.linetable),
	LAYOUT_SET(52, code.firstlineno),
	LAYOUT_SET(53, code.argcount),
	LAYOUT_SET(56, code.code),
	LAYOUT_SET_UNLESS_0(57, code.tlbc),
	/* pyobject */
	LAYOUT_SET(58, object.size),
	LAYOUT_SET(59, object.ob_type),
	/* type_object */
	LAYOUT_SET(61, type.tp_name),
	LAYOUT_SET(63, type.tp_flags),
	LAYOUT_SET(64, type.tp_basicsize),
	LAYOUT_SET(65, type.tp_dictoffset),
	/* heap_type_object */
	LAYOUT_SET(67, type.ht_cached_keys),
	/* tuple_object */
	LAYOUT_SET(69, tuple.ob_item),
	LAYOUT_SET(70, tuple.ob_size),
	LAYOUT_SET(70, var.ob_size),
	/* list_object */
	LAYOUT_SET(72, list.ob_item),
	LAYOUT_SET(73, list.ob_size),
	/* set_object */
	LAYOUT_SET(76, set.table),
	LAYOUT_SET(77, set.mask),
	/* dict_object */
	LAYOUT_SET(79, dict.ma_keys),
	LAYOUT_SET(80, dict.ma_values),
	/* long_object */
	LAYOUT_SET(84, integer.tag),
	LAYOUT_SET(85, integer.digits),
	/* bytes_object */
	LAYOUT_SET(87, bytes.ob_size),
	LAYOUT_SET(88, bytes.ob_sval),
	/* unicode_object */
	LAYOUT_SET(90, unicode.state),
	LAYOUT_SET(91, unicode.length),
	LAYOUT_SET(92, unicode.ascii_data),
	LAYOUT_SET(93, unicode.compact_data),
	/* gc */
	LAYOUT_ADD(95, interp.gc_collecting),
	LAYOUT_ADD(96, interp.gc_frame),
	/* gen_object */
	LAYOUT_SET(101, gen.iframe),
	LAYOUT_SET(102, gen.frame_state),
	/* llist_node */
	LAYOUT_SET(103, llist.next),
	LAYOUT_SET(104, llist.prev),
};

const struct layout_table layout_table_3_15 = {
	.version = 0x030f0000,
	.free_threaded = false,
	.len = 111 * sizeof(uint64_t),
	.base = &base,
	.words = words,
	.words_count = sizeof(words) / sizeof(words[0]),
};

const struct layout_table layout_table_3_15t = {
	.version = 0x030f0000,
	.free_threaded = true,
	.len = 111 * sizeof(uint64_t),
	.base = &base_free_threaded,
	.words = words,
	.words_count = sizeof(words) / sizeof(words[0]),
};
