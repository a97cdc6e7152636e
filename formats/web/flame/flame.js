/* The page: what is asked of the profile, and everything that asks. */

const store = {
	get(name) {
		try {
			return localStorage.getItem(`pyprof.${name}`);
		} catch {
			return null;
		}
	},
	set(name, value) {
		try {
			localStorage.setItem(`pyprof.${name}`, value);
		} catch {
			/* A page from a file may have no store. */
		}
	},
};

class App {
	constructor(data) {
		this.data = data;
		this.threads = new Uint8Array(data.facts.threads.length).fill(1);
		this.range = null;
		this.unit = NS;
		this.inverted = this.upward = this.lines = this.paths = this.byName = this.elided = this.absolute = false;
		this.own = true;
		this.color = data.diff ? "change" : "origin";
		this.root = 0;
		this.query = "";
		this.regex = false;
		this.selected = null;
		this.backs = [];
		this.keys = new Keys(data, false);
		findOwnFolder(data);
		this.side = new Side(this);
		this.dark = matchMedia("(prefers-color-scheme: dark)");
		this.dark.addEventListener("change", () => this.themeChanged());
		this.theme = store.get("theme");
		this.graph = new Graph($("box"), $("graph"), $("spacer"), $("trees"), this);
		this.strip = data.strip ? new Strip($("strip-box"), $("strip"), data, this) : null;
		this.controls();
		this.heading();
		this.themeChanged();
		this.fromHash();
		addEventListener("beforeprint", () => this.print(true));
		addEventListener("afterprint", () => this.print(false));
		addEventListener("hashchange", () => {
			if (location.hash !== this.hash)
				this.fromHash();
		});
		$("page").classList.remove("loading");
	}

	/* ---- what is drawn ---- */

	get isDark() {
		return this.printing ? false : this.theme ? this.theme === "dark" : this.dark.matches;
	}

	look() {
		return this.known ??= {
			theme: THEMES[this.isDark ? "dark" : "light"],
			colors: this.keyColors(),
			ofNode: this.color === "origin" ? null : (view, node) => this.nodeColor(view, node),
			matches: this.matches,
			markText: this.isDark ? "#16181d" : "#ffffff",
			pale: this.isDark ? "#16181d66" : "#fdfcfa80",
			rootName: this.rootName,
			place: key => this.place(key),
		};
	}

	get rootName() {
		return this.inverted ? "all, inverted" : "all";
	}

	keyColors() {
		const { origins } = THEMES[this.isDark ? "dark" : "light"], { keys, data } = this;
		this.origins ??= data.functionName.map((name, fn) => fn ? originOf(data, fn) : OTHER);
		return keys.fn.map((fn, key) => origins[this.origins[fn]][Math.imul(fn + 1, 0x9E3779B1) >>> 30]);
	}

	nodeColor(view, node) {
		const { theme } = this.look();
		if (view.key[node] < 0)
			return theme.dim;
		if (this.color === "change") {
			this.classes ??= new WeakMap();
			let known = this.classes.get(view);
			if (!known)
				this.classes.set(view, known = new Int8Array(view.count).fill(99));
			if (known[node] === 99)
				known[node] = CHANGE_PLACE[this.classOf(view, node)];
			return theme.change[known[node]];
		}
		const share = (this.inverted ? totalOf : selfOf)(view, node, this.unit) / (view.width[0] || 1);
		return theme.heat[share < 0.001 ? 0 : share < 0.005 ? 1 : share < 0.02 ? 2 : share < 0.05 ? 3 : share < 0.15 ? 4 : 5];
	}

	/* Beside what only the base has the rest is but the way to it. */
	classOf(view, node) {
		const is = changeClass(this.data, this.absolute, view, node, this.own && !this.inverted);
		return this.elided && is !== 5 ? 0 : is;
	}

	place(key) {
		const file = this.keys.file(key), line = this.keys.line[key];
		if (!file)
			return "";
		return (this.paths ? file : moduleOf(file)) + (line ? `:${line}` : "");
	}

	totals() {
		return this.knownTotals ??= totalsOf(this.data, this.weights);
	}

