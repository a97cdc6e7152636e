/* CPython 3.9: the GC state moves into the interpreter.
 * Source: the internal headers of this version; x86-64, release builds. */
#include "remote/layouts/layouts.h"

const struct layout layout_cpython_3_9 = {
	.version = 0x03090000,
	.free_threaded = false,
	.frame_style = FRAME_STYLE_OBJECT,
	.line_style = LINE_STYLE_LNOTAB,
	.stack_style = STACK_STYLE_POINTER,
	.runtime =
		{
			.interpreters_head = 32,
			.tstate_current = 568,
			.gil_last_holder = 360,
			.gil_locked = 368,
			.gil_switches = 376,
			.gil_cond = 384,
			.gc_collecting = ABSENT,
			.initialized = 12,
			.finalizing = 16,
		},
	.interp =
		{
			.id = 24,
			.next = 0,
			.threads_head = 8,
			.threads_main = ABSENT,
			.gc_collecting = 816,
			.gil = ABSENT,
			.modules = 856,
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
			.size = 184,
			.prev = 0,
			.next = 8,
			.interp = 16,
			.frame = 24,
			.cframe = ABSENT,
			.base_frame = ABSENT,
			.thread_id = 176,
			.native_thread_id = ABSENT,
			.datastack_chunk = ABSENT,
			.datastack_top = ABSENT,
			.datastack_limit = ABSENT,
			.status = ABSENT,
			.state = ABSENT,
			.holds_gil = ABSENT,
			.gil_requested = ABSENT,
			.current_exception = 88,
			.exc_info = 144,
			.exc_state = 112,
			.context_ver = 248,
			.dict = 152,
			.asyncio_loop = ABSENT,
			.asyncio_task = ABSENT,
			.asyncio_tasks = ABSENT,
			.status_active_bit = ABSENT,
			.status_holds_gil_bit = ABSENT,
		},
	.err_stackitem =
		{
			.value = 0,
			.previous = 24,
		},
	.cframe =
		{
			.current_frame = ABSENT,
		},
	.chunk =
		{
			.previous = ABSENT,
			.size = ABSENT,
			.top = ABSENT,
			.data = ABSENT,
		},
	.frame =
		{
			.size = 108,
			.previous = 24,
			.executable = 32,
			.instr_ptr = 104,
			.owner = ABSENT,
			.is_entry = ABSENT,
			.stackpointer = 72,
			.valuestack = 64,
			.localsplus = 360,
			.tlbc_index = ABSENT,
			.executable_mask = ~UINT64_C(0),
			.idle = layout_idle_3_9,
			.lasti_unit = 1,
			.generator = 96,
			.instr_back = 0,
			.owner_thread = ABSENT,
			.owner_generator = ABSENT,
			.owner_frame_object = ABSENT,
			.owner_interpreter = ABSENT,
			.owner_cstack = ABSENT,
		},
	.code =
		{
			.size = 128,
			.filename = 104,
			.name = 112,
			.qualname = ABSENT,
			.linetable = 120,
			.firstlineno = 40,
			.argcount = 16,
			.flags = 36,
			.code = 48,
			.firsttraceable = ABSENT,
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
			.ht_cached_keys = 864,
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
			.keys_header = 40,
			.keys_size = 8,
			.keys_log2_index_bytes = ABSENT,
			.keys_kind = ABSENT,
			.keys_nentries = 32,
		},
	.integer =
		{
			.digits = 24,
			.tag = ABSENT,
		},
	.gen =
		{
			.iframe = ABSENT,
			.frame_state = ABSENT,
			.frame = 16,
			.await_depth = 1,
			.exc_state = 64,
			.created = ABSENT,
			.suspended = ABSENT,
			.yield_from = ABSENT,
			.executing = ABSENT,
			.yield_from_opcodes = {72, ABSENT},
			.yield_from_arg = 0,
		},
	.task =
		{
			.loop = 16,
			.callback0 = 24,
			.callbacks = 40,
			.state = 80,
			.fut_waiter = 144,
			.coro = 152,
			.name = 160,
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
			.function_closure = 48,
			.function_globals = 24,
			.frame_object = ABSENT,
		},
	.gc =
		{
			.generations = 176,
			.permanent = 80,
			.generation_size = 24,
		},
};
