/* Trees to draw, made of what the selected threads have in the selected time. */

/* Names of frames: of a function, or of a line of it. Equal keys side by side are one box. */
class Keys {
	constructor(data, byLine) {
		const cells = data.cellFunction.length, known = new Map();
		this.data = data;
		this.ofCell = new Int32Array(cells);
		this.fn = [0];
		this.line = [0];
		/* Code that moved is the same code: lines do not part functions that are compared. */
		for (let c = 1; c < cells; c++) {
			const f = data.cellFunction[c];
			let name = data.diff ? data.functionName[f] + ":" + data.functionFile[f] : String(f);
			if (byLine)
				name += "," + data.cellLine[c];
			let key = known.get(name);
			if (!key) {
				known.set(name, key = this.fn.length);
				this.fn.push(f);
				this.line.push(byLine ? data.cellLine[c] : 0);
			}
			this.ofCell[c] = key;
		}
		this.count = this.fn.length;
		this.ofPlace = new Int32Array(data.n + 1);
		for (let i = 1; i <= data.n; i++)
			this.ofPlace[i] = this.ofCell[data.cell[i]];
		this.names = new Array(this.count);
	}

	name(key) {
		const data = this.data;
		return this.names[key] ??= key < 0 ? "all" :
			data.text(data.functionName[this.fn[key]]) || "(no name)";
	}

	file(key) {
		return key < 0 ? "" : this.data.text(this.data.functionFile[this.fn[key]]);
	}

	lineOf(key) {
		return key < 0 ? 0 : this.line[key] || Math.max(0, this.data.functionLine[this.fn[key]]);
	}

	/* The numbers of keys in the order of their names. */
	get ranks() {
		if (!this.rank) {
			const order = Array.from(this.fn.keys());
			order.sort((a, b) => this.name(a) < this.name(b) ? -1 : this.name(a) > this.name(b) ? 1 : a - b);
			this.rank = new Int32Array(this.count);
			order.forEach((key, i) => this.rank[key] = i);
		}
		return this.rank;
	}
}

/* Weights of places: [samples, ns] of the profile, and then of the base. */
const COUNT = 0, NS = 1, BASE = 2;

function weigh(data, threads, range) {
	const kinds = data.diff ? 4 : 2, w = [], { span } = data.facts.sides[0];
	/* How long what is weighed took, for rates. */
	data.span = range ? Math.min(span, (range[1] - range[0]) * data.strip.width * (1 << data.strip.shift)) : span;
	for (let k = 0; k < kinds; k++)
		w.push(new Float64Array(data.n + 1));
	data.facts.threads.forEach((thread, t) => {
		if (!threads[t] || (range && !thread.base))
			return;
		const { place, count, ns } = data.counts[t], k = thread.base ? BASE : 0;
		const counts = w[k + COUNT], times = w[k + NS];
		for (let i = 0; i < place.length; i++) {
			counts[place[i]] += count[i];
			times[place[i]] += ns[i];
		}
	});
	if (range) {
		const s = data.strip, counts = w[COUNT], times = w[NS];
		for (let i = s.starts[range[0]]; i < s.starts[range[1]]; i++) {
			if (threads[s.thread[i]]) {
				counts[s.place[i]] += s.count[i];
				times[s.place[i]] += s.ns[i];
			}
		}
	}
	return w;
}

/* What each thread has in a range: [samples, ns]. */
function weighThreads(data, range) {
	const s = data.strip, sums = data.facts.threads.map(() => [0, 0]);
	for (let i = s.starts[range[0]]; i < s.starts[range[1]]; i++) {
		sums[s.thread[i]][COUNT] += s.count[i];
		sums[s.thread[i]][NS] += s.ns[i];
	}
	return sums;
}

/* How many samples of a thread had each state, how they were taken (free, by a stop, moving), and how many
 * there are. */
function statesOf(data, thread, range) {
	const known = data.facts.threads[thread];
	let states = known.states, how = known.how;
	if (range) {
		const sums = data.strip.states[thread].map(row => row.subarray(...range).reduce((a, b) => a + b, 0));
		states = sums.slice(0, STATES);
		how = sums.slice(STATES);
	}
	return { states, how, seen: how.reduce((a, b) => a + b, 0) };
}

/* What the recorders reported of a range, as [due, achieved, missed, lost]: from the last report before it to
 * the first behind it. span: that time. null: nothing. */
