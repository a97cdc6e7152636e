/* What the page of two recordings that are compared must do. */
"use strict";
const assert = require("node:assert/strict");
const { test, open, close, pageOf } = require("./harness.js");
const { stacks, boxOf, colorAt, near, text } = require("./graph.js");

const compared = async (browser, options) => open(browser, pageOf("after", "--diff-flamegraph",
	`${process.argv[3]}/before.pyprof`), options);

test("compared: red for more, blue for less, purple for new, grey for the same and for noise", async browser => {
	const page = await compared(browser);
	const colors = { steady: 0, grows_a_bit: 1, grows: 3, shrinks: 6, appears: 7, noise: 0 };
	const { change, raw } = await page.evaluate(() => {
		const { view } = pyprof.graph.panes[0], raw = {};
		for (let i = 1; i < view.count; i++)
			raw[view.keys.name(view.key[i])] = [0, 2].map(kind => view.from.total[kind][view.raw[i]]);
		return { change: pyprof.look().theme.change, raw };
	});
	assert.deepEqual(raw.steady.map(n => Math.round(n / 100)), [30, 30]);
	assert.equal(raw.appears[1], 0);
	assert.ok(raw.noise[0] > raw.noise[1]);
	for (const [name, place] of Object.entries(colors)) {
		const box = await boxOf(page, ["<module>", name]);
		if (box.width > 4)
			assert.equal(await colorAt(page, box), change[place], name);
		else
			assert.equal(await page.evaluate(node => pyprof.classOf(pyprof.graph.panes[0].view, node), box.node), place, name);
	}
	await close(page);
});

test("compared: a range of time is compared by its own length", async browser => {
	const page = await compared(browser);
	await page.evaluate(() => pyprof.strip.set([0, Math.round(pyprof.data.strip.wide / 2)]));
	await page.waitForFunction(() => pyprof.graph.panes[0].view.width[0] < 6e9);
	const places = await page.evaluate(() => {
		const { view } = pyprof.graph.panes[0], places = {};
		for (let i = 1; i < view.count; i++)
			places[view.keys.name(view.key[i])] = pyprof.classOf(view, i);
		return places;
	});
	assert.deepEqual([places.steady, places.grows, places.shrinks, places.appears], [0, 3, -3, 4]);
	await close(page);
});

test("compared: parts of recordings by their own lengths, whatever those of the recordings are", async browser => {
	/* Twice as long, and the same in its first ten seconds. */
	const page = await open(browser, pageOf("after", "--from", "1", "--to", "4", "--diff-flamegraph", `${process.argv[3]}/before_long.pyprof`));
	const places = await page.evaluate(() => {
		const { view } = pyprof.graph.panes[0], places = {};
		for (let i = 1; i < view.count; i++)
			places[view.keys.name(view.key[i])] = pyprof.classOf(view, i);
		return places;
	});
	assert.deepEqual([places.steady, places.grows, places.shrinks, places.appears], [0, 3, -3, 4]);
	assert.match(await text(page, "summary"), /recorded3\.00 s.*base: recorded3\.00 s/);
	await close(page);
});

test("compared: what is gone can be looked at", async browser => {
	const page = await compared(browser);
	assert.match(await text(page, "summary"), /only in the base20\.0 %/);
	await page.keyboard.press("x");
	const box = await boxOf(page, ["<module>", "vanishes"]);
	near(box.width, await page.evaluate(() => pyprof.graph.width), 1);
	assert.equal(await colorAt(page, box), "#c3a2e0");
	assert.match(await text(page, "state"), /elided/);
	await page.keyboard.press("x");
	assert.equal((await stacks(page))["<module>;steady"] > 2900, true);
	await close(page);
});
