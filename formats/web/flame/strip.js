/* The strip: threads as rows, what they did as colour, from the first sample to the last. A range
 * that is dragged on it is what the graph is made of. */

const STRIP_ROW = LARGE ? 20 : 15, STRIP_AXIS = LARGE ? 24 : 18, STRIP_LABEL = LARGE ? 180 : 132;
/* Where there is no room for names beside the rows, each stands above its own, this high. */
const STRIP_NAME = 15, STRIP_NARROW = 560;

class Strip {
	/* app: look(), setRange(range or null), threadLabel(i), threads (which are chosen), said(text). */
	constructor(box, canvas, data, app) {
		Object.assign(this, { box, canvas, data, app });
		this.strip = data.strip;
		this.context = canvas.getContext("2d");
		/* A thread that had another state before, as one that is being started, is one row. */
		const rows = new Map();
		this.strip.doing.forEach((doing, i) => {
			if (doing.some(row => row.some(n => n)))
				rows.set(app.threadLabel(i), [...rows.get(app.threadLabel(i)) ?? [], i]);
		});
		this.rows = [...rows].map(([label, members]) => ({ label, members }));
		this.range = null;
		canvas.setAttribute("aria-valuemax", String(this.strip.wide));
		canvas.setAttribute("aria-valuenow", "0");
		canvas.setAttribute("aria-description", this.rows.slice(0, 50).map(row => row.label).join(", "));
		new ResizeObserver(() => this.draw()).observe(box);
		canvas.addEventListener("pointerdown", e => this.down(e));
		canvas.addEventListener("pointermove", e => this.move(e));
		canvas.addEventListener("pointerup", () => this.drag = null);
		canvas.addEventListener("pointercancel", () => this.drag = null);
		canvas.addEventListener("pointerleave", e => e.pointerType === "mouse" && app.said(""));
		canvas.addEventListener("dblclick", () => this.set(null));
		canvas.addEventListener("keydown", e => this.key(e));
		canvas.addEventListener("focus", () => this.draw());
		canvas.addEventListener("blur", () => this.draw());
	}

	/* The room for names at the side: of those that there are, up to a fifth of all. */
	get left() {
		if (this.width < STRIP_NARROW)
			return 0;
		this.longest ??= Math.max(...this.rows.map(row => row.label.length));
		return Math.max(STRIP_LABEL, Math.min(this.width / 5, Math.ceil(this.longest * letterWidth()) + 16));
	}

	get lead() {
		return this.left ? 0 : STRIP_NAME;
	}

	get rowHeight() {
		return this.lead + STRIP_ROW;
	}

	/* Wide bins are what ranges are made of. */
	binAt(x) {
		const share = (x - this.left) / (this.width - this.left), { bins, wide, shift } = this.strip;
		return Math.max(0, Math.min(wide, Math.floor(share * bins / (1 << shift))));
	}

	xOf(wideBin) {
		const { bins, shift } = this.strip;
		return this.left + Math.min(1, (wideBin << shift) / bins) * (this.width - this.left);
	}

	down(e) {
		if (e.button)
			return;
		this.canvas.setPointerCapture(e.pointerId);
		const near = this.range && [0, 1].find(i => Math.abs(this.xOf(this.range[i]) - e.offsetX) < 6);
		const at = this.binAt(e.offsetX);
		this.app.said(this.tell(e.offsetX, e.offsetY));
		if (near !== undefined && near !== null)
			this.drag = { fixed: this.range[1 - near] };
		else if (this.range && at >= this.range[0] && at < this.range[1])
			this.drag = { move: at, range: this.range };
		else
			this.drag = { start: at, x: e.offsetX };
	}

	move(e) {
		const at = this.binAt(e.offsetX), { drag } = this, { wide } = this.strip;
		if (!drag) {
			const near = this.range && [0, 1].some(i => Math.abs(this.xOf(this.range[i]) - e.offsetX) < 6);
			this.canvas.style.cursor = near ? "ew-resize" : this.range && at >= this.range[0] && at < this.range[1] ? "grab" : "crosshair";
			this.app.said(this.canvas.title = this.tell(e.offsetX, e.offsetY));
		} else if (drag.range) {
			const by = Math.max(-drag.range[0], Math.min(wide - drag.range[1], at - drag.move));
			this.set([drag.range[0] + by, drag.range[1] + by]);
		} else if (drag.fixed !== undefined) {
			this.set(at < drag.fixed ? [at, drag.fixed] : [drag.fixed, Math.max(at, drag.fixed + 1)]);
		} else if (Math.abs(e.offsetX - drag.x) > 3) {
			this.set([Math.min(drag.start, at), Math.min(wide, Math.max(drag.start, at) + 1)]);
		}
	}

	tell(x, y) {
		const row = this.rows[Math.floor((y - STRIP_AXIS) / this.rowHeight)], { bins, width } = this.strip;
		const bin = Math.floor((x - this.left) / (this.width - this.left) * bins);
		if (!row || bin < 0 || bin >= bins)
			return "";
		const counts = DOING_ORDER.map(what => [DOING_NAMES[what], this.sum(row, what, bin, bin + 1)]).filter(([, n]) => n);
		return `${row.label}, ${showTime(bin * width)}: ` +
			(counts.map(([name, n]) => `${name} ${n}`).join(", ") || "no sample");
	}

