/* The panels beside the graph. Each is filled anew when what it shows has changed. */

const bar = (share, color) => {
	const fill = make("i");
	fill.style.width = `${Math.max(0, Math.min(100, share * 100))}%`;
	if (color)
		fill.style.background = color;
	return make("span", { class: "bar", "aria-hidden": "true" }, fill);
};
const fact = (name, value, title) => make("div", { class: "fact", title }, make("span", {}, name), make("b", {}, value));

class Side {
	constructor(app) {
		this.app = app;
	}

	fill(id, ...children) {
		$(id).replaceChildren(...children.flat().filter(Boolean));
	}

	/* ---- the node that was chosen ---- */

	/* What lines and instructions of a node's function have. */
	details(pane, node) {
		const { app } = this, { data, weights } = app, { view } = pane, { keys } = view;
		const key = view.key[node], { ofPlace } = view.from, mine = ofPlace ? view.raw[node] : 0;
		const lines = new Map(), ops = new Map(), totals = app.totals(), kind = app.unit;
		for (let i = 1; i <= data.n; i++) {
			if (ofPlace ? ofPlace[i] !== mine : keys.ofPlace[i] !== key)
				continue;
			const cell = data.cell[i], line = data.cellLine[cell], own = weights[kind][i];
			const sum = lines.get(line) ?? { self: 0, total: 0 };
			sum.self += own;
			sum.total += totals[kind][i];
			lines.set(line, sum);
			const op = data.cellOp[cell];
			if (op && own)
				ops.set(op, (ops.get(op) ?? 0) + own);
		}
		return { lines, ops };
	}

	source(file, lines, whole) {
		const { app } = this, text = app.data.sources.get(file), rows = [];
		const seen = [...lines.keys()].filter(line => line > 0 && lines.get(line).total > 0).sort((a, b) => a - b);
		const shown = new Set(seen);
		if (text)
			for (const line of seen.slice().sort((a, b) => lines.get(b).total - lines.get(a).total).slice(0, 12))
				for (let l = line - 2; l <= line + 2; l++)
					if (text.has(l))
						shown.add(l);
		let before = 0;
		for (const line of [...shown].sort((a, b) => a - b).slice(0, 80)) {
			const sum = lines.get(line);
			if (before && line > before + 1)
				rows.push(make("li", { class: "gap" }, "⋯"));
			before = line;
			const row = make("li", { class: sum ? "hot" : "", title: sum ? `line ${line}: ${showWeight(sum.total, app.unit)}, itself ${showWeight(sum.self, app.unit)}` : false },
				make("span", { class: "no" }, String(line)), make("code", {}, text?.get(line) || " "),
				make("span", { class: "share" }, sum ? showShare(sum.total, whole) : ""));
			if (sum)
				row.style.setProperty("--heat", (sum.total / (whole || 1)).toFixed(3));
			rows.push(row);
		}
		return rows.length ? make("ol", { class: "source" }, rows) : null;
	}

