#!/bin/sh
# layout_headers.sh INCLUDE_DIR: prints "field value" for every field of struct layout, as the
# headers of an installed CPython have it: a program made of offsetof() is compiled against
# INCLUDE_DIR (the directory of Python.h) and run. A missing field is -1. From 3.13 on a line "table"
# follows, with the debug offsets in hexadecimal.
# Other directories to search, for packages that split theirs, may follow. CC chooses the compiler,
# CPPFLAGS is added (-DPy_GIL_DISABLED=1 gives the free-threaded build of the same headers).
set -eu
[ -r "$1/internal/pycore_pystate.h" ] || {
	echo "no internal headers below $1" >&2
	exit 3
}
include=$1
shift
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
# 3.13 has the table only within the initialiser of the whole runtime.
{
	echo '#define debug_cookie "xdebugpy"'
	echo 'static const _Py_DebugOffsets table = {'
	sed -n '/\.debug_offsets = {/,/^        }, *\\$/p' "$include/internal/pycore_runtime_init.h" 2>/dev/null |
		sed -e 1d -e 's/\\$//' -e '$d'
	echo '};'
} >"$tmp/table.h"
cat >"$tmp/offsets.c" <<'C'
#define Py_BUILD_CORE 1
#include <Python.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <frameobject.h>
#define AT_LEAST(minor) (PY_VERSION_HEX >= (0x03000000 | (minor) << 16))
#include "internal/pycore_pystate.h"
#if AT_LEAST(9)
#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"
#endif
#if AT_LEAST(11)
#include "internal/pycore_frame.h"
#include "internal/pycore_code.h"
#include "internal/pycore_dict.h"
#endif
#if AT_LEAST(14)
#include "internal/pycore_interpframe_structs.h"
#include "internal/pycore_interpframe.h"
#endif
#if AT_LEAST(14)
#include "internal/pycore_debug_offsets.h"
#endif
#ifdef Py_GIL_DISABLED
#define FREE_THREADED 1
#else
#define FREE_THREADED 0
#endif

#if AT_LEAST(14)
static const _Py_DebugOffsets table = _Py_DebugOffsets_INIT("xdebugpy");
#elif AT_LEAST(13)
#include "table.h"
#endif

static void put(const char *name, long value)
{
	printf("%s %ld\n", name, value);
}
#define PUT(name, value) put(#name, (long)(value))
#define OFF(name, type, field) put(#name, (long)offsetof(type, field))
#define NONE(name) put(#name, -1)

/* The number of the lowest bit of a bit field, whose word was set to one in it. */
static int shift_of(const void *word)
{
	unsigned int v;

	memcpy(&v, word, sizeof(v));
	return v ? __builtin_ctz(v) : -1;
}