	sums() {
		return this.knownSums ??= this.weights.map(w => {
			let sum = 0;
			for (let i = 0; i < w.length; i++)
				sum += w[i];
			return sum;
		});
	}

	/* Everything anew from the weights on. keep: where it was zoomed to. */
	rebuild(keep = true) {
		const zooms = keep ? this.graph.panes.map(p => ({ window: p.window.map(x => x / (p.view.width[0] || 1)) })) : [];
		const path = keep ? this.zoomPath : null;
		if (this.keys.byLine !== this.lines) {
			this.keys = new Keys(this.data, this.lines);
			this.keys.byLine = this.lines;
		}
		this.weights = weigh(this.data, this.threads, this.range);
		this.knownTotals = this.knownSums = this.known = this.classes = null;
		this.selected = null;
		const panes = this.makePanes();
		this.graph.show(panes);
		if (path?.length && !this.root)
			this.zoomToPath(path, true);
		else if (keep && zooms.length === panes.length && !path)
			panes.forEach((p, i) => p.window = zooms[i].window.map(x => x * p.view.width[0]));
		this.side.chosen(null);
		this.side.legend();
		this.strip?.draw();
		/* What is large is seen before it is summed up. */
		clearTimeout(this.sideTimer);
		if (this.data.n > 20000)
			this.sideTimer = setTimeout(() => this.fillSide(), 30);
		else
			this.fillSide();
		this.find();
		this.showState();
		this.toHash();
	}

	fillSide() {
		this.table = functionTable(this.data, this.keys, this.weights, this.unit);
		this.side.hotspots();
		this.side.summary();
		this.side.threads();
		this.side.sampling();
	}

	makePanes() {
		const { data, keys, weights, unit, root } = this;
		const arranged = raw => {
			const only = data.diff ? onlyElided(raw, unit) : unit;
			this.gone = data.diff ? raw.elided / (raw.total[BASE + unit][0] || 1) : 0;
			return arrange(raw, keys, this.elided ? only : unit, this.byName);
		};
		const least = this.sums()[unit] / 4000;
		if (root)
			return [new Pane(arranged(treeUp(data, keys, weights, root, unit, least)), true, true),
				new Pane(arranged(treeDown(data, keys, weights, root)), false, false)];
		if (this.inverted)
			return [new Pane(arranged(this.upTree = treeUp(data, keys, weights, 0, unit, least)), this.upward, false)];
		return [new Pane(arranged(treeDown(data, keys, weights, 0)), this.upward, false)];
	}

	/* Of a tree that was cut, what is now looked at closely. */
	refine(pane) {
		if (!pane.view.from.cut)
			return;
		const [a, b] = pane.window, least = (b - a) / 2000;
		if (least > (pane.least ?? this.sums()[this.unit] / 4000) / 4)
			return;
		const { data, keys, weights, unit, root } = this;
		const raw = treeUp(data, keys, weights, root, unit, least);
		const old = pane.view, view = pane.view = arrange(raw, keys, this.elided ? onlyElided(raw, unit) : unit, this.byName);
		/* The same stacks, where they are now. */
		const moved = at => at?.pane === pane ? { pane, node: nodeAt(view, pathOf(old, at.node)) } : at;
		pane.least = least;
		this.selected = moved(this.selected);
		this.graph.focus = moved(this.graph.focus);
		this.graph.hover = null;
	}

	zoomed(pane) {
		this.refine(pane);
		this.showState();
		this.hashSoon();
	}

	hashSoon() {
		clearTimeout(this.hashTimer);
		this.hashTimer = setTimeout(() => this.toHash(), 300);
	}

	/* ---- what was asked ---- */

	set(changes, keep = true) {
		Object.assign(this, changes);
		this.rebuild(keep);
	}

	repaint(changes) {
		Object.assign(this, changes);
		this.known = this.classes = null;
		this.side.legend();
		this.fillSide();
		this.graph.ask();
		this.showState();
		this.toHash();
	}

	setRange(range) {
		this.range = range;
		cancelAnimationFrame(this.rangeFrame);
		this.rangeFrame = requestAnimationFrame(() => this.rebuild());
	}

