/* CPython 3.11: frames in the datastack, found through the thread's cframe.
 * Source: the internal headers of this version; x86-64, release builds. */
#include "remote/layouts/layouts.h"

const struct layout layout_cpython_3_11 = {
	.version = 0x030b0000,
	.free_threaded = false,
	.frame_style = FRAME_STYLE_INTERPRETER,
	.line_style = LINE_STYLE_LOCATIONS,
	.stack_style = STACK_STYLE_INDEX,
	.runtime =
		{
			.interpreters_head = 40,
			.tstate_current = 576,
			.gil_last_holder = 368,
			.gil_locked = 376,
			.gil_switches = 384,
			.gil_cond = 392,
			.gc_collecting = ABSENT,
			.initialized = 16,
			.finalizing = 24,
		},
	.interp =
		{
			.id = 48,
			.next = 0,
			.threads_head = 16,
			.threads_main = ABSENT,
			.gc_collecting = 848,
			.gil = ABSENT,
			.modules = 888,
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
			.size = 328,
			.prev = 0,
			.next = 8,
			.interp = 16,
			.frame = ABSENT,
			.cframe = 56,
			.base_frame = ABSENT,
			.thread_id = 152,
			.native_thread_id = 160,
			.datastack_chunk = 296,
			.datastack_top = 304,
			.datastack_limit = 312,
			.status = ABSENT,
			.state = ABSENT,
			.holds_gil = ABSENT,
			.gil_requested = ABSENT,
			.current_exception = 96,
			.exc_info = 120,
			.exc_state = 320,
			.context_ver = 232,
			.dict = 128,
			.asyncio_loop = ABSENT,
			.asyncio_task = ABSENT,
			.asyncio_tasks = ABSENT,
			.status_active_bit = ABSENT,
			.status_holds_gil_bit = ABSENT,
		},
	.err_stackitem =
		{
			.value = 0,
			.previous = 8,
		},
	.cframe =
		{
			.current_frame = 8,
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
			.size = 72,
			.previous = 48,
			.executable = 32,
			.instr_ptr = 56,
			.owner = 69,
			.is_entry = 68,
			.stackpointer = 64,
			.valuestack = ABSENT,
			.localsplus = 72,
			.tlbc_index = ABSENT,
			.executable_mask = ~UINT64_C(0),
			.caches = layout_caches_3_11,
			.idle = layout_idle_3_11,
			.lasti_unit = ABSENT,
			.generator = ABSENT,
			.instr_back = 0,
			.owner_thread = 0,
			.owner_generator = 1,
			.owner_frame_object = 2,
			.owner_interpreter = ABSENT,
			.owner_cstack = ABSENT,
		},
	.code =
		{
			.size = 176,
			.filename = 112,
			.name = 120,
			.qualname = 128,
			.linetable = 136,
			.firstlineno = 72,
			.argcount = 56,
			.flags = 48,
			.code = 184,
			.firsttraceable = 168,
			.tlbc = ABSENT,
			.co_version = ABSENT,
		},
	.object =
		{
			.size = 16,
			.ob_type = 8,
		},
	.var =
		{
			.ob_size = 16,
		},
	.type =
		{
			.tp_name = 24,
			.tp_basicsize = 32,
			.tp_dictoffset = 288,
			.tp_flags = 168,
			.tp_base = 256,
			.ht_cached_keys = 872,
		},
	.unicode =
		{
			.state = 32,
			.length = 16,
			.ascii_data = 48,
			.compact_data = 72,
			.kind_shift = 2,
			.compact_shift = 5,
			.ascii_shift = 6,
		},
	.bytes =
		{
			.ob_size = 16,
			.ob_sval = 32,
		},
	.tuple =
		{
			.ob_size = 16,
			.ob_item = 24,
		},
	.list =
		{
			.ob_size = 16,
			.ob_item = 24,
		},
	.dict =
		{
			.ma_used = 16,
			.ma_keys = 32,
			.ma_values = 40,
			.keys_header = 32,
			.keys_size = 8,
			.keys_log2_index_bytes = 9,
			.keys_kind = 10,
			.keys_nentries = 24,
		},
	.integer =
		{
			.digits = 24,
			.tag = ABSENT,
		},
	.gen =
		{
			.iframe = 80,
			.frame_state = 75,
			.frame = ABSENT,
			.await_depth = 1,
			.exc_state = ABSENT,
			.created = -2,
			.suspended = -1,
			.yield_from = -1,
			.executing = 0,
			.yield_from_opcodes = {151, 150},
			.yield_from_arg = 2,
		},
	.task =
		{
			.loop = 16,
			.callback0 = 24,
			.callbacks = 40,
			.state = 88,
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
