/* What tests ask of a flame graph page. */
"use strict";
const assert = require("node:assert/strict");

/* Runs inside the page: boxes of a pane as [names from the root, samples]. */
const stacks = page => page.evaluate(() => {
	const { view } = pyprof.graph.panes[0], rows = {};
	for (let i = 1; i < view.count; i++) {
		const names = [];
		for (let at = i; at; at = view.parent[at])
			names.unshift(view.keys.name(view.key[at]));
		rows[names.join(";")] = view.from.total[0][view.raw[i]];
	}
	return rows;
});

/* The node of a stack, and where its box is in the window. */
const boxOf = (page, names, pane = 0) => page.evaluate(([names, pane]) => {
	const p = pyprof.graph.panes[pane], { view } = p;
	let at = 0;
	for (const name of names)
		for (let i = view.first[at], end = i + view.children[at]; i < end; i++)
			if (view.keys.name(view.key[i]) === name) {
				at = i;
				break;
			}
	const box = pyprof.graph.boxOf({ pane: p, node: at }), canvas = document.getElementById("graph").getBoundingClientRect();
	return { node: at, x: canvas.x + box.x, y: canvas.y + box.y, width: box.width, middle: canvas.x + box.x + box.width / 2 };
}, [names, pane]);

const drawn = page => page.evaluate(() => {
	pyprof.graph.draw();
	return document.getElementById("graph").toDataURL();
});

/* The colour that is really on the canvas, at a box's lower left. */
const colorAt = (page, box) => page.evaluate(box => {
	const canvas = document.getElementById("graph"), at = canvas.getBoundingClientRect(), ratio = canvas.width / at.width;
	const [r, g, b] = canvas.getContext("2d").getImageData((box.x - at.x + 2) * ratio, (box.y - at.y + 2) * ratio, 1, 1).data;
	return "#" + [r, g, b].map(n => n.toString(16).padStart(2, "0")).join("");
}, box);

const near = (a, b, by, what) => assert.ok(Math.abs(a - b) <= by, `${what ?? ""} ${a} is not ${b}`);
const text = (page, id) => page.evaluate(id => document.getElementById(id).textContent, id);
/* The item of the tree that has the focus: its name and place, as readers of screens are told. */
const focused = page => page.evaluate(() => {
	const item = document.activeElement;
	return item.getAttribute("role") !== "treeitem" ? `${item.tagName} has the focus` :
		`${item.ariaLabel}, level ${item.ariaLevel}, ${item.ariaPosInSet} of ${item.ariaSetSize}`;
});
const window_ = page => page.evaluate(() => pyprof.graph.panes[0].window.slice());

const setRange = async (page, from, to) => {
	await page.evaluate(([from, to]) => {
		const { width, shift } = pyprof.data.strip, wide = width * (1 << shift) / 1e9;
		pyprof.strip.set([Math.round(from / wide), Math.round(to / wide)]);
	}, [from, to]);
	await page.waitForFunction(() => pyprof.range === pyprof.strip.range && pyprof.rangeFrame && pyprof.weights);
	await page.evaluate(() => new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve, 60))));
};

module.exports = { stacks, boxOf, drawn, colorAt, near, text, focused, window_, setRange };