	sandwich(key) {
		if (key > 0 && key !== this.root) {
			this.set({ root: key, elided: false }, false);
			const pane = this.graph.panes[1];
			this.select(pane, 0);
		}
	}

	chooseThreads(members, on) {
		for (const i of members)
			this.threads[i] = on ? 1 : 0;
		this.rebuild();
	}

	onlyThreads(members) {
		this.threads.fill(0);
		this.chooseThreads(members, true);
	}

	/* Names that several have, as those that kernels give, are told apart by the thread's number. */
	threadLabel(i) {
		if (!this.labels) {
			const { facts } = this.data, { processes } = facts.sides[0], times = new Map();
			const plain = facts.threads.map(t => {
				const process = processes.length > 1 && !t.base ? `${processes[t.process]?.pid ?? "?"} ` : "";
				const name = t.main && (!t.name || t.name === "MainThread") ? "main" : t.name || "thread";
				return process + shorten(name, 60);
			});
			plain.forEach((name, k) => {
				const key = `${Boolean(facts.threads[k].base)} ${name}`;
				times.set(key, (times.get(key) ?? 0) + (this.data.counts[k].place.length ? 1 : 0));
			});
			this.labels = plain.map((name, k) => {
				const t = facts.threads[k];
				if (t.main)
					return name.endsWith("main") ? name : `${name} (main)`;
				return times.get(`${Boolean(t.base)} ${name}`) > 1 || name.endsWith("thread") ? `${name} ${t.tid}` : name;
			});
		}
		return this.labels[i];
	}

	/* Threads with samples; those of the base belong to those of the same name. */
	threadGroups() {
		if (!this.groups) {
			const known = new Map(), { facts, counts } = this.data;
			facts.threads.forEach((t, i) => {
				if (!counts[i].place.length)
					return;
				const label = this.threadLabel(i);
				const group = known.get(label) ?? { label, members: [], sums: [0, 0] };
				group.members.push(i);
				if (!t.base)
					for (const [kind, list] of [[COUNT, counts[i].count], [NS, counts[i].ns]])
						group.sums[kind] += list.reduce((a, b) => a + b, 0);
				known.set(label, group);
			});
			this.groups = [...known.values()];
		}
		const inRange = this.range && weighThreads(this.data, this.range);
		for (const group of this.groups)
			group.weight = inRange ? group.members.reduce((sum, i) => sum + inRange[i][this.unit], 0) : group.sums[this.unit];
		return this.groups.sort((a, b) => b.weight - a.weight);
	}

	/* ---- searching ---- */

	search(text, regex = this.regex) {
		$("search").value = text;
		this.query = text;
		this.regex = regex;
		this.find();
		this.showState();
		this.toHash();
	}

	matcher() {
		const { query, keys } = this, place = /^(.+):(\d+)$/.exec(query), line = place ? Number(place[2]) : 0;
		if (this.regex) {
			const pattern = new RegExp(query, "i");
			return key => pattern.test(keys.name(key)) || pattern.test(`${keys.file(key)}:${keys.lineOf(key)}`);
		}
		const small = query.toLowerCase(), file = place?.[1].toLowerCase();
		const has = key => keys.name(key).toLowerCase().includes(small) || keys.file(key).toLowerCase().includes(small) ||
			moduleOf(keys.file(key)).toLowerCase().includes(small);
		if (!place)
			return has;
		const lines = this.keyLines();
		return key => has(key) || (keys.file(key).toLowerCase().endsWith(file) && lines[key].has(line));
	}

	/* Lines of each key that samples are on. */
	keyLines() {
		const { data, keys } = this, lines = keys.fn.map(() => new Set());
		for (let c = 1; c < data.cellFunction.length; c++)
			lines[keys.ofCell[c]].add(data.cellLine[c]);
		return lines;
	}

