#include "tests/unit/synthetic.h"

#include <stdio.h>
#include <string.h>

enum { /* where things stand in the image */
       AT_TYPE = 0x100,
       AT_TYPE_NAME = 0x180,
       AT_FILE = 0x200,
       AT_NAMES = 0x300,
       AT_LINES = 0x700,
       AT_CODES = 0x1000,
       AT_INTERP = 0x3000,
       AT_TSTATE = 0x3400,
       AT_CHUNK = 0x4000,
};
enum { FRAME_BYTES = 0x60, CHUNK_BYTES = 0x2000, CODE_BYTES = 0x200, UNITS = 8 };

static void absent(struct layout *l)
{
	l->runtime.interpreters_head = 0x40;
	l->runtime.tstate_current = l->runtime.gil_locked = l->runtime.gc_collecting = ABSENT;
	l->interp.gc_collecting = l->interp.gil = l->interp.modules =
		l->interp.code_object_generation = l->interp.threads_main = l->interp.gc_frame =
			ABSENT;
	l->gil.last_holder = l->gil.locked = l->gil.switches = l->gil.cond = ABSENT;
	l->runtime.gil_last_holder = l->runtime.gil_switches = l->runtime.gil_cond = ABSENT;
	l->tstate.cframe = l->tstate.base_frame = l->tstate.native_thread_id = l->tstate.status =
		l->tstate.state = l->tstate.holds_gil = l->tstate.gil_requested =
			l->tstate.context_ver = l->tstate.current_exception = l->tstate.exc_info =
				l->tstate.exc_state = ABSENT;
	l->frame.is_entry = l->frame.stackpointer = l->frame.tlbc_index = ABSENT;
	l->frame.owner_frame_object = l->frame.owner_cstack = ABSENT;
	l->code.tlbc = l->code.co_version = ABSENT;
}

void synthetic_put(struct synthetic *s, uint64_t addr, uint64_t word)
{
	memcpy(s->image + (addr - SYNTHETIC_BASE), &word, 8);
}

uint64_t synthetic_get(const struct synthetic *s, uint64_t addr)
{
	uint64_t word;

	memcpy(&word, s->image + (addr - SYNTHETIC_BASE), 8);
	return word;
}

static uint64_t put_string(struct synthetic *s, uint64_t addr, const char *text)
{
	const struct layout *l = &s->target.layout;

	synthetic_put(s, addr + (uint64_t)l->unicode.length, strlen(text));
	synthetic_put(s, addr + (uint64_t)l->unicode.state, 1u << 2 | 1u << 5 | 1u << 6);
	memcpy(s->image + (addr - SYNTHETIC_BASE) + l->unicode.ascii_data, text, strlen(text));
	return addr;
}

static void put_code(struct synthetic *s, unsigned i)
{
	const struct layout *l = &s->target.layout;
	uint64_t code = SYNTHETIC_BASE + AT_CODES + (uint64_t)i * CODE_BYTES;
	uint64_t lines = SYNTHETIC_BASE + AT_LINES + (uint64_t)i * 0x40;
	char name[32];

	snprintf(name, sizeof(name), "function_%u", i);
	s->codes[i] = code;
	synthetic_put(s, code + (uint64_t)l->object.ob_type, SYNTHETIC_BASE + AT_TYPE);
	synthetic_put(s, code + (uint64_t)l->var.ob_size, UNITS);
	synthetic_put(s, code + (uint64_t)l->code.filename, SYNTHETIC_BASE + AT_FILE);
	synthetic_put(s, code + (uint64_t)l->code.qualname,
		      put_string(s, SYNTHETIC_BASE + AT_NAMES + (uint64_t)i * 0x40, name));
	synthetic_put(s, code + (uint64_t)l->code.linetable, lines);
	synthetic_put(s, code + (uint64_t)l->code.firstlineno, 10 * (i + 1));
	/* One location entry for all units: no columns, same line. */
	synthetic_put(s, lines + (uint64_t)l->bytes.ob_size, 2);
	s->image[lines + (uint64_t)l->bytes.ob_sval - SYNTHETIC_BASE] =
		0x80 | 13 << 3 | (UNITS - 1);
}

