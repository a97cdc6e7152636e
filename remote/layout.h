/* Where every field of a CPython stands: the one place that knows numbers.
 *
 * 3.8-3.12: row sets in layouts/, keyed by version, architecture and build flags.
 * 3.13 on: built from the target's own _Py_DebugOffsets (Include/internal/pycore_debug_offsets.h),
 * and from rows for the few fields that the table lacks.
 * Every field is a byte offset from the start of its struct; a missing one is ABSENT. */
#ifndef PYPROF_REMOTE_LAYOUT_H
#define PYPROF_REMOTE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ABSENT (-1)

#define LAYOUT_CACHE_UNKNOWN 255 /* the opcode stands for another, which has the cache */

/* The structs that samplers copy whole, in bytes: a thread state is some hundred, in a
 * free-threaded build some thousand. */
#define LAYOUT_STRUCT_MAX 4096

struct memory;

enum frame_style {
	FRAME_STYLE_OBJECT,	 /* to 3.10: PyFrameObject on the heap, linked by f_back */
	FRAME_STYLE_INTERPRETER, /* from 3.11: _PyInterpreterFrame in the datastack */
};

enum line_style {
	LINE_STYLE_LNOTAB,    /* to 3.9: (u8 address, s8 line) pairs */
	LINE_STYLE_LINETABLE, /* 3.10: (u8 length, s8 delta), -128 no line */
	LINE_STYLE_LOCATIONS, /* from 3.11: PEP 657 */
};

/* How a frame says where its value stack ends. */
enum stack_style {
	STACK_STYLE_POINTER, /* to 3.9, and from 3.14: the address behind the last value; to 3.9
			      * NULL while the frame runs */
	STACK_STYLE_DEPTH,   /* 3.10: int32, values from f_valuestack on */
	STACK_STYLE_INDEX,   /* 3.11-3.13: int32, words from localsplus on; -1 while it runs */
};

struct layout {
	uint32_t version; /* as Py_Version: 0x030b07f0 */
	bool free_threaded;
	enum frame_style frame_style;
	enum line_style line_style;
	enum stack_style stack_style;