	find() {
		this.matches = null;
		this.found = null;
		$("search").removeAttribute("aria-invalid");
		if (this.query) {
			try {
				const takes = this.matcher();
				this.matches = new Uint8Array(this.keys.count);
				for (let key = 1; key < this.keys.count; key++)
					this.matches[key] = takes(key) ? 1 : 0;
			} catch {
				$("search").setAttribute("aria-invalid", "true");
				this.matches = null;
			}
		}
		if (this.matches) {
			/* Of stacks with a match, each once. */
			const { data, weights, unit, keys } = this, inside = new Uint8Array(data.n + 1);
			let part = 0, whole = 0, functions = 0;
			for (let i = 1; i <= data.n; i++) {
				inside[i] = inside[data.parent[i]] || this.matches[keys.ofPlace[i]];
				whole += weights[unit][i];
				if (inside[i])
					part += weights[unit][i];
			}
			for (const match of this.matches)
				functions += match;
			this.found = { part, whole, functions };
			$("found").textContent = `${showShare(part, whole)} in ${showCount(functions)}`;
			$("found").title = `${showWeight(part, unit)} are below ${functions} matching functions`;
		} else {
			$("found").textContent = this.query ? "not a pattern" : "";
		}
		if (this.known)
			this.known.matches = this.matches;
		this.graph.ask();
	}

	/* The next box that matches, from the focused one on. */
	nextMatch(by) {
		if (!this.matches)
			return;
		const pane = this.graph.mainPane(), { view } = pane, n = view.count;
		let at = this.graph.focus?.pane === pane ? this.graph.focus.node : 0;
		for (let tries = 0; tries < n; tries++) {
			at = (at + by + n) % n;
			if (view.key[at] > 0 && this.matches[view.key[at]]) {
				this.graph.setFocus({ pane, node: at });
				this.select(pane, at);
				return;
			}
		}
	}

	/* ---- what is told of a node ---- */

	describe({ pane, node }) {
		const { view } = pane, key = view.key[node], kind = this.unit;
		const total = totalOf(view, node, kind), whole = view.width[0], parts = [];
		parts.push(key < 0 ? "all" : shorten(this.keys.name(key), 300));
		if (key > 0 && this.keys.file(key))
			parts.push(`${shorten(this.place(key), 200)}${this.keys.line[key] ? "" : `:${this.keys.lineOf(key)}`}`);
		parts.push(`${showWeight(this.elided ? view.width[node] : total, kind)}, ${showShare(this.elided ? view.width[node] : total, whole)}`);
		if (!this.inverted && !pane.up)
			parts.push(`itself ${showShare(selfOf(view, node, kind), whole)}`);
		if (this.data.diff && key > 0) {
			const c = change(this.data, this.absolute, view, node, this.own && !this.inverted);
			parts.push(CHANGE_NAMES[CHANGE_PLACE[this.classOf(view, node)]] +
				(Number.isFinite(c.ratio) && c.z ? ` (${c.ratio > 0 ? "+" : "−"}${Math.abs(100 * c.ratio).toFixed(0)} %, ${Math.abs(c.z).toFixed(1)} σ)` : ""));
		}
		return parts;
	}

	/* What the tree of a pane is called. */
	treeName(pane) {
		if (this.root)
			return `${pane.skip ? "Callers of" : "Callees of"} ${shorten(this.keys.name(this.root), 100)}`;
		return `${this.inverted ? "Inverted flame graph" : "Flame graph"}, ${showWeight(pane.view.width[0], this.unit)}. ` +
			"Arrow keys move, Enter zooms, question mark for all keys.";
	}

	/* By Enter, or as a reader of screens presses it. */
	chose(at) {
		this.select(at.pane, at.node);
		this.graph.zoomTo(at.pane, at.node);
		this.graph.items.focus();
	}

	/* In the line below; "": what stands there otherwise. */
	said(text) {
		$("status").textContent = text || this.statusText;
	}

	told(at) {
		$("status").textContent = this.describe(at).join("  ·  ");
	}

	hovered(at, e, same) {
		const tip = $("tip");
		if (!at) {
			tip.hidden = true;
			$("status").textContent = this.statusText;
			return;
		}
		if (!same) {
			const [name, ...rest] = this.describe(at);
			tip.replaceChildren(make("b", {}, name), ...rest.map(line => make("span", {}, line)));
			$("status").textContent = [name, ...rest].join("  ·  ");
		}
		tip.hidden = false;
		const box = tip.getBoundingClientRect(), x = e.clientX + 14, y = e.clientY + 18;
		tip.style.left = `${Math.max(4, Math.min(x, innerWidth - box.width - 6))}px`;
		tip.style.top = `${y + box.height > innerHeight - 30 ? e.clientY - box.height - 10 : y}px`;
	}