function reported(data, range) {
	const { reports, span } = data.facts.sides[0], wide = data.strip.width * (1 << data.strip.shift);
	const from = range[0] * wide, to = Math.min(range[1] * wide, span), sums = [0, 0, 0, 0];
	let begin = Infinity, end = -Infinity;
	for (const numbers of reports) {
		let a = 0, b = 5;
		while (b + 5 < numbers.length && numbers[b] < to)
			b += 5;
		while (a + 5 < b && numbers[a + 5] <= from)
			a += 5;
		if (b >= numbers.length || numbers[b] <= from || numbers[a] >= to)
			continue;
		sums.forEach((n, i) => sums[i] += Math.max(0, numbers[b + 1 + i] - numbers[a + 1 + i]));
		begin = Math.min(begin, numbers[a]);
		end = Math.max(end, numbers[b]);
	}
	return end > begin ? { sums, span: [Math.max(0, begin), end] } : null;
}

/* Nodes by parent and key; a parent's number is below its children's. Node 0 is the root. */
class RawTree {
	constructor(kinds, room) {
		this.count = 1;
		this.kinds = kinds;
		this.grow(Math.max(1024, room));
	}

	grow(room) {
		const wider = (Type, old) => {
			const array = new Type(room);
			if (old)
				array.set(old);
			return array;
		};
		this.room = room;
		this.parent = wider(Int32Array, this.parent);
		this.key = wider(Int32Array, this.key);
		this.self = Array.from({ length: this.kinds }, (_, k) => wider(Float64Array, this.self?.[k]));
		this.total = Array.from({ length: this.kinds }, (_, k) => wider(Float64Array, this.total?.[k]));
		let slots = 1024;
		while (slots < 2 * room)
			slots *= 2;
		this.slots = new Int32Array(slots);
		for (let i = 1; i < this.count; i++)
			this.slots[this.slotOf(this.parent[i], this.key[i])] = i;
	}

	slotOf(parent, key) {
		const mask = this.slots.length - 1;
		let h = Math.imul(parent, 0x9E3779B1) ^ Math.imul(key, 0x85EBCA6B);
		h = Math.imul(h ^ h >>> 15, 0x2C1B3C6D);
		for (let i = (h ^ h >>> 13) & mask; ; i = (i + 1) & mask) {
			const at = this.slots[i];
			if (!at || (this.parent[at] === parent && this.key[at] === key))
				return i;
		}
	}

	add(parent, key) {
		let slot = this.slotOf(parent, key);
		if (this.slots[slot])
			return this.slots[slot];
		if (this.count === this.room) {
			this.grow(2 * this.room);
			slot = this.slotOf(parent, key);
		}
		this.parent[this.count] = parent;
		this.key[this.count] = key;
		return this.slots[slot] = this.count++;
	}

	/* Totals from what each node has itself. */
	sum() {
		for (let k = 0; k < this.kinds; k++) {
			const self = this.self[k], total = this.total[k];
			total.set(self);
			for (let i = this.count - 1; i > 0; i--)
				total[this.parent[i]] += total[i];
		}
	}
}

/* From callers to callees. ofPlace tells which node a place went to. root: a function that every
 * stack is cut at, at its outermost call; 0: none. */
function treeDown(data, keys, w, root) {
	const raw = new RawTree(w.length, data.n / 4 | 0), ofPlace = new Int32Array(data.n + 1).fill(-1);
	const parent = data.parent;
	if (!root)
		ofPlace[0] = 0;
	for (let i = 1; i <= data.n; i++) {
		const above = ofPlace[parent[i]];
		let at = -1;
		if (above >= 0)
			at = raw.add(above, keys.ofPlace[i]);
		else if (root && keys.ofPlace[i] === root)
			at = 0;
		ofPlace[i] = at;
		if (at >= 0)
			for (let k = 0; k < w.length; k++)
				raw.self[k][at] += w[k][i];
	}
	raw.key[0] = root || -1;
	raw.sum();
	raw.ofPlace = ofPlace;
	return raw;
}

/* What each place and all below it have. */
function totalsOf(data, w) {
	return w.map(self => {
		const total = self.slice();
		for (let i = data.n; i > 0; i--)
			total[data.parent[i]] += total[i];
		return total;
	});
}