int main(void)
{
	PyASCIIObject text;

	PUT(version, PY_VERSION_HEX);
	PUT(free_threaded, FREE_THREADED);
	OFF(runtime.interpreters_head, _PyRuntimeState, interpreters.head);
#if AT_LEAST(12)
	NONE(runtime.tstate_current);
	NONE(runtime.gil_last_holder);
	NONE(runtime.gil_locked);
	NONE(runtime.gil_switches);
	NONE(runtime.gil_cond);
#else
	OFF(runtime.tstate_current, _PyRuntimeState, gilstate.tstate_current);
	OFF(runtime.gil_last_holder, _PyRuntimeState, ceval.gil.last_holder);
	OFF(runtime.gil_locked, _PyRuntimeState, ceval.gil.locked);
	OFF(runtime.gil_switches, _PyRuntimeState, ceval.gil.switch_number);
	OFF(runtime.gil_cond, _PyRuntimeState, ceval.gil.cond);
#endif
#if AT_LEAST(9)
	NONE(runtime.gc_collecting);
#else
	OFF(runtime.gc_collecting, _PyRuntimeState, gc.collecting);
#endif

	OFF(runtime.initialized, _PyRuntimeState, initialized);
#if AT_LEAST(9)
	OFF(runtime.finalizing, _PyRuntimeState, _finalizing);
#else
	OFF(runtime.finalizing, _PyRuntimeState, finalizing);
#endif

	OFF(interp.id, PyInterpreterState, id);
	OFF(interp.next, PyInterpreterState, next);
#if AT_LEAST(11)
	OFF(interp.threads_head, PyInterpreterState, threads.head);
#else
	OFF(interp.threads_head, PyInterpreterState, tstate_head);
#endif
#if AT_LEAST(13)
	OFF(interp.threads_main, PyInterpreterState, threads.main);
#else
	NONE(interp.threads_main);
#endif
#if AT_LEAST(9)
	OFF(interp.gc_collecting, PyInterpreterState, gc.collecting);
#else
	NONE(interp.gc_collecting);
#endif
#if AT_LEAST(12)
	OFF(interp.gil, PyInterpreterState, ceval.gil);
	OFF(interp.modules, PyInterpreterState, imports.modules);
	OFF(gil.last_holder, struct _gil_runtime_state, last_holder);
	OFF(gil.locked, struct _gil_runtime_state, locked);
	OFF(gil.switches, struct _gil_runtime_state, switch_number);
	OFF(gil.cond, struct _gil_runtime_state, cond);
#else
	NONE(interp.gil);
	OFF(interp.modules, PyInterpreterState, modules);
	NONE(gil.last_holder);
	NONE(gil.locked);
	NONE(gil.switches);
	NONE(gil.cond);
#endif
#if AT_LEAST(14)
	OFF(interp.code_object_generation, PyInterpreterState, _code_object_generation);
#else
	NONE(interp.code_object_generation);
#endif
#if AT_LEAST(15)
	OFF(interp.gc_frame, PyInterpreterState, gc.frame);
#else
	NONE(interp.gc_frame);
#endif

	OFF(tstate.prev, PyThreadState, prev);
	OFF(tstate.next, PyThreadState, next);
	OFF(tstate.interp, PyThreadState, interp);
#if AT_LEAST(13)
	OFF(tstate.frame, PyThreadState, current_frame);
	NONE(tstate.cframe);
	NONE(cframe.current_frame);
#elif AT_LEAST(11)
	NONE(tstate.frame);
	OFF(tstate.cframe, PyThreadState, cframe);
	OFF(cframe.current_frame, _PyCFrame, current_frame);
#else
	OFF(tstate.frame, PyThreadState, frame);
	NONE(tstate.cframe);
	NONE(cframe.current_frame);
#endif
#if AT_LEAST(15)
	OFF(tstate.base_frame, PyThreadState, base_frame);
	OFF(tstate.gil_requested, PyThreadState, gil_requested);
#else
	NONE(tstate.base_frame);
	NONE(tstate.gil_requested);
#endif
	OFF(tstate.thread_id, PyThreadState, thread_id);
#if AT_LEAST(11)
	OFF(tstate.native_thread_id, PyThreadState, native_thread_id);
	OFF(tstate.datastack_chunk, PyThreadState, datastack_chunk);
	OFF(tstate.datastack_top, PyThreadState, datastack_top);
	OFF(tstate.datastack_limit, PyThreadState, datastack_limit);
	OFF(chunk.previous, _PyStackChunk, previous);
	OFF(chunk.size, _PyStackChunk, size);
	OFF(chunk.top, _PyStackChunk, top);
	OFF(chunk.data, _PyStackChunk, data);
#else
	NONE(tstate.native_thread_id);
	NONE(tstate.datastack_chunk);
	NONE(tstate.datastack_top);
	NONE(tstate.datastack_limit);
	NONE(chunk.previous);
	NONE(chunk.size);
	NONE(chunk.top);
	NONE(chunk.data);
#endif
#if AT_LEAST(13)
	OFF(tstate.status, PyThreadState, _status);
	{
		PyThreadState *t = calloc(1, sizeof(*t));

		t->_status.active = 1;
		PUT(tstate.status_active_bit, shift_of(&t->_status));
#if AT_LEAST(14)
		NONE(tstate.status_holds_gil_bit);
#else
		t->_status.active = 0;
		t->_status.holds_gil = 1;
		PUT(tstate.status_holds_gil_bit, shift_of(&t->_status));
#endif
	}
#if FREE_THREADED
	OFF(tstate.state, PyThreadState, state);
#else
	NONE(tstate.state);
#endif
#else
	NONE(tstate.status);
	NONE(tstate.status_active_bit);
	NONE(tstate.status_holds_gil_bit);
	NONE(tstate.state);
#endif
#if AT_LEAST(14)
	OFF(tstate.holds_gil, PyThreadState, holds_gil);
#else
	NONE(tstate.holds_gil);
#endif
#if AT_LEAST(12)
	OFF(tstate.current_exception, PyThreadState, current_exception);
#else
	OFF(tstate.current_exception, PyThreadState, curexc_type);
#endif
	OFF(tstate.exc_info, PyThreadState, exc_info);
	OFF(tstate.context_ver, PyThreadState, context_ver);
	OFF(tstate.exc_state, PyThreadState, exc_state);
#if AT_LEAST(11)
	OFF(err_stackitem.value, _PyErr_StackItem, exc_value);
#else
	OFF(err_stackitem.value, _PyErr_StackItem, exc_type);
#endif
	OFF(err_stackitem.previous, _PyErr_StackItem, previous_item);
#if AT_LEAST(14)
	NONE(tstate.dict);
#else
	OFF(tstate.dict, PyThreadState, dict);
#endif
#if AT_LEAST(13) && !AT_LEAST(14)
	OFF(tstate.asyncio_loop, _PyThreadStateImpl, asyncio_running_loop);
#else
	NONE(tstate.asyncio_loop);
#endif

#if AT_LEAST(11)
	OFF(frame.previous, _PyInterpreterFrame, previous);
#if AT_LEAST(13)
	OFF(frame.executable, _PyInterpreterFrame, f_executable);
	OFF(frame.instr_ptr, _PyInterpreterFrame, instr_ptr);
#else
	OFF(frame.executable, _PyInterpreterFrame, f_code);
	OFF(frame.instr_ptr, _PyInterpreterFrame, prev_instr);
#endif
	OFF(frame.owner, _PyInterpreterFrame, owner);
#if AT_LEAST(12)
	NONE(frame.is_entry);
#else
	OFF(frame.is_entry, _PyInterpreterFrame, is_entry);
#endif
#if AT_LEAST(14)
	OFF(frame.stackpointer, _PyInterpreterFrame, stackpointer);
#else
	OFF(frame.stackpointer, _PyInterpreterFrame, stacktop);
#endif
	OFF(frame.localsplus, _PyInterpreterFrame, localsplus);
	PUT(frame.owner_thread, FRAME_OWNED_BY_THREAD);
	PUT(frame.owner_generator, FRAME_OWNED_BY_GENERATOR);
	PUT(frame.owner_frame_object, FRAME_OWNED_BY_FRAME_OBJECT);
#if AT_LEAST(14)
	PUT(frame.owner_interpreter, FRAME_OWNED_BY_INTERPRETER);
#else
	NONE(frame.owner_interpreter);
#endif
#if AT_LEAST(15)
	NONE(frame.owner_cstack);
#elif AT_LEAST(12)
	PUT(frame.owner_cstack, FRAME_OWNED_BY_CSTACK);
#else
	NONE(frame.owner_cstack);
#endif
	NONE(frame.generator);
	NONE(frame.lasti_unit);
	NONE(frame.valuestack);
#else
	OFF(frame.previous, PyFrameObject, f_back);
	OFF(frame.executable, PyFrameObject, f_code);
	OFF(frame.instr_ptr, PyFrameObject, f_lasti);
	NONE(frame.owner);
	NONE(frame.is_entry);
	OFF(frame.valuestack, PyFrameObject, f_valuestack);
#if AT_LEAST(10)
	OFF(frame.stackpointer, PyFrameObject, f_stackdepth);
#else
	OFF(frame.stackpointer, PyFrameObject, f_stacktop);
#endif
	OFF(frame.localsplus, PyFrameObject, f_localsplus);
	NONE(frame.owner_thread);
	NONE(frame.owner_generator);
	NONE(frame.owner_frame_object);
	NONE(frame.owner_interpreter);
	NONE(frame.owner_cstack);
	OFF(frame.generator, PyFrameObject, f_gen);
#if AT_LEAST(10)
	PUT(frame.lasti_unit, 2);
#else
	PUT(frame.lasti_unit, 1);
#endif
#endif
#if AT_LEAST(14) && FREE_THREADED
	OFF(frame.tlbc_index, _PyInterpreterFrame, tlbc_index);
	OFF(code.tlbc, PyCodeObject, co_tlbc);
#else
	NONE(frame.tlbc_index);
	NONE(code.tlbc);
#endif

	OFF(code.filename, PyCodeObject, co_filename);
	OFF(code.name, PyCodeObject, co_name);
#if AT_LEAST(11)
	OFF(code.qualname, PyCodeObject, co_qualname);
	OFF(code.code, PyCodeObject, co_code_adaptive);
	OFF(code.firsttraceable, PyCodeObject, _co_firsttraceable);
#else
	NONE(code.qualname);
	OFF(code.code, PyCodeObject, co_code);
	NONE(code.firsttraceable);
#endif
#if AT_LEAST(12)
	OFF(code.co_version, PyCodeObject, co_version);
#else
	NONE(code.co_version);
#endif
#if AT_LEAST(10)
	OFF(code.linetable, PyCodeObject, co_linetable);
#else
	OFF(code.linetable, PyCodeObject, co_lnotab);
#endif
	OFF(code.firstlineno, PyCodeObject, co_firstlineno);
	OFF(code.argcount, PyCodeObject, co_argcount);
	OFF(code.flags, PyCodeObject, co_flags);

	PUT(object.size, sizeof(PyObject));
	OFF(object.ob_type, PyObject, ob_type);
	OFF(var.ob_size, PyVarObject, ob_size);
	OFF(type.tp_name, PyTypeObject, tp_name);
	OFF(type.tp_basicsize, PyTypeObject, tp_basicsize);
	OFF(type.tp_dictoffset, PyTypeObject, tp_dictoffset);
	OFF(type.tp_flags, PyTypeObject, tp_flags);
	OFF(type.tp_base, PyTypeObject, tp_base);
	OFF(type.ht_cached_keys, PyHeapTypeObject, ht_cached_keys);

	OFF(unicode.state, PyASCIIObject, state);
	OFF(unicode.length, PyASCIIObject, length);
	PUT(unicode.ascii_data, sizeof(PyASCIIObject));
	PUT(unicode.compact_data, sizeof(PyCompactUnicodeObject));
	memset(&text, 0, sizeof(text));
	text.state.kind = 1;
	PUT(unicode.kind_shift, shift_of(&text.state));
	memset(&text, 0, sizeof(text));
	text.state.compact = 1;
	PUT(unicode.compact_shift, shift_of(&text.state));
	memset(&text, 0, sizeof(text));
	text.state.ascii = 1;
	PUT(unicode.ascii_shift, shift_of(&text.state));

	OFF(bytes.ob_size, PyBytesObject, ob_base.ob_size);
	OFF(bytes.ob_sval, PyBytesObject, ob_sval);
	OFF(tuple.ob_size, PyTupleObject, ob_base.ob_size);
	OFF(tuple.ob_item, PyTupleObject, ob_item);
	OFF(list.ob_size, PyListObject, ob_base.ob_size);
	OFF(list.ob_item, PyListObject, ob_item);
	OFF(dict.ma_used, PyDictObject, ma_used);
	OFF(dict.ma_keys, PyDictObject, ma_keys);
	OFF(dict.ma_values, PyDictObject, ma_values);
#if AT_LEAST(11)
	OFF(dict.keys_header, struct _dictkeysobject, dk_indices);
	OFF(dict.keys_size, struct _dictkeysobject, dk_log2_size);
	OFF(dict.keys_log2_index_bytes, struct _dictkeysobject, dk_log2_index_bytes);
	OFF(dict.keys_kind, struct _dictkeysobject, dk_kind);
	OFF(dict.keys_nentries, struct _dictkeysobject, dk_nentries);
#endif
#if AT_LEAST(12)
	OFF(integer.digits, PyLongObject, long_value.ob_digit);
	OFF(integer.tag, PyLongObject, long_value.lv_tag);
#else
	OFF(integer.digits, PyLongObject, ob_digit);
	NONE(integer.tag);
#endif
#if AT_LEAST(11)
	OFF(gen.iframe, PyGenObject, gi_iframe);
	OFF(gen.frame_state, PyGenObject, gi_frame_state);
	NONE(gen.frame);
	NONE(gen.exc_state);
	PUT(gen.created, FRAME_CREATED);
	PUT(gen.suspended, FRAME_SUSPENDED);
	PUT(gen.executing, FRAME_EXECUTING);
#if AT_LEAST(13)
	PUT(gen.yield_from, FRAME_SUSPENDED_YIELD_FROM);
#else
	PUT(gen.yield_from, FRAME_SUSPENDED);
#endif
#else
	NONE(gen.iframe);
	NONE(gen.frame_state);
	OFF(gen.frame, PyGenObject, gi_frame);
	OFF(gen.exc_state, PyGenObject, gi_exc_state);
	NONE(gen.created);
	NONE(gen.suspended);
	NONE(gen.executing);
	NONE(gen.yield_from);
#endif

	OFF(set.used, PySetObject, used);
	OFF(set.mask, PySetObject, mask);
	OFF(set.table, PySetObject, table);
	OFF(inner.first, PyCellObject, ob_ref);
	OFF(inner.method_self, PyMethodObject, im_self);
	OFF(inner.function_globals, PyFunctionObject, func_globals);
#if AT_LEAST(11)
	OFF(inner.frame_object, PyFrameObject, f_frame);
#else
	NONE(inner.frame_object);
#endif
#if FREE_THREADED
	NONE(gc.generations);
	NONE(gc.permanent);
	NONE(gc.generation_size);
#else
#if AT_LEAST(9)
#define GC(member) ((int)offsetof(PyInterpreterState, gc.member))
#else
#define GC(member) ((int)offsetof(_PyRuntimeState, gc.member))
#endif
	/* Less what they begin earlier in some builds, LAYOUT_GC_PACKED. */
	PUT(gc.generations, (GC(collecting) - GC(generations)) / 8 * 8);
	PUT(gc.permanent, (GC(permanent_generation) - GC(generations)) / 8 * 8);
	PUT(gc.generation_size, (int)sizeof(struct gc_generation));
#endif
	OFF(inner.function_closure, PyFunctionObject, func_closure);
#if AT_LEAST(13)
	fputs("table ", stdout);
	for (size_t i = 0; i < sizeof(table); i++)
		printf("%02x", ((const unsigned char *)&table)[i]);
	putchar('\n');
#endif
	return 0;
}
C
set -- "$@" "$include" "$include/internal" "${include%/*}"
flags=
for directory in "$@"; do
	flags="$flags -I$directory"
done
# shellcheck disable=SC2086
${CC:-cc} -w -O0 ${CPPFLAGS:-} $flags -I"$tmp" -o "$tmp/offsets" "$tmp/offsets.c"
"$tmp/offsets"