	select(pane, node) {
		if (this.graph.isZoomed || node)
			this.backs.push(pane.window);
		if (this.backs.length > 100)
			this.backs.shift();
		this.selected = { pane, node };
		this.graph.focus = { pane, node };
		this.side.chosen(pane, node);
		this.told({ pane, node });
		this.hashSoon();
		this.graph.ask();
	}

	/* ---- what the page says of itself ---- */

	heading() {
		const side = this.data.facts.sides[0], p = side.processes[0] ?? {};
		const what = shorten(p.command || (p.pid ? `process ${p.pid}` : "profile"), 160);
		$("what").textContent = this.data.diff ? `${what}, compared with a base` : what;
		$("what").title = p.command ?? "";
		document.title = `${shorten(p.command || "profile", 60)} – pyprof`;
		for (const e of document.querySelectorAll("[data-diff]"))
			e.hidden = !this.data.diff;
		$("strip-box").hidden = !this.strip;
		$("no-strip").hidden = Boolean(this.strip);
		$("no-strip").textContent = this.data.facts.noStrip ? `There is no timeline: ${this.data.facts.noStrip}.` : "";
	}

	showState() {
		const state = [];
		if (this.root)
			state.push(make("button", { title: "Leave this view", click: () => this.set({ root: 0 }, false) }, `callers and callees of ${shorten(this.keys.name(this.root), 60)} ✕`));
		if (this.range)
			state.push(make("button", { title: "All of the time", click: () => this.strip.set(null) }, `${this.strip.text} ✕`));
		if (this.threads.some((on, i) => !on && this.data.counts[i].place.length))
			state.push(make("button", { title: "All threads", click: () => this.onlyThreads(this.data.facts.threads.map((t, i) => i)) }, "some threads ✕"));
		if (this.elided)
			state.push(make("button", { title: "The profile", click: () => this.set({ elided: false }, false) }, "elided: only in the base ✕"));
		if (this.graph.isZoomed)
			state.push(make("button", { title: "Whole width", click: () => this.graph.reset() }, "zoomed ✕"));
		$("state").replaceChildren(...state);
		for (const input of document.querySelectorAll("#menu input")) {
			const value = this[input.name];
			input.checked = input.type === "radio" ? String(value) === input.value : Boolean(value);
		}
		$("regex").setAttribute("aria-pressed", String(this.regex));
		const sum = this.sums?.() ?? [0, 0];
		this.statusText = this.weights ? `${showCount(sum[COUNT])} samples · ${showTime(sum[NS])} of threads · widths are ${this.unit === NS ? "time" : "samples"}` : "";
		if (!this.graph.hover)
			$("status").textContent = this.statusText;
		const empty = !this.graph.panes[0] || !this.graph.panes[0].view.width[0];
		$("empty").hidden = !empty;
		if (empty)
			$("empty").textContent = this.elided ? "Every stack of the base is in the profile too." : "No sample is of what was asked for.";
	}

	/* Paper is light, and cannot be scrolled. */
	print(printing) {
		this.printing = printing;
		$("box").style.height = printing ? `${Math.min(this.graph.contentHeight, MOST_PIXELS / (devicePixelRatio || 1))}px` : "";
		$("box").style.flex = printing ? "none" : "";
		this.themeChanged();
		this.graph.resize();
	}

	themeChanged() {
		document.documentElement.dataset.theme = this.isDark ? "dark" : "light";
		if (!this.weights)
			return;
		this.known = null;
		this.side.legend();
		this.fillSide();
		this.strip?.draw();
		this.graph.ask();
	}

	/* ---- the view as a link ---- */

