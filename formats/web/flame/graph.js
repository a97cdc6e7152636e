/* The graph on its canvas: what is seen, and what pointer and keys do with it. */

const PAD = 6, STEP_MS = 170;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

class Graph {
	/* app: look(), select(pane, node), zoomed(pane), hovered(at, event, same), told(at), sandwich(key), and
	 * what Items asks of it. */
	constructor(box, canvas, spacer, trees, app) {
		Object.assign(this, { box, canvas, spacer, app });
		this.context = canvas.getContext("2d", { alpha: false });
		this.items = new Items(trees, this, app);
		this.panes = [];
		this.hover = this.focus = null;
		this.pointers = new Map();
		this.asked = 0;
		new ResizeObserver(() => this.resize()).observe(box);
		box.addEventListener("scroll", () => this.ask());
		box.addEventListener("wheel", e => this.wheel(e), { passive: false });
		canvas.addEventListener("pointerdown", e => this.down(e));
		canvas.addEventListener("pointermove", e => this.move(e));
		canvas.addEventListener("pointerup", e => this.lift(e));
		canvas.addEventListener("pointercancel", e => this.lift(e));
		canvas.addEventListener("pointerleave", () => this.setHover(null));
		canvas.addEventListener("dblclick", e => {
			const hit = this.hit(e);
			if (hit && hit.pane.view.key[hit.node] > 0)
				app.sandwich(hit.pane.view.key[hit.node]);
		});
	}

	get width() {
		return this.cssWidth;
	}

	get contentHeight() {
		return this.panes.reduce((sum, p) => sum + (p.rows - (p.skip ? 1 : 0)) * ROW, 2 * PAD);
	}

	/* The top of the row of the root, on the canvas. */
	get top() {
		const height = Math.max(this.contentHeight, this.cssHeight), above = this.panes.find(p => p.up);
		let top = PAD;
		if (above)
			top = this.panes.length > 1 ? PAD + (above.rows - 1) * ROW : height - PAD - ROW;
		return top - this.box.scrollTop;
	}

	show(panes) {
		/* The same stack keeps the focus, as far as it is still there. */
		const old = this.focus, i = old ? this.panes.indexOf(old.pane) : -1, pane = panes.length === this.panes.length ? panes[i] : null;
		this.panes = panes;
		this.hover = null;
		this.focus = null;
		if (pane && old.pane.view.keys === pane.view.keys && !pane.skip)
			this.focus = { pane, node: nodeAt(pane.view, pathOf(old.pane.view, old.node)) };
		this.resize();
		const above = panes.find(p => p.up);
		this.box.scrollTop = !above ? 0 : panes.length < 2 ? this.contentHeight :
			(above.rows - 1) * ROW - this.cssHeight / 2;
		this.ask();
	}

	resize() {
		const ratio = devicePixelRatio || 1;
		this.cssWidth = this.box.clientWidth;
		this.cssHeight = this.box.clientHeight;
		const width = Math.round(this.cssWidth * ratio), height = Math.round(this.cssHeight * ratio);
		if (this.canvas.width !== width || this.canvas.height !== height) {
			this.canvas.width = width;
			this.canvas.height = height;
			this.canvas.style.width = `${this.cssWidth}px`;
			this.canvas.style.height = `${this.cssHeight}px`;
		}
		this.spacer.style.height = `${Math.max(0, this.contentHeight - this.cssHeight)}px`;
		this.draw();
	}

	ask() {
		this.asked ||= requestAnimationFrame(() => {
			this.asked = 0;
			this.draw();
		});
	}

	draw() {
		if (!this.panes.length || !this.cssWidth)
			return;
		if (this.step) {
			const t = Math.min(1, (performance.now() - this.step.start) / STEP_MS), e = 1 - (1 - t) ** 3;
			this.step.pane.window = [0, 1].map(i => this.step.from[i] + (this.step.to[i] - this.step.from[i]) * e);
			if (t === 1)
				this.endStep();
			else
				this.ask();
		}
		const ratio = devicePixelRatio || 1, c = this.context, look = this.app.look();
		c.setTransform(ratio, 0, 0, ratio, 0, 0);
		c.fillStyle = look.theme.back;
		c.fillRect(0, 0, this.cssWidth, this.cssHeight);
		for (const pane of this.panes)
			paintPane(c, pane, look, this.top, this.cssWidth, this.cssHeight);
		if (this.hover)
			this.outline(this.hover, look.theme.focus, 1);
		this.items.later();
		if (this.focus && this.items.hasFocus)
			this.outline(this.focus, look.theme.focus, 2);
		else if (this.app.selected)
			this.outline(this.app.selected, look.theme.focus, 1);
	}

