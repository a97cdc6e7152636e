/* What the page carries: base64 of zlib of one stream of numbers and texts, as formats/flame.c puts them. */

const $ = id => document.getElementById(id);

class Reader {
	constructor(bytes) {
		this.bytes = bytes;
		this.at = 0;
	}

	number() {
		const bytes = this.bytes;
		let value = bytes[this.at++];
		if (value < 128)
			return value;
		value &= 127;
		for (let factor = 128; ; factor *= 128) {
			const byte = bytes[this.at++];
			value += (byte & 127) * factor;
			if (!(byte > 127))
				return value;
		}
	}

	signed() {
		const value = this.number();
		return value % 2 ? -(value + 1) / 2 : value / 2;
	}

	take(length) {
		this.at += length;
		return this.bytes.subarray(this.at - length, this.at);
	}

	fill(array, from = 0) {
		for (let i = from; i < array.length; i++)
			array[i] = this.number();
		return array;
	}

	fillSigned(array, from = 0) {
		for (let i = from; i < array.length; i++)
			array[i] = this.signed();
		return array;
	}

	/* Numbers in the order of their first use: 0 is the next new one. */
	fillRenamed(array, from = 0) {
		let last = 0;
		for (let i = from; i < array.length; i++) {
			const back = this.number();
			array[i] = back ? last + 1 - back : ++last;
		}
		return array;
	}
}

function unpack(text) {
	if (Uint8Array.fromBase64)
		return Uint8Array.fromBase64(text);
	const raw = atob(text), bytes = new Uint8Array(raw.length);
	for (let i = 0; i < raw.length; i++)
		bytes[i] = raw.charCodeAt(i);
	return bytes;
}

async function inflate(bytes) {
	const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
	return new Uint8Array(await new Response(stream).arrayBuffer());
}

const decoder = new TextDecoder();

function readTexts(r) {
	const count = r.number(), lengths = r.fill(new Uint32Array(count + 1), 1);
	const starts = new Uint32Array(count + 2), known = new Array(count + 1);
	for (let i = 1; i <= count; i++)
		starts[i + 1] = starts[i] + lengths[i];
	const bytes = r.take(starts[count + 1]);
	return i => {
		if (!i)
			return "";
		return known[i] ??= decoder.decode(bytes.subarray(starts[i], starts[i + 1]));
	};
}

function readTree(r, data) {
	data.text = readTexts(r);
	const n = data.n = r.number();
	const parent = data.parent = new Int32Array(n + 1), ups = r.fill(new Uint32Array(n + 1), 1);
	for (let i = 1; i <= n; i++) {
		let at = i - 1;
		for (let up = ups[i]; up > 0; up--)
			at = parent[at];
		parent[i] = at;
	}
	data.cell = r.fillRenamed(new Int32Array(n + 1), 1);
	const cells = r.number();
	const cellFunction = data.cellFunction = r.fillRenamed(new Int32Array(cells + 1), 1);
	const lines = r.fillSigned(new Float64Array(cells + 1), 1);
	data.cellOp = r.fill(new Int32Array(cells + 1), 1);
	const functions = r.number();
	data.functionName = r.fill(new Int32Array(functions + 1), 1);
	data.functionFile = r.fill(new Int32Array(functions + 1), 1);
	data.functionLine = r.fillSigned(new Int32Array(functions + 1), 1);
	data.functionKind = r.fill(new Uint8Array(functions + 1), 1);
	data.cellLine = new Int32Array(cells + 1);
	for (let i = 1; i <= cells; i++)
		if (lines[i] > -2147483648)
			data.cellLine[i] = lines[i] + data.functionLine[cellFunction[i]];
}

/* What each thread has on each place. */
function readCounts(r, data) {
	const interval = data.interval = r.number(), unit = r.number(), step = Math.floor(interval / unit);
	data.counts = data.facts.threads.map(() => {
		const n = r.number(), place = r.fill(new Int32Array(n));
		for (let i = 1; i < n; i++)
			place[i] += place[i - 1];
		const count = r.fill(new Float64Array(n)), ns = r.fillSigned(new Float64Array(n));
		for (let i = 0; i < n; i++)
			ns[i] = (ns[i] + count[i] * step) * unit;
		return { place, count, ns };
	});
}

/* Why a file has no lines; from enum source of formats/flame-source.c. */
const SOURCE_SHOWN = 0, SOURCE_NO_PATH = 6;
const SOURCE_REASONS = ["", "the file was not there where this page was made", "whoever made this page may not read the file",
	"the file was changed after the recording began: its lines may not be those that ran", "the file is too large",
	"the file is no text", "it is the name of no file", "whoever made this page asked for no source", "the file could not be read"];

function readSources(r, data) {
	data.sources = new Map();
	for (let files = r.number(); files > 0; files--) {
		const file = r.number(), why = r.number(), lines = new Map();
		let line = 0, end = 0;
		if (why === SOURCE_SHOWN) {
			end = r.number();
			for (let n = r.number(); n > 0; n--) {
				line += r.number();
				lines.set(line, decoder.decode(r.take(r.number())));
			}
		}
		data.sources.set(file, { why, end, lines });
	}
}

/* States are the bits of enum stream_state, then samples with an exception and those that tell of it. */
const DOINGS = 7, STATES = 18, HOWS = 3;

/* The strip: what threads did in each bin, and in each wider one which states they had, how they were
 * looked at, and where they were seen. */
function readStrip(r, data) {
	const bins = r.number();
	data.strip = null;
	if (!bins)
		return;
	const width = r.number(), shift = r.number();
	const threads = data.facts.threads.filter(t => !t.base).length, wide = ((bins - 1) >> shift) + 1;
	const doing = [], states = [], rows = (count, length) => Array.from({ length: count }, () => r.fill(new Uint32Array(length)));
	for (let t = 0; t < threads; t++) {
		doing.push(rows(DOINGS, bins));
		states.push(rows(STATES + HOWS, wide));
	}
	const starts = new Uint32Array(wide + 1);
	for (let i = 0; i < wide; i++)
		starts[i + 1] = starts[i] + r.number();
	const n = starts[wide], thread = r.fill(new Int32Array(n)), place = r.fill(new Int32Array(n));
	const first = new Uint8Array(n);
	for (let i = 0; i < wide; i++)
		first[starts[i]] = 1;
	for (let i = 1; i < n; i++)
		if (!first[i] && thread[i] === thread[i - 1])
			place[i] += place[i - 1];
	const count = r.fill(new Float64Array(n)), ns = r.fillSigned(new Float64Array(n));
	const step = Math.floor(data.interval / 1000);
	for (let i = 0; i < n; i++)
		ns[i] = (ns[i] + count[i] * step) * 1000;
	data.strip = { bins, width, shift, wide, doing, states, starts, thread, place, count, ns };
}

async function readData(text) {
	const r = new Reader(await inflate(unpack(text.trim())));
	const data = { facts: JSON.parse(decoder.decode(r.take(r.number()))) };
	readTree(r, data);
	readCounts(r, data);
	readSources(r, data);
	readStrip(r, data);
	if (r.at !== r.bytes.length)
		throw new Error("the data of this page is damaged");
	data.diff = data.facts.sides.length > 1;
	return data;
}