	get zoomPath() {
		const pane = this.graph.panes[0];
		if (!pane || this.root || !this.graph.isZoomed)
			return null;
		const [a, b] = pane.window, { view } = pane;
		/* The deepest box that fills the window. */
		let at = 0;
		for (let next = 0; next >= 0; ) {
			at = next;
			next = -1;
			for (let i = view.first[at], end = i + view.children[at]; i < end && next < 0; i++)
				if (view.x[i] <= a + (b - a) * 1e-6 && view.x[i] + view.width[i] >= b - (b - a) * 1e-6)
					next = i;
		}
		return at ? pathOf(view, at) : null;
	}

	zoomToPath(path, now) {
		const pane = this.graph.panes[0], node = nodeAt(pane.view, path);
		this.graph.goTo(pane, pane.view.x[node], pane.view.x[node] + pane.view.width[node], now);
	}

	pathText(path) {
		return path.map(key => key.toString(36)).join(".");
	}

	/* Whether the first pane shows that box, and nothing beside it. */
	fillsWindow(path) {
		const { view, window: [a, b] } = this.graph.panes[0], node = nodeAt(view, path), near = (b - a) * 1e-6;
		return Math.abs(view.x[node] - a) <= near && Math.abs(view.x[node] + view.width[node] - b) <= near;
	}

	toHash() {
		const q = new URLSearchParams(), flags = ["inverted", "upward", "lines", "paths", "byName", "elided", "absolute"].filter(f => this[f]);
		if (this.unit !== NS)
			q.set("unit", "samples");
		if (flags.length)
			q.set("view", flags.join(","));
		if (!this.own)
			q.set("own", "0");
		if (this.color !== (this.data.diff ? "change" : "origin"))
			q.set("color", this.color);
		const off = Array.from(this.threads.keys()).filter(i => !this.threads[i]);
		if (off.length)
			q.set("not", off.slice(0, 200).join("."));
		if (this.range)
			q.set("range", this.range.join("-"));
		if (this.root)
			q.set("of", this.root.toString(36));
		if (this.query)
			q.set(this.regex ? "re" : "q", this.query);
		const path = this.zoomPath, { panes } = this.graph, { selected } = this;
		if (path && path.length < 500 && this.fillsWindow(path))
			q.set("at", this.pathText(path));
		else if (this.graph.isZoomed)
			q.set("win", panes.map(p => p.window.map(x => (x / (p.view.width[0] || 1)).toFixed(9)).join("-")).join("_"));
		const chosen = selected ? pathOf(selected.pane.view, selected.node) : [];
		if (chosen.length && chosen.length < 500)
			q.set("sel", `${panes.indexOf(selected.pane)}.${this.pathText(chosen)}`);
		this.hash = String(q) ? `#${q}` : "";
		history.replaceState(null, "", this.hash || location.pathname + location.search);
		this.hash = location.hash;
	}

	/* A link may come from anywhere: what it says is taken as far as it makes sense. */
	fromHash() {
		const q = new URLSearchParams(location.hash.slice(1)), flags = new Set((q.get("view") ?? "").split(","));
		for (const flag of ["inverted", "upward", "lines", "paths", "byName", "elided", "absolute"])
			this[flag] = flags.has(flag) && (this.data.diff || (flag !== "elided" && flag !== "absolute"));
		this.unit = q.get("unit") === "samples" ? COUNT : NS;
		this.own = q.get("own") !== "0";
		this.color = ["origin", "heat", ...this.data.diff ? ["change"] : []].includes(q.get("color")) ? q.get("color") : this.data.diff ? "change" : "origin";
		this.threads.fill(1);
		for (const i of (q.get("not") ?? "").split(".").filter(Boolean).map(Number))
			if (i in this.threads)
				this.threads[i] = 0;
		const [a, b] = (q.get("range") ?? "").split("-").map(Number);
		this.range = this.strip && Number.isInteger(a) && Number.isInteger(b) && a >= 0 && a < b && b <= this.data.strip.wide ? [a, b] : null;
		if (this.strip)
			this.strip.range = this.range;
		this.root = 0;
		this.query = (q.get("re") ?? q.get("q") ?? "").slice(0, 1000);
		this.regex = q.has("re");
		$("search").value = this.query;
		const of = parseInt(q.get("of") ?? "", 36), at = q.get("at");
		if (of > 0 && of < new Keys(this.data, this.lines).count)
			this.root = of;
		this.rebuild(false);
		const keysOf = text => text.split(".").map(key => parseInt(key, 36)), { panes } = this.graph;
		if (at && !this.root)
			this.zoomToPath(keysOf(at), true);
		(q.get("win") ?? "").split("_").slice(0, panes.length).forEach((text, i) => {
			const [a, b] = text.split("-").map(Number), { width } = panes[i].view;
			if (a >= 0 && b > a && b <= 1)
				this.graph.goTo(panes[i], a * width[0], b * width[0], true);
		});
		const [, index, path] = /^([01])\.(.+)$/.exec(q.get("sel") ?? "") ?? [], pane = panes[Number(index)];
		const node = pane ? nodeAt(pane.view, keysOf(path)) : 0;
		if (node)
			this.select(pane, node);
		this.backs = [];
		this.showState();
		this.toHash();
	}

