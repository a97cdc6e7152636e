/* The graph as readers of screens walk it: a tree whose items lie on the boxes of the canvas. Only what
 * can be seen, and what is near the item that has the focus, is in the document. */

const MOST_ITEMS = 200, NEAR_ITEMS = 8, SEEN_ITEM = 24;

class Items {
	/* app: describe(at), selected, treeName(pane), chose(at). */
	constructor(holder, graph, app) {
		Object.assign(this, { holder, graph, app });
		this.trees = [];
		holder.addEventListener("focusin", e => {
			const at = this.at(e.target);
			if (at && (at.pane !== graph.focus?.pane || at.node !== graph.focus.node))
				graph.setFocus(at);
			graph.ask();
		});
		holder.addEventListener("focusout", () => graph.ask());
		/* What a reader of screens calls to press. */
		holder.addEventListener("click", e => {
			const at = this.at(e.target);
			if (at)
				app.chose(at);
		});
	}

	get hasFocus() {
		return this.holder.contains(document.activeElement);
	}

	at(element) {
		for (const tree of this.trees)
			if (element.parentNode === tree.element)
				return { pane: tree.pane, node: Number(element.dataset.node) };
		return null;
	}

	later() {
		this.timer ??= setTimeout(() => this.update(), 100);
	}

	focus() {
		this.graph.focus ??= this.graph.first();
		this.update(true);
	}

	/* The numbers of nodes to show, callers before what they call. */
	choose(pane) {
		const { view } = pane, { focus } = this.graph, chosen = new Set(), first = pane.skip ? 1 : 0;
		const add = (node, from, to, most) => {
			for (let i = Math.max(from, node - most); i <= Math.min(to, node + most); i++)
				if (i >= first && i < view.count)
					chosen.add(i);
		};
		const children = node => add(view.first[node], view.first[node], view.first[node] + view.children[node] - 1, 2 * NEAR_ITEMS);
		children(0);
		add(0, 0, 0, 0);
		if (focus?.pane === pane) {
			const row = view.depth[focus.node];
			children(focus.node);
			add(focus.node, view.rows[row], view.rows[row + 1] - 1, 1);
			for (let at = focus.node; at; at = view.parent[at]) {
				const above = view.parent[at];
				add(at, view.first[above], view.first[above] + view.children[above] - 1, at === focus.node ? NEAR_ITEMS : 1);
			}
		}
		this.addSeen(pane, chosen);
		return [...chosen].sort((a, b) => view.x[a] - view.x[b] || a - b);
	}

	addSeen(pane, chosen) {
		const { graph } = this, { view, window: [from, to] } = pane, scale = graph.width / (to - from || 1);
		for (let row = pane.skip ? 1 : 0; row < pane.rows && chosen.size < MOST_ITEMS; row++) {
			const y = this.top + pane.offset(row), end = view.rows[row + 1];
			if (y + ROW <= 0 || y >= graph.cssHeight)
				continue;
			for (let i = lowerBound(view, view.rows[row], end, from); i < end && chosen.size < MOST_ITEMS; i++) {
				const x = (view.x[i] - from) * scale;
				if (x >= graph.width)
					break;
				if (view.width[i] * scale >= SEEN_ITEM)
					chosen.add(i);
				else /* no box that is wide enough ends before this */
					i = lowerBound(view, i + 1, end, from + (x + SEEN_ITEM / 2) / scale) - 1;
			}
		}
	}

	tree(i, pane) {
		let tree = this.trees[i];
		if (!tree) {
			tree = this.trees[i] = { element: make("div", { role: "tree", "aria-orientation": "horizontal" }) };
			this.holder.append(tree.element);
		}
		if (tree.view !== pane.view) {
			tree.element.replaceChildren();
			tree.items = new Map();
		}
		tree.pane = pane;
		tree.view = pane.view;
		return tree;
	}

	/* Everything in step with the canvas. focus: the item at the graph's focus gets it, as it does when
	 * one had it. */
	update(focus = false) {
		const { graph } = this, had = focus || this.hasFocus;
		clearTimeout(this.timer);
		this.timer = null;
		/* Read before anything is written: the browser has to lay out only once. */
		this.top = graph.top;
		this.holder.style.height = `${graph.cssHeight}px`;
		this.holder.style.marginBottom = `${-graph.cssHeight}px`;
		for (const tree of this.trees.splice(graph.panes.length))
			tree.element.remove();
		graph.panes.forEach((pane, i) => this.fill(this.tree(i, pane)));
		const at = graph.focus ?? graph.first(), tree = this.trees.find(t => t.pane === at?.pane);
		const current = tree?.items.get(at.node) ?? this.trees[0]?.element.firstChild;
		for (const { items } of this.trees)
			for (const item of items.values())
				item.tabIndex = item === current ? 0 : -1;
		if (had && current && document.activeElement !== current)
			current.focus({ preventScroll: true });
	}

	fill(tree) {
		const { pane, view, items, element } = tree, chosen = this.choose(pane), wanted = new Set(chosen);
		element.setAttribute("aria-label", this.app.treeName(pane));
		/* An item that stays is not moved: it may have the focus. */
		for (const [node, item] of items) {
			if (!wanted.has(node)) {
				item.remove();
				items.delete(node);
			}
		}
		let next = element.firstChild;
		for (const node of chosen) {
			let item = items.get(node);
			if (!item) {
				item = make("div", { role: "treeitem", "data-node": node });
				items.set(node, item);
				element.insertBefore(item, next);
			} else
				next = item.nextSibling;
			this.tell(item, pane, node, wanted);
		}
	}

	tell(item, pane, node, wanted) {
		const { view } = pane, above = view.parent[node], calls = view.children[node], { selected } = this.app;
		const what = pane.up || this.app.inverted ? "caller" : "callee";
		item.setAttribute("aria-label", `${this.app.describe({ pane, node }).join(", ")}, ${calls} ${what}${calls === 1 ? "" : "s"}`);
		item.setAttribute("aria-level", view.depth[node] + (pane.skip ? 0 : 1));
		item.setAttribute("aria-setsize", node ? view.children[above] : 1);
		item.setAttribute("aria-posinset", node ? node - view.first[above] + 1 : 1);
		item.setAttribute("aria-selected", String(selected?.pane === pane && selected.node === node));
		if (calls)
			item.setAttribute("aria-expanded", String(wanted.has(view.first[node])));
		const box = this.graph.boxOf({ pane, node }, this.top), left = Math.max(0, box.x), right = Math.min(this.graph.width, box.x + box.width);
		Object.assign(item.style, { left: `${left}px`, top: `${box.y}px`, width: `${Math.max(1, right - left)}px`, height: `${ROW - 1}px` });
	}
}
