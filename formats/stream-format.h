/* The numbers of the recording, for the writer and the reader; pyprof(5) is the description. */
#ifndef PYPROF_FORMATS_STREAM_FORMAT_H
#define PYPROF_FORMATS_STREAM_FORMAT_H

/* Prologue: magic, version (u16 major, u16 minor), low half of XXH3 of the 12 bytes before. */
#define PROLOGUE_MAGIC	   "\x89PYPROF\n"
#define PROLOGUE_MAGIC_LEN 8
#define PROLOGUE_LEN	   16
#define VERSION_MAJOR	   1
#define VERSION_MINOR	   1

/* Chunk header, little-endian; offsets of its fields. */
#define CHUNK_MAGIC	"\xc7Pk\x1a"
#define CHUNK_MAGIC_LEN 4
enum chunk_field {
	CHUNK_TYPE = 4,
	CHUNK_CODEC = 5,
	CHUNK_HEADER_SIZE = 6,	 /* u16 */
	CHUNK_RAW = 8,		 /* u32 */
	CHUNK_STORED = 12,	 /* u32 */
	CHUNK_STREAM = 16,	 /* u64 */
	CHUNK_SEGMENT = 24,	 /* u32 */
	CHUNK_SEQUENCE = 28,	 /* u32 */
	CHUNK_BEFORE = 32,	 /* u64 */
	CHUNK_SAMPLES = 40,	 /* u32 */
	CHUNK_UNIT = 44,	 /* u32 */
	CHUNK_CHECK = 48,	 /* u64, XXH3 of the stored bytes */
	CHUNK_HEADER_CHECK = 56, /* u64, XXH3 of the 56 bytes before */
	CHUNK_HEADER_LEN = 64,
};
enum chunk_type { CHUNK_RECORDS = 1 };

enum record_type {
	RECORD_HEADER = 1,
	RECORD_STRING,
	RECORD_FUNCTION,
	RECORD_FRAME,
	RECORD_STACK,
	RECORD_THREAD,
	RECORD_SAMPLES,
	RECORD_GAP,
	RECORD_STATISTICS,
	RECORD_SUMMARY,
	RECORD_TASK,
	RECORD_TASK_STATE,
	RECORD_TASKS,
	RECORD_OPS,
	RECORD_WAIT,
};

/* The defined kinds, in the order in which a chunk carries them: each refers to earlier ones. */
enum definition { DEF_STRING, DEF_FUNCTION, DEF_FRAME, DEF_STACK, DEF_THREAD, DEF_TASK, DEF_COUNT };

enum column {
	COLUMN_TIME = 1,
	COLUMN_THREAD,
	COLUMN_STACK,
	COLUMN_STATE,
	COLUMN_HOW,
	COLUMN_CPU,
	COLUMN_TASK,
	COLUMN_BELOW
};

/* A column's encoding is transform << 4 | storage. */
enum transform {
	TRANSFORM_NONE,
	TRANSFORM_DELTA,  /* to the row before, less a usual step */
	TRANSFORM_LAG,	  /* 0: as k rows before; else the value + 1 */
	TRANSFORM_THREAD, /* 0: as this thread's row before; else the value + 1 */
};
enum storage { STORAGE_VARINT, STORAGE_U8, STORAGE_U16, STORAGE_U32, STORAGE_RUNS };

/* Bounds of the format. What is over them is damage; a writer stays below. */
#define MAX_CHUNK (1u << 20) /* raw and stored bytes: 16 times what the writer aims at */
#define MAX_ROWS  (1u << 16) /* of one samples record: the reader's columns are 2 MB */
#define MAX_IDS	  (1u << 20) /* of one kind in one segment: 4 MB hold no more definitions */
#define MAX_TOTAL_IDS                                                                              \
	(1u << 24)		  /* in use by all streams at one time: bounds the reader's memory \
				   */
#define MAX_STREAMS    16384	  /* of one input: processes of one recording */
#define MAX_STRING     (1u << 16) /* bytes; longer ones are cut by the writer */
#define MAX_JSON       (1u << 16)
#define MAX_DEPTH      8192 /* frames of one stack; twice the deepest that is sampled */
#define MAX_COLUMNS    64
#define MAX_AWAITERS   (1u << 16) /* of one task; the reader keeps as many */
#define MAX_OP	       (1u << 15) /* an opcode plus 1; they are bytes so far */
#define MAX_THREAD_IDS (1u << 16) /* of one segment; keeps the thread transform's table small */

#define CHUNK_TARGET (64u << 10) /* raw bytes at which the writer closes a chunk */
#define CHUNK_ROWS   16384	 /* and rows */

#endif