	/* ---- controls ---- */

	controls() {
		$("search").addEventListener("input", () => {
			this.query = $("search").value;
			clearTimeout(this.searchTimer);
			this.searchTimer = setTimeout(() => this.search($("search").value), 80);
		});
		$("search").addEventListener("keydown", e => {
			if (e.key === "Enter")
				this.nextMatch(e.shiftKey ? -1 : 1);
			else if (e.key === "Escape") {
				this.search("");
				this.graph.items.focus();
			} else
				return;
			e.preventDefault();
		});
		$("regex").addEventListener("click", () => this.search(this.query, !this.regex));
		$("menu").addEventListener("change", e => this.option(e.target.name, e.target.type === "radio" ? e.target.value : e.target.checked));
		$("theme").addEventListener("click", () => this.toggleTheme());
		$("svg").addEventListener("click", () => this.saveSvg());
		$("png").addEventListener("click", async () => save("flamegraph.png", await pngOf(this.graph, this.look())));
		$("side-toggle").addEventListener("click", () => this.toggleSide());
		$("help-button").addEventListener("click", () => $("help").showModal());
		$("help-close").addEventListener("click", () => $("help").close());
		$("close-side").addEventListener("click", () => this.toggleSide());
		$("zoom-in").addEventListener("click", () => this.graph.zoomBy(0.5));
		$("zoom-out").addEventListener("click", () => this.graph.zoomBy(2));
		$("zoom-all").addEventListener("click", () => this.graph.reset());
		document.addEventListener("click", e => {
			for (const menu of document.querySelectorAll("details.menu[open]"))
				if (!menu.contains(e.target) || e.target.closest(".menu > div > button"))
					menu.open = false;
		});
		document.addEventListener("keydown", e => this.key(e));
		if (store.get("side") === "off" || innerWidth < 720)
			this.toggleSide(false);
		$("help-keys").replaceChildren(...KEYS.map(([key, what]) => make("tr", {}, make("th", { scope: "row" }, make("kbd", {}, key)), make("td", {}, what))));
	}

	option(name, value) {
		if (name === "unit")
			this.set({ unit: value === "0" ? COUNT : NS });
		else if (name === "color")
			this.repaint({ color: value });
		else if (name === "own" || name === "absolute")
			this.repaint({ [name]: value === true || value === "true" });
		else if (name === "paths")
			this.repaint({ paths: value });
		else if (name === "elided")
			this.set({ elided: value, root: 0 }, false);
		else if (name === "lines")
			this.set({ lines: value, root: 0 }, false);
		else
			this.set({ [name]: value === true || value === "true", root: name === "inverted" ? 0 : this.root }, false);
	}

	saveSvg() {
		save("flamegraph.svg", new Blob([svgOf(this.graph, this.look(), document.title)], { type: "image/svg+xml" }));
	}

	toggleTheme() {
		this.theme = this.isDark ? "light" : "dark";
		store.set("theme", this.theme);
		this.themeChanged();
	}

	toggleSide(open = $("page").classList.contains("no-side")) {
		$("page").classList.toggle("no-side", !open);
		$("side-toggle").setAttribute("aria-expanded", String(open));
		if (innerWidth >= 720)
			store.set("side", open ? "on" : "off");
	}

