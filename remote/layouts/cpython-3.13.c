/* CPython 3.13: the first with a table of offsets in the runtime.
 * Source: Include/internal/pycore_runtime.h for the order of the table; the rows, for what the
 * table lacks, from the internal headers; x86-64, release builds. */
#include "remote/layouts/layouts.h"

static const struct layout base = {
	.version = 0x030d0000,
	.free_threaded = false,
	.frame_style = FRAME_STYLE_INTERPRETER,
	.line_style = LINE_STYLE_LOCATIONS,
	.stack_style = STACK_STYLE_INDEX,
	.runtime =
		{
			.interpreters_head = ABSENT,
			.tstate_current = ABSENT,
			.gil_last_holder = ABSENT,
			.gil_locked = ABSENT,
			.gil_switches = ABSENT,
			.gil_cond = ABSENT,
			.gc_collecting = ABSENT,
			.initialized = 600,
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
			.current_exception = 112,
			.exc_info = 120,
			.exc_state = 256,
			.context_ver = ABSENT,
			.dict = 128,
			.asyncio_loop = ABSENT,
			.asyncio_task = ABSENT,
			.asyncio_tasks = ABSENT,
			.status_active_bit = 4,
			.status_holds_gil_bit = 5,
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
			.stackpointer = 64,
			.valuestack = ABSENT,
			.localsplus = ABSENT,
			.tlbc_index = ABSENT,
			.executable_mask = ~UINT64_C(0),
			.idle = layout_idle_3_13,
			.lasti_unit = ABSENT,
			.generator = ABSENT,
			.instr_back = 0,
			.owner_thread = 0,
			.owner_generator = 1,
			.owner_frame_object = 2,
			.owner_interpreter = ABSENT,
			.owner_cstack = 3,
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
			.firsttraceable = 184,
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
			.iframe = 72,
			.frame_state = 67,
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
			.state = 96,
			.fut_waiter = 112,
			.coro = 120,
			.name = 128,
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
			.mask = 32,
			.table = 40,
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
			.generations = 176,
			.permanent = 80,
			.generation_size = 24,
		},
};