	/* Where a node is on the canvas: x, y, width. */
	boxOf({ pane, node }, top = this.top) {
		const scale = this.cssWidth / (pane.window[1] - pane.window[0] || 1), { view } = pane;
		const x = (view.x[node] - pane.window[0]) * scale, row = view.depth[node];
		return { x, y: top + pane.offset(row), width: view.width[node] * scale };
	}

	outline(at, color, thick) {
		const box = this.boxOf(at), c = this.context;
		const left = Math.max(-4, box.x), right = Math.min(this.cssWidth + 4, box.x + box.width);
		c.strokeStyle = color;
		c.lineWidth = thick;
		c.strokeRect(left + thick / 2, box.y + thick / 2, Math.max(1, right - left - thick), ROW - 1 - thick);
	}

	hit(e) {
		const x = e.offsetX, y = e.offsetY;
		for (const pane of this.panes) {
			const row = Math.floor((pane.up ? this.top + ROW - 1e-9 - y : y - this.top) / ROW), { view } = pane;
			if (row < (pane.skip ? 1 : 0) || row >= pane.rows)
				continue;
			const at = pane.window[0] + x / this.cssWidth * (pane.window[1] - pane.window[0]);
			const node = lowerBound(view, view.rows[row], view.rows[row + 1], at);
			if (node < view.rows[row + 1] && view.x[node] <= at)
				return { pane, node };
		}
		return null;
	}

	/* ---- zoom ---- */

	endStep() {
		const step = this.step;
		this.step = null;
		if (step) {
			step.pane.window = step.to;
			this.app.zoomed(step.pane);
		}
	}

	goTo(pane, from, to, now) {
		const whole = pane.view.width[0], width = Math.min(whole, Math.max(to - from, whole * 1e-9));
		from = Math.max(0, Math.min(from, whole - width));
		this.endStep();
		if (now || calm.matches) {
			pane.window = [from, from + width];
			this.app.zoomed(pane);
		} else {
			this.step = { pane, from: pane.window, to: [from, from + width], start: performance.now() };
		}
		this.ask();
	}

	zoomTo(pane, node) {
		this.goTo(pane, pane.view.x[node], pane.view.x[node] + pane.view.width[node]);
	}

	zoomBy(factor, at = this.cssWidth / 2, pane = this.mainPane(), now = false) {
		const [a, b] = this.step?.pane === pane ? this.step.to : pane.window, x = a + (b - a) * at / this.cssWidth;
		this.goTo(pane, x - (x - a) * factor, x + (b - x) * factor, now);
	}

	pan(pixels, pane = this.mainPane(), now = false) {
		const [a, b] = this.step?.pane === pane ? this.step.to : pane.window, d = pixels * (b - a) / this.cssWidth;
		this.goTo(pane, a + d, b + d, now);
	}

	reset() {
		for (const pane of this.panes)
			this.goTo(pane, 0, pane.view.width[0], this.panes.length > 1);
	}

	get isZoomed() {
		return this.panes.some(p => p.window[0] > 0 || p.window[1] < p.view.width[0]);
	}

	mainPane(y) {
		if (this.panes.length > 1 && y !== undefined)
			return this.panes.find(p => p.up === (y < this.top)) ?? this.panes[0];
		return this.focus?.pane ?? this.panes[0];
	}

	wheel(e) {
		const unit = e.deltaMode === 1 ? 16 : e.deltaMode === 2 ? this.cssHeight : 1;
		const pane = this.mainPane(e.offsetY), scrolls = this.contentHeight > this.cssHeight + 1;
		if (Math.abs(e.deltaX) > Math.abs(e.deltaY) || e.shiftKey)
			this.pan((e.deltaX || e.deltaY) * unit, pane, true);
		else if (e.ctrlKey || e.metaKey || e.altKey || !scrolls)
			this.zoomBy(Math.exp(Math.max(-240, Math.min(240, e.deltaY * unit)) / 320), e.offsetX, pane, true);
		else
			return;
		e.preventDefault();
	}