	back() {
		const window = this.backs.pop(), pane = this.graph.mainPane();
		if (window)
			this.graph.goTo(pane, window[0], window[1]);
		else
			this.graph.reset();
	}

	escape() {
		if (this.graph.isZoomed)
			this.graph.reset();
		else if (this.query)
			this.search("");
		else if (this.root)
			this.set({ root: 0 }, false);
		else if (this.range)
			this.strip.set(null);
	}

	key(e) {
		if (e.ctrlKey || e.metaKey || e.target.matches("input:not([type=checkbox]):not([type=radio]), dialog *"))
			return;
		const { graph } = this, inGraph = graph.items.hasFocus || document.activeElement === document.body;
		if (inGraph && /^(Arrow|Home$|End$)/.test(e.key) && !e.altKey) {
			const next = e.shiftKey ? null : graph.neighbour(e.key);
			if (e.shiftKey)
				graph.pan((e.key === "ArrowRight" ? 0.2 : e.key === "ArrowLeft" ? -0.2 : 0) * graph.width);
			else if (next) {
				graph.setFocus(next);
				this.selected = next;
				this.side.chosen(next.pane, next.node);
			}
			graph.items.focus();
			e.preventDefault();
			return;
		}
		const at = graph.focus;
		const actions = {
			"/": () => $("search").focus(), "?": () => $("help").showModal(), n: () => this.nextMatch(1), N: () => this.nextMatch(-1),
			"+": () => graph.zoomBy(0.6), "=": () => graph.zoomBy(0.6), "-": () => graph.zoomBy(1 / 0.6), 0: () => graph.reset(),
			Backspace: () => this.back(), Escape: () => this.escape(),
			i: () => this.option("inverted", !this.inverted), f: () => this.option("upward", !this.upward),
			l: () => this.option("lines", !this.lines), p: () => this.option("paths", !this.paths),
			u: () => this.option("unit", this.unit === NS ? "0" : "1"), o: () => this.option("byName", !this.byName),
			c: () => this.option("color", this.color === "origin" ? "heat" : this.data.diff && this.color === "heat" ? "change" : "origin"),
			t: () => this.toggleTheme(), b: () => this.toggleSide(), e: () => this.saveSvg(), r: () => this.search(this.query, !this.regex),
			x: () => this.data.diff && this.option("elided", !this.elided), w: () => $("strip").focus(), g: () => graph.items.focus(),
			s: () => at && this.sandwich(at.pane.view.key[at.node]),
		};
		if (inGraph)
			actions.Enter = actions[" "] = () => at && this.chose(at);
		if (!actions[e.key] || e.altKey)
			return;
		actions[e.key]();
		e.preventDefault();
	}
}

const KEYS = [
	["← ↑ → ↓", "move from frame to frame"], ["Home End", "the root, the last frame of the row"], ["Enter", "zoom to the frame"], ["Backspace", "back to the zoom before"], ["Esc", "undo: zoom, search, callers and callees, time range"],
	["+ − 0", "zoom in, out, whole width"], ["Shift ← →", "pan"], ["wheel, drag", "scroll, pan; with Ctrl zoom"], ["/", "search: name, module, file:line"], ["n N", "next match, the one before"],
	["r", "the search is a regular expression"], ["s, double click", "callers and callees of the frame"], ["i", "inverted: from what ran to who called it"], ["f", "grow upwards"],
	["u", "time or samples"], ["l", "a box for each line"], ["p", "files' paths or module names"], ["o", "order by weight or by name"], ["c", "colours"],
	["x", "compared: what only the base has"], ["w", "timeline: arrows move the range, Shift and Alt its ends"], ["g", "to the graph"], ["b", "panels"], ["t", "light or dark"], ["e", "save as SVG"],
];

async function start() {
	const holder = $("data"), text = holder.textContent;
	holder.remove();
	const data = await readData(text);
	/* For the console, and for tests. */
	globalThis.pyprof = new App(data);
	performance.mark("drawn");
}

start().catch(error => {
	$("page").classList.remove("loading");
	$("empty").hidden = false;
	$("empty").textContent = `This page cannot be shown: ${error.message}`;
	console.error(error);
});