const MANY_NODES = 400000;

/* From callees to callers, level by level. With root, of the outermost calls of that function; else
 * of whatever has samples itself. Levels that would be too many are only made of the nodes that
 * take more than a share of what window shows of them; the rest is made when it is looked at. */
function treeUp(data, keys, w, root, unit, window) {
	const weights = root ? totalsOf(data, w) : w, kinds = w.length;
	const raw = new RawTree(kinds, 4096), parent = data.parent;
	let place = [], node = [];
	const inside = root ? new Uint8Array(data.n + 1) : null;
	raw.key[0] = root || -1;
	for (let i = 1; i <= data.n; i++) {
		if (root) {
			inside[i] = inside[parent[i]] || keys.ofPlace[i] === root ? 1 : 0;
			if (!inside[i] || inside[parent[i]])
				continue;
		}
		let any = 0;
		for (let k = 0; k < kinds; k++)
			any += weights[k][i];
		if (!any)
			continue;
		const at = root ? 0 : raw.add(0, keys.ofPlace[i]);
		for (let k = 0; k < kinds; k++)
			raw.total[k][at] += weights[k][i];
		if (!root)
			for (let k = 0; k < kinds; k++)
				raw.total[k][0] += weights[k][i];
		place.push(i);
		node.push(at);
	}
	let leaf = Int32Array.from(place), at = Int32Array.from(place), of = Int32Array.from(node);
	raw.cut = false;
	for (let left = leaf.length; left > 0;) {
		let kept = 0;
		const least = raw.count > MANY_NODES ? window : 0;
		for (let i = 0; i < left; i++) {
			const above = parent[at[i]];
			if (!above) {
				for (let k = 0; k < kinds; k++)
					raw.self[k][of[i]] += weights[k][leaf[i]];
				continue;
			}
			if (least && raw.total[unit][of[i]] < least) {
				raw.cut = true;
				continue;
			}
			leaf[kept] = leaf[i];
			at[kept] = above;
			of[kept++] = raw.add(of[i], keys.ofPlace[above]);
		}
		left = kept;
		for (let i = 0; i < left; i++)
			for (let k = 0; k < kinds; k++)
				raw.total[k][of[i]] += weights[k][leaf[i]];
	}
	return raw;
}

/* Ready to draw: children lie side by side, heaviest first or by name, and have numbers one behind
 * the other; so has each row, from left to right. kind: which weight makes the width. */
function arrange(raw, keys, kind, byName) {
	const n = raw.count, weight = raw.total[kind];
	const start = new Int32Array(n + 2), child = new Int32Array(n);
	for (let i = 1; i < n; i++)
		if (weight[i] > 0)
			start[raw.parent[i] + 2]++;
	for (let i = 2; i < n + 2; i++)
		start[i] += start[i - 1];
	for (let i = 1; i < n; i++)
		if (weight[i] > 0)
			child[start[raw.parent[i] + 1]++] = i;
	const ranks = byName ? keys.ranks : null;
	const compare = byName ? (a, b) => ranks[raw.key[a]] - ranks[raw.key[b]] || a - b :
		(a, b) => weight[b] - weight[a] || raw.key[a] - raw.key[b];
	const order = new Int32Array(n), view = {
		keys, kind, count: 1, parent: new Int32Array(n), key: new Int32Array(n), x: new Float64Array(n),
		width: new Float64Array(n), first: new Int32Array(n), children: new Int32Array(n),
		raw: order, from: raw, rows: [0], depth: new Int32Array(n),
	};
	view.key[0] = raw.key[0];
	view.width[0] = weight[0];
	for (let at = 0, row = 0; at < view.count; at++) {
		const from = order[at], begin = start[from], end = start[from + 1];
		if (view.depth[at] > row || at === 0)
			view.rows[row = view.depth[at]] = at;
		view.first[at] = view.count;
		view.children[at] = end - begin;
		if (end === begin)
			continue;
		const kids = child.subarray(begin, end);
		if (end - begin > 1)
			kids.sort(compare);
		let x = view.x[at];
		for (const kid of kids) {
			const to = view.count++;
			order[to] = kid;
			view.parent[to] = at;
			view.key[to] = raw.key[kid];
			view.depth[to] = view.depth[at] + 1;
			view.x[to] = x;
			view.width[to] = weight[kid];
			x += weight[kid];
		}
	}
	view.rows.push(view.count);
	return view;
}