	sum(row, what, from, to) {
		let sum = 0;
		for (const thread of row.members) {
			const counts = this.strip.doing[thread][what];
			for (let bin = from; bin < to; bin++)
				sum += counts[bin];
		}
		return sum;
	}

	key(e) {
		const { wide } = this.strip, step = Math.max(1, Math.round(wide / 100));
		let [a, b] = this.range ?? [0, wide];
		if (e.key === "ArrowLeft" || e.key === "ArrowRight") {
			const by = e.key === "ArrowLeft" ? -step : step;
			if (e.shiftKey)
				b = Math.max(a + 1, Math.min(wide, b + by));
			else if (e.altKey)
				a = Math.min(b - 1, Math.max(0, a + by));
			else if (this.range) {
				const most = Math.max(-a, Math.min(wide - b, by));
				a += most;
				b += most;
			} else
				[a, b] = [0, Math.max(1, Math.round(wide / 10))];
		} else if (e.key === "Escape" && this.range) {
			e.preventDefault();
			e.stopPropagation();
			this.set(null);
			return;
		} else
			return;
		e.preventDefault();
		e.stopPropagation();
		this.set([a, b]);
	}

	set(range) {
		if (range && range[1] <= range[0])
			range = null;
		if (String(range) === String(this.range))
			return;
		this.range = range;
		this.canvas.setAttribute("aria-valuetext", this.text || "all");
		this.canvas.setAttribute("aria-valuenow", String(range ? range[0] : 0));
		this.draw();
		this.app.setRange(range);
	}

	get text() {
		const { width, shift } = this.strip, wide = width * (1 << shift);
		if (!this.range)
			return "";
		return `${showTime(this.range[0] * wide)} – ${showTime(Math.min(this.range[1] * wide, this.data.facts.sides[0].span))}`;
	}

	draw() {
		const { theme } = this.app.look(), c = this.context, ratio = devicePixelRatio || 1, { bins } = this.strip;
		this.width = this.box.clientWidth;
		const { left, lead, rowHeight } = this, plot = this.width - left, height = this.rows.length * rowHeight + STRIP_AXIS + 2;
		this.canvas.style.height = `${height}px`;
		this.canvas.width = Math.round(this.width * ratio);
		this.canvas.height = Math.round(height * ratio);
		c.setTransform(ratio, 0, 0, ratio, 0, 0);
		c.fillStyle = theme.back;
		c.fillRect(0, 0, this.width, height);
		c.font = FONT;
		c.textBaseline = "middle";
		const columns = Math.min(bins, Math.max(1, Math.floor(plot))), sums = new Float64Array(DOINGS);
		this.rows.forEach((row, i) => {
			const y = STRIP_AXIS + i * rowHeight + lead, room = STRIP_ROW - 2;
			c.globalAlpha = row.members.some(thread => this.app.threads[thread]) ? 1 : 0.3;
			for (let k = 0; k < columns; k++) {
				const from = Math.floor(k * bins / columns), to = Math.max(from + 1, Math.floor((k + 1) * bins / columns));
				let sum = 0, top = y + 1;
				for (let what = 0; what < DOINGS; what++) {
					sums[what] = this.sum(row, what, from, to);
					sum += sums[what];
				}
				if (!sum)
					continue;
				const x = left + k * plot / columns;
				for (const what of DOING_ORDER) {
					if (!sums[what])
						continue;
					const part = sums[what] / sum * room;
					c.fillStyle = theme.doing[what];
					c.fillRect(x, top, plot / columns + 0.3, part);
					top += part;
				}
			}
			const wide = (left || this.width) - 10;
			c.fillStyle = theme.text;
			c.fillText(fit(row.label, Math.floor(wide / letterWidth())), 6, left ? y + STRIP_ROW / 2 : y - lead / 2 + 1, wide);
			c.globalAlpha = 1;
		});
		this.drawAxis(c, theme, plot);
		if (this.range) {
			const [a, b] = this.range.map(bin => this.xOf(bin));
			c.fillStyle = theme.hold;
			c.fillRect(left, 0, a - left, height);
			c.fillRect(b, 0, this.width - b, height);
			c.fillStyle = theme.focus;
			c.fillRect(a - 1, 0, 2, height);
			c.fillRect(b - 1, 0, 2, height);
		}
	}

	drawAxis(c, theme, plot) {
		const { bins, width } = this.strip, span = bins * width, about = span / Math.max(2, plot / 110);
		const power = 10 ** Math.floor(Math.log10(about)), step = [1, 2, 5, 10].map(n => n * power).find(s => s >= about);
		c.fillStyle = theme.axis;
		for (let t = 0; t <= span; t += step) {
			const x = this.left + t / span * plot, text = t ? showTime(t) : "0";
			if (x + text.length * letterWidth() > this.width)
				break;
			c.fillRect(x, STRIP_AXIS - 6, 1, 5);
			c.fillText(text, x + 4, STRIP_AXIS / 2);
		}
	}
}