	struct {
		int32_t interpreters_head; /* PyInterpreterState * */
		int32_t tstate_current;	   /* to 3.11: PyThreadState * */
		int32_t gil_last_holder;   /* to 3.11; see gil.last_holder */
		int32_t gil_locked;	   /* to 3.11, int32 */
		int32_t gil_switches;	   /* to 3.11; see gil.switches */
		int32_t gil_cond;	   /* to 3.11; see gil.cond */
		int32_t gc_collecting;	   /* 3.8, int32 */
		int32_t initialized;	   /* int32, 1 between Py_Initialize and Py_Finalize */
		int32_t finalizing;	   /* PyThreadState *, 0 until Py_Finalize */
	} runtime;
	struct {
		int32_t id; /* int64 */
		int32_t next;
		int32_t threads_head;
		int32_t threads_main;		/* from 3.13 where known */
		int32_t gc_collecting;		/* from 3.9, int32 */
		int32_t gil;			/* 3.12+: pointer ceval.gil */
		int32_t modules;		/* sys.modules dict: PyObject * */
		int32_t code_object_generation; /* u64, 3.14+ */
		int32_t gc_frame; /* 3.15: _PyInterpreterFrame *, the one that a running collection
				   * interrupts */
		int32_t asyncio_tasks; /* 3.14+: head of the tasks whose threads have ended */
	} interp;
	struct {
		int32_t last_holder; /* PyThreadState * */
		int32_t locked;	     /* int32 */
		int32_t switches;    /* u64: how often another took it than held it before */
		int32_t cond;	     /* pthread_cond_t: what threads that want the GIL wait for */
	} gil;			     /* struct _gil_runtime_state, 3.12+ */
	struct {
		int32_t size; /* bytes that cover every field below */
		int32_t prev, next, interp;
		int32_t frame;		  /* to 3.10: PyFrameObject *; 3.13+: current_frame */
		int32_t cframe;		  /* 3.11, 3.12: _PyCFrame * */
		int32_t base_frame;	  /* 3.15: the sentinel, _PyInterpreterFrame * (pointer) */
		int32_t thread_id;	  /* pthread_t, unsigned long */
		int32_t native_thread_id; /* from 3.11 */
		int32_t datastack_chunk, datastack_top, datastack_limit; /* from 3.11 */
		int32_t status;	       /* _status bit field, u32, 3.13+ */
		int32_t state;	       /* int32, free-threaded: 0 detached 1 attached 2 suspended */
		int32_t holds_gil;     /* int32, 3.14+ */
		int32_t gil_requested; /* int32, 3.15 */
		int32_t current_exception; /* from 3.12; to 3.11 curexc_type */
		int32_t exc_info;	   /* _PyErr_StackItem *, where the chain begins */
		int32_t exc_state;	   /* _PyErr_StackItem, where it ends */
		int32_t context_ver;	   /* u64, counts changes of the context; a switch to
					    * another greenlet is one */
		int32_t dict;		   /* PyThreadState_GetDict() */
		int32_t asyncio_loop;	   /* 3.13+: the running loop */
		int32_t asyncio_task;	   /* 3.14+: the running task */
		int32_t asyncio_tasks;	   /* 3.14+: head of the list of its tasks */
		int8_t status_active_bit;  /* bit numbers in status, 3.13+ */
		int8_t status_holds_gil_bit;
	} tstate;
	struct {
		int32_t value;	  /* NULL or None where nothing is being handled: exc_value; to
				   * 3.10 exc_type */
		int32_t previous; /* _PyErr_StackItem * */
	} err_stackitem;
	struct {
		int32_t current_frame; /* _PyCFrame, 3.11 and 3.12 */
	} cframe;
	struct {
		int32_t previous, size, top, data; /* _PyStackChunk; size and top: size_t. top is a
						    * count of PyObject * slots from data, written
						    * when the next chunk is pushed */
	} chunk;
	struct {
		int32_t size;	    /* bytes that cover every header field below, without locals */
		int32_t previous;   /* f_back to 3.10 */
		int32_t executable; /* f_code; 3.13+ f_executable */
		int32_t instr_ptr;  /* 3.11, 3.12 prev_instr; to 3.10 f_lasti (int32) */
		int32_t owner;	    /* char */
		int32_t is_entry;   /* 3.11, bool */
		int32_t stackpointer; /* as stack_style says */
		int32_t valuestack;   /* to 3.10: PyObject ** */
		int32_t localsplus;
		int32_t tlbc_index;	  /* free-threaded 3.14+, int32 */
		uint64_t executable_mask; /* bits of the word that are not the pointer: ~0 to 3.13,
					   * ~3 from 3.14 (~1 free-threaded 3.14) */
		int32_t lasti_unit; /* to 3.10: bytes that one unit of f_lasti stands for: 1 or 2 */
		int32_t generator;  /* to 3.10: f_gen, the generator that it is of, or NULL */
		int8_t instr_back;  /* bytes to subtract from instr_ptr to get the instruction that
				     * is running: 0 where it is the running one already */
		/* owner values, ABSENT where the version has no such owner */
		int8_t owner_thread, owner_generator, owner_frame_object, owner_interpreter,
			owner_cstack;
		/* 3.11, 3.12: instr_ptr of a caller is the last unit of its instruction's inline
		 * cache. For each opcode how many units of cache it has, or
		 * LAYOUT_CACHE_UNKNOWN; NULL: it is the instruction itself. Not a field to compare:
		 * static data. */
		const uint8_t *caches;
		/* The opcodes, a bit each, at which a frame has called nobody: it returns, has
		 * yielded, or begins; hooks and destructors apart. NULL: none is known. Static
		 * data, too. */
		const uint8_t *idle;
	} frame;
	struct {
		int32_t size;			  /* bytes that cover every field below */
		int32_t filename, name, qualname; /* qualname ABSENT to 3.10 */
		int32_t linetable;		  /* bytes object; co_lnotab to 3.9 */
		int32_t firstlineno;		  /* int32 */
		int32_t argcount;		  /* int32 */
		int32_t flags;			  /* int32, co_flags */
		int32_t code;		/* from 3.11: co_code_adaptive, inline; to 3.10: co_code, a
					 * bytes object */
		int32_t firsttraceable; /* int32, 3.11+ */
		int32_t tlbc;		/* free-threaded 3.14+: _PyCodeArray * */
		int32_t co_version;	/* u32, 3.11+ */
	} code;
	struct {
		int32_t size; /* sizeof(PyObject): 16; 32 free-threaded */
		int32_t ob_type;
	} object;
	struct {
		int32_t ob_size; /* PyVarObject */
	} var;
	struct {
		int32_t tp_name, tp_basicsize, tp_dictoffset, tp_flags, tp_base;
		int32_t ht_cached_keys; /* of a heap type: PyDictKeysObject *, 3.8+ */
	} type;
	struct {
		int32_t state, length, ascii_data, compact_data; /* unicode; state u32 */
		int8_t kind_shift; /* of the state word: 2; 8 free-threaded 3.14+ */
		int8_t compact_shift, ascii_shift;
	} unicode;
	struct {
		int32_t ob_size, ob_sval;
	} bytes;
	struct {
		int32_t ob_size, ob_item;
	} tuple;
	struct {
		int32_t ob_size, ob_item;
	} list;
	struct {
		int32_t ma_used, ma_keys, ma_values;
		/* PyDictKeysObject */
		int32_t keys_header; /* bytes before the index table: 40 to 3.10, 32 later */
		int32_t keys_size;   /* to 3.10: dk_size, ssize_t, a count; later u8 dk_log2_size */
		int32_t keys_log2_index_bytes; /* 3.11+, u8 */
		int32_t keys_kind;	       /* 3.11+, u8: 0 general, 1 unicode, 2 split */
		int32_t keys_nentries;	       /* ssize_t */
	} dict;
	struct {
		int32_t digits; /* ob_digit, u32 of 30 bits */
		int32_t tag;	/* 3.12+: lv_tag; to 3.11 ABSENT, ob_size holds sign and count */
	} integer;
	struct {
		int32_t iframe, frame_state; /* generator; 3.11+ */
		int32_t frame;		     /* to 3.10: PyFrameObject *, NULL once it has ended */
		int32_t exc_state;	     /* to 3.10: _PyErr_StackItem */
		int8_t await_depth;	     /* what it awaits is so many values below the top */
		/* Values of frame_state. To 3.12 it does not tell waiting for another generator
		 * from yielding, and the next instruction does: one of these opcodes, with an
		 * argument of at least yield_from_arg. From 3.13 the opcodes are ABSENT. */
		int8_t created, suspended, yield_from, executing;
		int16_t yield_from_opcodes[2];
		int8_t yield_from_arg;
	} gen;
	struct {
		int32_t loop, callback0, callbacks, state; /* state: int32, 0 pending */
		int32_t fut_waiter, coro, name;
		/* 3.14+, of the target's own table */
		int32_t awaited_by, awaited_by_is_set, node;
	} task; /* the C accelerator's TaskObj; the first four are a FutureObj's too */
	struct {
		int32_t next, prev;
	} llist;
	struct {
		int32_t used, mask, table; /* entries of two words: the object, its hash */
	} set;
	/* Where objects keep the one that matters here. */
	struct {
		int32_t first; /* a weak reference, a cell, the awaitables of a coroutine and of an
				* asynchronous generator, the holder of a running loop, a module:
				* the word behind the head */
		int32_t method_self, partial_args, function_closure, function_globals;
		int32_t frame_object; /* from 3.11: of a frame object, its frame */
	} inner;
	/* Where all objects that the collector tracks are: the heads of its lists, of three
	 * generations and of those that are never collected. Before each object stand two words:
	 * the next of the list and the one before, with flags in the lowest two bits. */
	struct {
		int32_t generations;	 /* bytes from the first of three to gc_collecting; ABSENT
					  * where there are no lists */
		int32_t permanent;	 /* behind the first */
		int32_t generation_size; /* bytes */
#define LAYOUT_GC_PACKED 4		 /* bytes that the three begin earlier in some builds */
	} gc;
};