/* A view's numbers of a node: totals and own weights by kind. */
const totalOf = (view, node, kind) => view.from.total[kind]?.[view.raw[node]] ?? 0;
const selfOf = (view, node, kind) => view.from.self[kind]?.[view.raw[node]] ?? 0;

/* The first node of a row, from node on, that ends behind x. */
function lowerBound(view, from, to, x) {
	while (from < to) {
		const middle = (from + to) >>> 1;
		if (view.x[middle] + view.width[middle] <= x)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

/* The keys from the root to a node, and back. */
function pathOf(view, node) {
	const path = [];
	for (; node; node = view.parent[node])
		path.push(view.key[node]);
	return path.reverse();
}

function nodeAt(view, path) {
	let at = 0;
	for (const key of path) {
		let next = 0;
		for (let i = view.first[at], end = i + view.children[at]; i < end; i++)
			if (view.key[i] === key) {
				next = i;
				break;
			}
		if (!next)
			return at;
		at = next;
	}
	return at;
}

/* Of each function, what it has itself, and with what it calls (a recursive call once). */
function functionTable(data, keys, w, kind) {
	const self = new Float64Array(keys.count), total = new Float64Array(keys.count);
	const totals = totalsOf(data, [w[kind]])[0], active = new Int32Array(keys.count), open = [];
	for (let i = 1; i <= data.n; i++) {
		while (open.length && open[open.length - 1] !== data.parent[i])
			active[keys.ofPlace[open.pop()]]--;
		const key = keys.ofPlace[i];
		self[key] += w[kind][i];
		if (active[key]++ === 0)
			total[key] += totals[i];
		open.push(i);
	}
	return { self, total, sum: totals[0] };
}

/* ---- comparing ---- */

/* How a weight changed: rates of time, or whole times, and how many standard deviations of counting
 * that is. */
function change(data, absolute, view, node, own) {
	const of = own ? selfOf : totalOf, [a, b] = data.facts.sides;
	const ta = absolute ? 1 : data.span || 1, tb = absolute ? 1 : b.span || 1;
	const now = of(view, node, NS) / ta, was = of(view, node, BASE + NS) / tb;
	const nowCount = of(view, node, COUNT), wasCount = of(view, node, BASE + COUNT);
	/* Where nothing was counted, one sample could have been. */
	const least = (time, count, interval, whole) => count ? time * time / count : ((interval || 1) / whole) ** 2;
	const sigma = Math.sqrt(least(now, nowCount, a.interval, ta) + least(was, wasCount, b.interval, tb));
	return { now, was, nowCount, wasCount, ratio: was ? now / was - 1 : Infinity, z: (now - was) / sigma };
}

const SIGNIFICANT = 3;

/* 0 same or noise, 1..3 more, -1..-3 less, 4 new, 5 elided. */
function changeClass(data, absolute, view, node, own) {
	const whole = change(data, absolute, view, node, false);
	if (!whole.wasCount && whole.nowCount)
		return whole.z >= SIGNIFICANT ? 4 : 0;
	if (!whole.nowCount && whole.wasCount)
		return 5;
	const c = own ? change(data, absolute, view, node, true) : whole;
	if (!(Math.abs(c.z) >= SIGNIFICANT))
		return 0;
	if (c.ratio > 0)
		return c.ratio < 0.25 ? 1 : c.ratio < 1 ? 2 : 3;
	return c.ratio > -0.2 ? -1 : c.ratio > -0.5 ? -2 : -3;
}

/* Only what the base alone has: the weight of such nodes, in the place of the first kind. */
function onlyElided(raw, unit) {
	const weight = raw.total[BASE + unit], now = raw.total[COUNT], kind = raw.kinds;
	const self = new Float64Array(raw.room), total = new Float64Array(raw.room);
	for (let i = 1; i < raw.count; i++)
		if (!now[i] && weight[i] && now[raw.parent[i]])
			self[i] = weight[i];
	for (let i = raw.count - 1; i >= 0; i--) {
		total[i] += self[i];
		if (i && !now[i] && !self[i])
			total[i] = weight[i];
		else if (i)
			total[raw.parent[i]] += total[i];
	}
	raw.self[kind] = self;
	raw.total[kind] = total;
	raw.elided = total[0];
	return kind;
}
