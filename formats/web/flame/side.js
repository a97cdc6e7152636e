/* The panels beside the graph. Each is filled anew when what it shows has changed. */

const bar = (share, color) => {
	const fill = make("i");
	fill.style.width = `${Math.max(0, Math.min(100, share * 100))}%`;
	if (color)
		fill.style.background = color;
	return make("span", { class: "bar", "aria-hidden": "true" }, fill);
};
/* Words of a name can be parted where one ends. */
const breakable = name => name.split("_").flatMap((word, i) => i ? [make("wbr"), `_${word}`] : [word]);
/* Instructions that a panel shows at first. */
const OPS_SHOWN = 12;
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
			const op = ops.get(data.cellOp[cell]) ?? { self: 0, total: 0 };
			op.self += own;
			op.total += totals[kind][i];
			ops.set(data.cellOp[cell], op);
		}
		return { lines, ops };
	}

	/* What of a function's time its instructions have, those with most of it first. 0: not known which. */
	instructions(ops) {
		const { data } = this.app, rows = [...ops].filter(([, sum]) => sum.total > 0);
		if (!rows.some(([op]) => op))
			return null;
		rows.sort(([, a], [, b]) => b.self - a.self || b.total - a.total);
		const sum = name => rows.reduce((n, [, op]) => n + op[name], 0), self = sum("self"), total = sum("total");
		const row = ([op, of]) => {
			/* "SPECIALISED (PLAIN)" */
			const [, name, base] = /^(\S+)(?: \((\S+)\))?$/.exec(op ? data.text(op) : "") ?? [];
			return make("tr", {}, make("th", { scope: "row", "aria-label": name && (base ? `${name} of ${base}` : name) }, make("code", {}, name ? breakable(name) : "not known"),
				base && make("small", {}, "of ", breakable(base)), bar((self ? of.self : of.total) / (self || total || 1))),
			make("td", {}, showShare(of.self, self)), make("td", {}, showShare(of.total, total)));
		};
		const body = make("tbody", {}, rows.slice(0, OPS_SHOWN).map(row));
		const more = rows.length > OPS_SHOWN && make("button", { type: "button", click: () => {
			const added = rows.slice(OPS_SHOWN).map(row);
			body.append(...added);
			more.remove();
			added[0].tabIndex = -1;
			added[0].focus();
		} }, `All ${rows.length} instructions`);
		const box = make("details", { class: "part" },
			/* It is about to change; keys are clicks as well. */
			make("summary", { click: () => this.opsFolded = box.open }, "Instructions"),
			make("table", { class: "ops" }, make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "of the function's time"),
				make("th", { scope: "col" }, "itself"), make("th", { scope: "col" }, "in all"))), body),
			more);
		box.open = !this.opsFolded;
		return box;
	}

	source(file, lines, whole) {
		const { app } = this, text = app.data.sources.get(file)?.lines, rows = [];
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

	/* Why there is no source, or not of each line; "": it is all there. */
	noSource(fn, lines) {
		const { data } = this.app, file = data.functionFile[fn], known = data.sources.get(file), kind = data.functionKind[fn];
		const name = file ? data.text(file) : "", seen = [...lines.keys()].filter(line => line > 0 && lines.get(line).total > 0);
		if (kind === KIND_MOVING)
			return "The stack moved while it was read: which function ran is not known.";
		if (kind || !name)
			return "This is no Python function: it has no source.";
		if (known?.why === SOURCE_NO_PATH || name.startsWith("<"))
			return `There is no source: ${shorten(name, 60)} names no file, as code has that is frozen into the interpreter, made of a text or typed.`;
		if (!seen.length)
			return "The recording has no line of this function.";
		if (known?.why)
			return `There is no source: ${SOURCE_REASONS[known.why] ?? SOURCE_REASONS.at(-1)}.`;
		const missing = seen.filter(line => !known?.lines.has(line));
		if (!missing.length)
			return "";
		const which = missing.length === seen.length ? "These lines" : `${missing.length} of these lines`;
		return known?.end && missing.every(line => line > known.end) ? `${which} are not in the file, which has ${showCount(known.end)}: it is not the one that ran.` :
			`${which} are shown without their text: a page carries that of the heaviest lines only.`;
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
		const why = this.noSource(fn, lines);
		if (why)
			children.push(make("p", { class: "hint no-source" }, why));
		children.push(this.instructions(ops));
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
		if (app.data.span)
			rows.push(fact("samples a second", showCount(sum[COUNT] / app.data.span * 1e9), "of the chosen threads together"));
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
				this.states(group.members.filter(i => !facts.threads[i].base).map(i => statesOf(app.data, i, app.range)))));
		}
		this.fill("threads", groups.length > 1 && make("div", { class: "row" },
			make("button", { click: () => app.onlyThreads(facts.threads.map((t, i) => i)) }, "All"),
			make("button", { click: () => app.onlyThreads([]) }, "None")), make("ul", { class: "threads" }, rows),
			app.range && make("p", { class: "hint" }, `Of the range: ${app.strip.text}.`));
	}

	/* Shares of what is known; what never was is left out. */
	states(threads) {
		const sum = bit => threads.reduce((n, t) => n + t.states[bit], 0), seen = threads.reduce((n, t) => n + t.seen, 0);
		const colors = this.app.look().theme.doing, shown = [];
		/* Numbers of states: how often, and of how many. */
		for (const [name, bit, known, color] of [["GIL", 1, 0, 5], ["waits for GIL", 11, 10, 4], ["CPU", 3, 2, 2], ["GC", 5, 13, 6], ["exception", 16, 17, 3]]) {
			const of = sum(known) || (bit === 5 && sum(5) ? seen : 0);
			if (of)
				shown.push(make("span", { class: "state", title: `${name}: ${showShare(sum(bit), of)} of ${showCount(of)} samples that tell` },
					make("span", {}, name), bar(sum(bit) / of, colors[color]), make("b", {}, showShare(sum(bit), of))));
		}
		return make("div", { class: "states" }, shown);
	}

	/* ---- how it was taken ---- */

	efficiency(due, achieved, missed, lost) {
		return [make("div", { class: "wide" }, bar(achieved / due)), fact("due", showCount(due)),
			fact("achieved", `${showCount(achieved)} · ${showShare(achieved, due)}`),
			fact("missed", `${showCount(missed)} · ${showShare(missed, due)}`), fact("lost", `${showCount(lost)} · ${showShare(lost, due)}`)];
	}

	howTaken([free, stopped, moving], all) {
		return [fact("taken free", showShare(free, all)), fact("by a stop", showShare(stopped, all)), fact("with a <moving> leaf", showShare(moving, all))];
	}

	/* Of a range: samples are in it or not; what was due, missed or lost is known as often as it was reported. */
	samplingOfRange(range) {
		const { app } = this, { data } = app, known = reported(data, range), rows = [];
		if (known && known.sums[0]) {
			rows.push(...this.efficiency(...known.sums));
			rows.push(make("p", { class: "hint" }, `This is of ${known.span.map(showTime).join(" – ")}: from the recorder's last report before the range to the first behind it.`));
		} else
			rows.push(make("p", { class: "hint" }, data.facts.sides[0].sampling.due ? "The recorder reported nothing of the range." : "The recording has lost its statistics."));
		const how = data.facts.threads.map((t, i) => t.base ? [0, 0, 0] : statesOf(data, i, range).how).reduce((a, b) => a.map((n, i) => n + b[i]));
		const all = how[0] + how[1] + how[2];
		if (all)
			rows.push(fact("samples in the range", showCount(all)), ...this.howTaken(how, all));
		return rows;
	}

	samplingOfAll(s) {
		const rows = [], { span, processes } = this.app.data.facts.sides[0];
		/* A page of a part of a recording: of the times that were asked for. */
		if (processes.length === 1 && s.elapsedNs > span + 1e9)
			rows.push(make("p", { class: "hint" }, `Of the whole recording, ${showTime(s.elapsedNs)}; the page is of ${showTime(span)} of it.`));
		if (s.due)
			rows.push(...this.efficiency(s.due, s.achieved, s.missed, s.lost));
		else
			rows.push(make("p", { class: "hint" }, "The recording has lost its statistics."), fact("lost", showCount(s.lost)));
		for (const [reason, n] of Object.entries(s.lostBy))
			rows.push(fact(`· ${reason}`, showCount(n)));
		if (s.achieved) {
			rows.push(...this.howTaken([s.free, s.stopped, s.moving], s.achieved));
			if (s.elapsedNs)
				rows.push(fact("target stopped for", showShare(s.stopNs, s.elapsedNs)), fact("sampler's CPU", showShare(s.samplerNs, s.elapsedNs)));
		}
		return rows;
	}

	sampling() {
		const side = this.app.data.facts.sides[0], s = side.sampling, { range } = this.app;
		const rows = range ? this.samplingOfRange(range) : this.samplingOfAll(s);
		if (range && (s.frameless || s.damaged || s.stopsRefused || side.warnings.length))
			rows.push(make("h4", {}, "Of the whole recording"));
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