static const struct layout base_free_threaded = {
	.version = 0x030d0000,
	.free_threaded = true,
	.frame_style = FRAME_STYLE_INTERPRETER,
	.line_style = LINE_STYLE_LOCATIONS,
	.stack_style = STACK_STYLE_INDEX,
	.runtime =
		{
			.interpreters_head = ABSENT,
			.tstate_current = ABSENT,
			.gil_last_holder = ABSENT,
			.gil_locked = ABSENT,
			.gil_switches = ABSENT,
			.gil_cond = ABSENT,
			.gc_collecting = ABSENT,
			.initialized = 600,
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
			.state = 40,
			.holds_gil = ABSENT,
			.gil_requested = ABSENT,
			.current_exception = 112,
			.exc_info = 120,
			.exc_state = 256,
			.context_ver = ABSENT,
			.dict = 128,
			.asyncio_loop = ABSENT,
			.asyncio_task = ABSENT,
			.asyncio_tasks = ABSENT,
			.status_active_bit = 4,
			.status_holds_gil_bit = 5,
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
			.stackpointer = 64,
			.valuestack = ABSENT,
			.localsplus = ABSENT,
			.tlbc_index = ABSENT,
			.executable_mask = ~UINT64_C(0),
			.idle = layout_idle_3_13,
			.lasti_unit = ABSENT,
			.generator = ABSENT,
			.instr_back = 0,
			.owner_thread = 0,
			.owner_generator = 1,
			.owner_frame_object = 2,
			.owner_interpreter = ABSENT,
			.owner_cstack = 3,
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
			.firsttraceable = 200,
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
			.iframe = 88,
			.frame_state = 83,
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
			.callback0 = 40,
			.callbacks = 56,
			.state = 112,
			.fut_waiter = 128,
			.coro = 136,
			.name = 144,
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
			.mask = 48,
			.table = 56,
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
	LAYOUT_SET_BEHIND(9, 8, interp.threads_main),
	LAYOUT_SET(10, interp.gc_collecting),
	LAYOUT_SET(11, interp.modules),
	LAYOUT_SET(14, interp.gil),
	LAYOUT_SET(17, gil.locked),
	LAYOUT_SUB(15, gil.locked),
	LAYOUT_SET_BEHIND(17, 8, gil.switches),
	LAYOUT_SUB(15, gil.switches),
	LAYOUT_SET_BEHIND(17, 16, gil.cond),
	LAYOUT_SUB(15, gil.cond),
	LAYOUT_SET(18, gil.last_holder),
	LAYOUT_SUB(15, gil.last_holder),
	/* thread_state: asyncio's word is the first behind it, in _PyThreadStateImpl */
	LAYOUT_SET(19, tstate.asyncio_loop),
	LAYOUT_SET(20, tstate.prev),
	LAYOUT_SET(21, tstate.next),
	LAYOUT_SET(22, tstate.interp),
	LAYOUT_SET(23, tstate.frame),
	LAYOUT_SET(24, tstate.thread_id),
	LAYOUT_SET(25, tstate.native_thread_id),
	LAYOUT_SET_BEHIND(26, -16, tstate.context_ver),
	LAYOUT_SET(26, tstate.datastack_chunk),
	LAYOUT_SET_BEHIND(26, 8, tstate.datastack_top),
	LAYOUT_SET_BEHIND(26, 16, tstate.datastack_limit),
	LAYOUT_SET(27, tstate.status),
	/* interpreter_frame */
	LAYOUT_SET(29, frame.previous),
	LAYOUT_SET(30, frame.executable),
	LAYOUT_SET(31, frame.instr_ptr),
	LAYOUT_SET(32, frame.localsplus),
	LAYOUT_SET(33, frame.owner),
	/* code_object */
	LAYOUT_SET(35, code.filename),
	LAYOUT_SET(36, code.name),
	LAYOUT_SET(37, code.qualname),
	LAYOUT_SET(38, code.linetable),
	LAYOUT_SET(39, code.firstlineno),
	LAYOUT_SET(40, code.argcount),
	LAYOUT_SET(43, code.code),
	/* pyobject */
	LAYOUT_SET(44, object.size),
	LAYOUT_SET(45, object.ob_type),
	/* type_object */
	LAYOUT_SET(47, type.tp_name),
	LAYOUT_SET(49, type.tp_flags),
	/* tuple_object */
	LAYOUT_SET(51, tuple.ob_item),
	LAYOUT_SET(52, tuple.ob_size),
	LAYOUT_SET(52, var.ob_size),
	/* list_object */
	LAYOUT_SET(54, list.ob_item),
	LAYOUT_SET(55, list.ob_size),
	/* dict_object */
	LAYOUT_SET(57, dict.ma_keys),
	LAYOUT_SET(58, dict.ma_values),
	/* long_object */
	LAYOUT_SET(62, integer.tag),
	LAYOUT_SET(63, integer.digits),
	/* bytes_object */
	LAYOUT_SET(65, bytes.ob_size),
	LAYOUT_SET(66, bytes.ob_sval),
	/* unicode_object */
	LAYOUT_SET(68, unicode.state),
	LAYOUT_SET(69, unicode.length),
	LAYOUT_SET(70, unicode.ascii_data),
	/* gc */
	LAYOUT_ADD(72, interp.gc_collecting),
};

const struct layout_table layout_table_3_13 = {
	.version = 0x030d0000,
	.free_threaded = false,
	.len = 73 * sizeof(uint64_t),
	.base = &base,
	.words = words,
	.words_count = sizeof(words) / sizeof(words[0]),
};

const struct layout_table layout_table_3_13t = {
	.version = 0x030d0000,
	.free_threaded = true,
	.len = 73 * sizeof(uint64_t),
	.base = &base_free_threaded,
	.words = words,
	.words_count = sizeof(words) / sizeof(words[0]),
};