void synthetic_init(struct synthetic *s)
{
	struct layout *l = &s->target.layout;

	memset(s, 0, sizeof(*s));
	absent(l);
	l->version = 0x030d0000;
	l->frame_style = FRAME_STYLE_INTERPRETER;
	l->line_style = LINE_STYLE_LOCATIONS;
	l->interp.id = 0;
	l->interp.next = 8;
	l->interp.threads_head = 16;
	l->tstate.size = 80;
	l->tstate.prev = 0;
	l->tstate.next = 8;
	l->tstate.interp = 16;
	l->tstate.frame = 24;
	l->tstate.thread_id = 32;
	l->tstate.datastack_chunk = 40;
	l->tstate.datastack_top = 48;
	l->tstate.datastack_limit = 56;
	l->chunk.previous = 0;
	l->chunk.size = 8;
	l->chunk.top = 16;
	l->chunk.data = 24;
	l->frame.size = 40;
	l->frame.executable = 0;
	l->frame.previous = 8;
	l->frame.instr_ptr = 16;
	l->frame.owner = 24;
	l->frame.localsplus = 40;
	l->frame.executable_mask = ~0ull;
	l->frame.owner_thread = 0;
	l->frame.owner_generator = 1;
	l->frame.owner_interpreter = 3;
	l->gen.iframe = 72;
	l->gen.frame_state = 67;
	l->gen.executing = 0;
	l->object.size = 16;
	l->object.ob_type = 8;
	l->var.ob_size = 16;
	l->type.tp_name = 24;
	l->code.size = 96;
	l->code.filename = 24;
	l->code.name = l->code.qualname = 32;
	l->code.linetable = 40;
	l->code.firstlineno = 48;
	l->code.flags = 56;
	l->code.firsttraceable = 60;
	l->code.code = 96;
	l->unicode.length = 16;
	l->unicode.state = 32;
	l->unicode.ascii_data = 40;
	l->unicode.compact_data = 56;
	l->unicode.kind_shift = 2;
	l->unicode.compact_shift = 5;
	l->unicode.ascii_shift = 6;
	l->bytes.ob_size = 16;
	l->bytes.ob_sval = 32;
	memory_new_image(&s->target.memory, s->image, SYNTHETIC_SIZE, SYNTHETIC_BASE);
	s->target.runtime = SYNTHETIC_BASE;
	s->interp = SYNTHETIC_BASE + AT_INTERP;
	s->tstate = SYNTHETIC_BASE + AT_TSTATE;
	s->chunk = SYNTHETIC_BASE + AT_CHUNK;
	s->generator_frame = SYNTHETIC_BASE + AT_CHUNK + CHUNK_BYTES + 0x100;
	synthetic_put(s, SYNTHETIC_BASE + AT_TYPE + (uint64_t)l->type.tp_name,
		      SYNTHETIC_BASE + AT_TYPE_NAME);
	memcpy(s->image + AT_TYPE_NAME, "code", 5);
	put_string(s, SYNTHETIC_BASE + AT_FILE, "file.py");
	for (unsigned i = 0; i < SYNTHETIC_CODES; i++)
		put_code(s, i);
	synthetic_put(s, s->target.runtime + (uint64_t)l->runtime.interpreters_head, s->interp);
	synthetic_put(s, s->interp + (uint64_t)l->interp.threads_head, s->tstate);
	synthetic_put(s, s->tstate + (uint64_t)l->tstate.interp, s->interp);
	synthetic_put(s, s->tstate + (uint64_t)l->tstate.thread_id, 77);
	synthetic_put(s, s->tstate + (uint64_t)l->tstate.datastack_chunk, s->chunk);
	synthetic_put(s, s->tstate + (uint64_t)l->tstate.datastack_top,
		      s->chunk + (uint64_t)l->chunk.data);
	synthetic_put(s, s->chunk + (uint64_t)l->chunk.size, CHUNK_BYTES);
}

void synthetic_done(struct synthetic *s)
{
	memory_free(s->target.memory);
}

uint64_t synthetic_frame(const struct synthetic *s, unsigned depth)
{
	return s->chunk + (uint64_t)s->target.layout.chunk.data + (uint64_t)depth * FRAME_BYTES;
}

static void set_leaf(struct synthetic *s, uint64_t leaf)
{
	const struct layout *l = &s->target.layout;

	s->leaf = leaf;
	synthetic_put(s, s->tstate + (uint64_t)l->tstate.frame, leaf);
	synthetic_put(s, s->tstate + (uint64_t)l->tstate.datastack_top,
		      synthetic_frame(s, s->depth));
}

void synthetic_step(struct synthetic *s, unsigned ip)
{
	const struct layout *l = &s->target.layout;
	uint64_t code = synthetic_get(s, s->leaf + (uint64_t)l->frame.executable);

	synthetic_put(s, s->leaf + (uint64_t)l->frame.instr_ptr,
		      code + (uint64_t)l->code.code + 2ull * ip);
}

void synthetic_push(struct synthetic *s, unsigned code, unsigned caller_ip)
{
	const struct layout *l = &s->target.layout;
	uint64_t frame = synthetic_frame(s, s->depth);

	if (s->leaf)
		synthetic_step(s, caller_ip);
	synthetic_put(s, frame + (uint64_t)l->frame.executable, s->codes[code]);
	synthetic_put(s, frame + (uint64_t)l->frame.previous, s->leaf);
	synthetic_put(s, frame + (uint64_t)l->frame.owner, 0);
	s->depth++;
	set_leaf(s, frame);
	synthetic_step(s, 0);
}

void synthetic_pop(struct synthetic *s)
{
	uint64_t previous = synthetic_get(s, s->leaf + (uint64_t)s->target.layout.frame.previous);

	s->depth--;
	set_leaf(s, previous);
}