	/* ---- pointers: one drags, two pinch, a short touch is a click ---- */

	down(e) {
		if (e.button)
			return;
		this.pointers.set(e.pointerId, { x: e.offsetX, y: e.offsetY });
		if (this.pointers.size === 1)
			this.drag = { x: e.offsetX, y: e.offsetY, moved: false, pane: this.mainPane(e.offsetY) };
	}

	move(e) {
		const before = this.pointers.get(e.pointerId);
		if (!before) {
			if (e.pointerType !== "touch")
				this.setHover(this.hit(e), e);
			return;
		}
		const now = { x: e.offsetX, y: e.offsetY };
		if (this.pointers.size === 2) {
			const other = [...this.pointers.entries()].find(([id]) => id !== e.pointerId)[1];
			const was = Math.abs(before.x - other.x), is = Math.abs(now.x - other.x);
			if (was > 8 && is > 8)
				this.zoomBy(was / is, (now.x + other.x) / 2, this.drag.pane, true);
			this.drag.moved = true;
		} else if (this.drag && (this.drag.moved || Math.hypot(now.x - this.drag.x, now.y - this.drag.y) > 4)) {
			if (!this.drag.moved)
				this.canvas.setPointerCapture(e.pointerId);
			this.drag.moved = true;
			this.setHover(null);
			this.pan(before.x - now.x, this.drag.pane, true);
			if (e.pointerType !== "touch")
				this.box.scrollTop += before.y - now.y;
		}
		this.pointers.set(e.pointerId, now);
	}

	lift(e) {
		const known = this.pointers.delete(e.pointerId);
		if (!known || this.pointers.size || !this.drag)
			return;
		const { moved } = this.drag;
		this.drag = null;
		const hit = e.type === "pointerup" && !moved ? this.hit(e) : null;
		if (hit) {
			this.focus = hit;
			this.app.select(hit.pane, hit.node);
			this.zoomTo(hit.pane, hit.node);
			this.items.focus();
		}
	}

	setHover(hit, e) {
		const same = hit?.pane === this.hover?.pane && hit?.node === this.hover?.node;
		if (!same) {
			this.hover = hit;
			this.ask();
		}
		this.app.hovered(hit, e, same);
	}

	/* ---- keys ---- */

	first() {
		const pane = this.panes.find(p => !p.skip);
		return pane ? { pane, node: 0 } : null;
	}

	setFocus(at) {
		this.focus = at;
		if (!at)
			return;
		const box = this.boxOf(at);
		if (box.width < 3 || box.x > this.cssWidth - 3 || box.x + box.width < 3) {
			/* So that it can be seen: its parent fills the view. */
			const { view } = at.pane, around = box.width < 3 ? view.parent[at.node] : at.node;
			if (view.width[at.node] * this.cssWidth / (view.width[around] || 1) < 3)
				this.zoomTo(at.pane, at.node);
			else
				this.zoomTo(at.pane, around);
		}
		if (box.y < 0)
			this.box.scrollTop += box.y - PAD;
		else if (box.y + ROW > this.cssHeight)
			this.box.scrollTop += box.y + ROW + PAD - this.cssHeight;
		this.app.told(at);
		this.items.update(true);
		this.ask();
	}

	/* The node that an arrow leads to; null: none. */
	neighbour(key) {
		const { pane, node } = this.focus ?? this.first(), { view } = pane;
		const deeper = pane.up ? "ArrowUp" : "ArrowDown", higher = pane.up ? "ArrowDown" : "ArrowUp";
		if (key === deeper)
			return view.children[node] ? { pane, node: view.first[node] } : null;
		if (key === higher) {
			if (view.depth[node] > (pane.skip ? 1 : 0))
				return { pane, node: view.parent[node] };
			const other = this.panes.find(p => p !== pane);
			if (!other)
				return null;
			if (pane.skip)
				return { pane: other, node: 0 };
			return other.view.children[0] ? { pane: other, node: other.view.first[0] } : null;
		}
		if (key === "Home")
			return this.first();
		const row = view.depth[node], next = key === "End" ? view.rows[row + 1] - 1 : node + (key === "ArrowRight" ? 1 : -1);
		return next >= view.rows[row] && next < view.rows[row + 1] ? { pane, node: next } : null;
	}
}