/* The module greenlet's objects, by its own versions and Python's. Offsets are in the greenlet
 * itself, or, where pimpl is not ABSENT, in what that points to. Which of the rows holds shows only
 * on the live target. */
struct greenlet_layout {
	uint32_t from, to; /* versions of Python, as 0x030b0000; to is not one of them */
	int32_t basicsize; /* of the type, at least */
	int32_t pimpl;
	int32_t self; /* the greenlet's own address; ABSENT */
	/* Five words: where its C stack begins, 1 where it never was left, 0 where it has none (any
	 * more); where that ends, 0 before it was begun, ~0 of the greenlet that a thread begins
	 * with; where what was moved away of it, from its beginning on, is kept; how many bytes
	 * that are; whose is above it. */
	int32_t stack;
	int32_t parent;	   /* not of a thread's first */
	int32_t thread;	   /* of a thread's first: two words, itself and who runs; ABSENT */
	int32_t top_frame; /* frame object while it does not run, else 0 */
	int32_t frame;	   /* from 3.11: its newest frame, while it does not run */
};
extern const struct greenlet_layout layout_greenlets[];
extern const size_t layout_greenlets_count;

/* The rows for a version without a table in the process (3.8-3.12), or NULL. version is as
 * Py_Version; patch releases share rows unless measured to differ. Static, never freed. */
const struct layout *layout_rows(uint32_t version, bool free_threaded);

/* Builds *ret from the debug offsets at the start of _PyRuntime (3.13+): 0; -ENODATA when there is
 * no cookie, -ENOTSUP when the version is not one we know (then *ret_version is set). */
int layout_from_debug_offsets(struct layout *ret, const void *table, size_t len,
			      uint32_t *ret_version);

/* Proves a layout on a live target: walks interpreters, threads and frames at runtime and checks
 * what only the right offsets satisfy (back pointers, code type, names that are strings, chunk
 * bounds). 0 proven; -EAGAIN the runtime is not initialised yet, or is being finalised; -ENOTSUP it
 * does not hold; -EFAULT, -ESRCH, -EPERM from reading. Fields that the debug offsets lack and that
 * fail their own proof are set to ABSENT. */
int layout_prove(struct layout *l, struct memory *m, uint64_t runtime);

/* Where the C accelerator of asyncio keeps its tasks, 3.14+: from the table in its section
 * .AsyncioDebug. Sets fields of l. 0; -ENOTSUP it is none that we know. */
int layout_add_asyncio(struct layout *l, const void *table, size_t len);
#define LAYOUT_ASYNCIO_BYTES 104

/* The thread states of all interpreters of a proven layout, counted up to a bound: a number, or
 * -errno from reading. */
int layout_count_threads(const struct layout *l, struct memory *m, uint64_t runtime);

#endif