	chosen(pane, node) {
		const { app } = this, { data } = app;
		if (!pane || (pane.view.key[node] < 0 && !node)) {
			this.fill("chosen", make("p", { class: "hint" }, "Click a frame for its lines and numbers."));
			return;
		}
		const { view } = pane, { keys } = view, key = view.key[node], kind = app.unit, fn = keys.fn[key];
		const total = totalOf(view, node, kind), self = selfOf(view, node, kind), whole = view.width[0];
		const { lines, ops } = this.details(pane, node), up = pane.up && app.root || app.inverted;
		const lineTotal = [...lines.values()].reduce((sum, l) => sum + l.total, 0);
		const children = [
			make("h3", {}, shorten(keys.name(key), 200)),
			make("p", { class: "place" }, shorten(keys.file(key), 300) + (keys.lineOf(key) ? `:${keys.lineOf(key)}` : "")),
			fact(up ? "on this path" : "with what it calls", `${showWeight(total, kind)} · ${showShare(total, whole)}`),
			!up && fact("itself", `${showWeight(self, kind)} · ${showShare(self, whole)}`),
			fact(kind === NS ? "samples" : "time", showWeight(totalOf(view, node, 1 - kind), 1 - kind)),
		];
		if (data.diff)
			children.push(...this.compared(view, node));
		children.push(make("div", { class: "row" },
			make("button", { click: () => app.sandwich(key) }, "Callers and callees"),
			make("button", { click: () => app.search(keys.name(key), false) }, "Find all")));
		const source = this.source(data.functionFile[fn], lines, lineTotal);
		if (source)
			children.push(make("h4", {}, "Lines"), source);
		if (ops.size) {
			const all = [...ops.values()].reduce((a, b) => a + b, 0);
			children.push(make("h4", {}, "Instructions, itself"), make("ul", { class: "list" },
				[...ops].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([op, w]) =>
					make("li", {}, make("span", { class: "name" }, data.text(op)), bar(w / all), make("b", {}, showShare(w, all))))));
		}
		this.fill("chosen", children);
	}

	compared(view, node) {
		const { data, absolute } = this.app, own = change(data, absolute, view, node, true), all = change(data, absolute, view, node, false);
		const show = c => absolute ? `${showTime(c.was)} → ${showTime(c.now)}` : `${(100 * c.was).toFixed(2)} % → ${(100 * c.now).toFixed(2)} %`;
		const say = c => Math.abs(c.z) < SIGNIFICANT ? "within the noise" :
			`${c.ratio === Infinity ? "new" : (c.ratio > 0 ? "+" : "−") + Math.abs(100 * c.ratio).toFixed(0) + " %"} (${Math.abs(c.z).toFixed(1)} σ)`;
		const of = absolute ? "" : " of a second";
		return [fact("itself, base → now", show(own), `time${of}`), fact("", say(own)),
			fact("in all, base → now", show(all), `time${of}`), fact("", say(all)),
			fact("samples, base → now", `${showCount(all.wasCount)} → ${showCount(all.nowCount)}`)];
	}

	/* ---- what has most ---- */

	hotspots() {
		const { app } = this, { keys, table, unit } = app;
		const order = Array.from(table.self.keys()).filter(key => table.self[key] > 0)
			.sort((a, b) => table.self[b] - table.self[a]).slice(0, 15);
		this.fill("hotspots", make("ol", { class: "list hot" }, order.map(key => make("li", {},
			make("button", {
				click: () => app.sandwich(key),
				title: `${shorten(keys.name(key), 300)}\n${shorten(keys.file(key), 300)}\nitself ${showWeight(table.self[key], unit)}, with what it calls ${showWeight(table.total[key], unit)}\ncallers and callees`,
			}, make("span", { class: "name" }, shorten(keys.name(key), 80)), make("b", {}, showShare(table.self[key], table.sum)),
			bar(table.self[key] / (table.self[order[0]] || 1)), make("span", { class: "place" }, shorten(app.place(key), 60))))),
			!order.length && make("p", { class: "hint" }, "Nothing was sampled here.")));
	}

	summary() {
		const { app } = this, { facts } = app.data, side = facts.sides[0], p = side.processes[0] ?? {}, rows = [];
		const sum = app.sums();
		rows.push(fact("samples", showCount(sum[COUNT])), fact("time of threads", showTime(sum[NS])));
		rows.push(fact("recorded", showTime(side.span)));
		if (app.range)
			rows.push(fact("range", app.strip.text));
		if (side.mode !== "wall")
			rows.push(fact("mode", side.mode));
		if (app.data.diff) {
			const base = facts.sides[1];
			rows.push(fact("base: samples", showCount(sum[BASE + COUNT])), fact("base: time of threads", showTime(sum[BASE + NS])),
				fact("base: recorded", showTime(base.span)), fact("only in the base", showShare(app.gone, 1), "share of the base that no stack of the profile has"));
		}
		if (side.interval)
			rows.push(fact("a sample each", showTime(side.interval)));
		rows.push(fact("functions", showCount(Array.from(app.table.total).filter(n => n > 0).length)));
		rows.push(fact("distinct stacks' frames", showCount(app.data.n)));
		if (side.processes.length > 1)
			rows.push(fact("processes", side.processes.map(q => q.pid).slice(0, 20).join(", ")));
		else if (p.pid)
			rows.push(fact("process", String(p.pid)));
		if (p.python)
			rows.push(fact("Python", p.python + (p.freeThreaded ? ", free-threaded" : "")));
		if (p.host)
			rows.push(fact("host", p.host));
		if (side.from > 0)
			rows.push(fact("first sample", new Date(side.from / 1e6).toISOString().replace("T", " ").slice(0, 19) + " UTC"));
		if (side.selected)
			rows.push(make("p", { class: "hint" }, `Recorded with ${side.selected}: there are no other samples.`));
		this.fill("summary", rows);
	}

	/* ---- threads ---- */

	threads() {
		const { app } = this, { facts } = app.data, rows = [];
		const groups = app.threadGroups(), whole = groups.reduce((sum, g) => sum + g.weight, 0);
		for (const group of groups.slice(0, 500)) {
			const box = make("input", { type: "checkbox", change: () => app.chooseThreads(group.members, box.checked) });
			box.checked = group.members.some(i => app.threads[i]);
			rows.push(make("li", {}, make("label", {}, box, make("span", { class: "name" }, group.label), make("b", {}, showShare(group.weight, whole))),
				groups.length > 1 && make("button", { class: "only", title: `only ${group.label}`, click: () => app.onlyThreads(group.members) }, "only"),
				this.states(group.members.map(i => facts.threads[i]).filter(t => !t.base))));
		}
		this.fill("threads", groups.length > 1 && make("div", { class: "row" },
			make("button", { click: () => app.onlyThreads(facts.threads.map((t, i) => i)) }, "All"),
			make("button", { click: () => app.onlyThreads([]) }, "None")), make("ul", { class: "threads" }, rows),
			app.range && make("p", { class: "hint" }, "What threads have here is of the whole recording, not of the range."));
	}

	/* Shares of what is known; what never was is left out. */
	states(threads) {
		const sum = bit => threads.reduce((n, t) => n + t.states[bit], 0), seen = threads.reduce((n, t) => n + t.seen, 0);
		const colors = this.app.look().theme.doing, shown = [];
		/* Bits of enum stream_state. */
		for (const [name, bit, known, color] of [["GIL", 1, 0, 5], ["waits for GIL", 11, 10, 4], ["CPU", 3, 2, 2], ["GC", 5, 13, 6], ["exception", 4, 8, 3]]) {
			const of = sum(known) || (bit === 5 && sum(5) ? seen : 0);
			if (of)
				shown.push(make("span", { class: "state", title: `${name}: ${showShare(sum(bit), of)} of ${showCount(of)} samples that tell` },
					make("span", {}, name), bar(sum(bit) / of, colors[color]), make("b", {}, showShare(sum(bit), of))));
		}
		return make("div", { class: "states" }, shown);
	}

	/* ---- how it was taken ---- */

	sampling() {
		const side = this.app.data.facts.sides[0], s = side.sampling, rows = [];
		if (s.due) {
			rows.push(make("div", { class: "wide" }, bar(s.achieved / s.due)));
			rows.push(fact("due", showCount(s.due)), fact("achieved", `${showCount(s.achieved)} · ${showShare(s.achieved, s.due)}`));
			rows.push(fact("missed", `${showCount(s.missed)} · ${showShare(s.missed, s.due)}`));
		} else
			rows.push(make("p", { class: "hint" }, "The recording has lost its statistics."));
		rows.push(fact("lost", s.due ? `${showCount(s.lost)} · ${showShare(s.lost, s.due)}` : showCount(s.lost)));
		for (const [reason, n] of Object.entries(s.lostBy))
			rows.push(fact(`· ${reason}`, showCount(n)));
		if (s.achieved) {
			rows.push(fact("taken free", showShare(s.free, s.achieved)), fact("by a stop", showShare(s.stopped, s.achieved)),
				fact("with a <moving> leaf", showShare(s.moving, s.achieved)));
			if (s.elapsedNs)
				rows.push(fact("target stopped for", showShare(s.stopNs, s.elapsedNs)), fact("sampler's CPU", showShare(s.samplerNs, s.elapsedNs)));
		}
		if (s.frameless)
			rows.push(fact("without a Python frame", showCount(s.frameless), "of the profile's samples; they are not in the graph"));
		if (s.damaged)
			rows.push(fact("damaged", showCount(s.damaged)));
		if (s.stopsRefused)
			rows.push(make("p", { class: "hint" }, "Stopping the target was refused: what could not be proven is <moving>."));
		for (const warning of side.warnings)
			rows.push(make("p", { class: "hint" }, warning));
		this.fill("sampling", rows);
	}

	legend() {
		const { app } = this, { theme } = app.look(), entry = (color, name) => {
			const box = make("i");
			box.style.background = color;
			return make("li", {}, box, name);
		};
		const rows = app.color === "change" ? (app.elided ? [8] : [3, 2, 1, 0, 4, 5, 6, 7]).map(i => entry(theme.change[i], CHANGE_NAMES[i])) :
			app.color === "heat" ? theme.heat.map((color, i) => entry(color, ["itself below 0.1 %", "0.1 % and up", "0.5 %", "2 %", "5 %", "15 % and up"][i])) :
				ORIGIN_NAMES.map((name, i) => entry(theme.origins[i][0], name));
		const parts = [make("ul", { class: "legend" }, rows)];
		if (app.color === "change")
			parts.push(make("p", { class: "hint" }, `Colour: ${app.own ? "a frame's own time" : "time with what it calls"}, ` +
				`${app.absolute ? "in all" : "per second of recording"}. Noise: below ${SIGNIFICANT} standard deviations of counting.`));
		if (app.strip)
			parts.push(make("h4", {}, "Timeline"), make("ul", { class: "legend" }, DOING_ORDER.map(i => entry(theme.doing[i], DOING_NAMES[i]))));
		this.fill("legend", parts);
	}
}
