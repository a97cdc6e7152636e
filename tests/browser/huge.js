/* A flame graph of 200,000 frames. */
"use strict";
const assert = require("node:assert/strict");
const { test, open, close, pageOf } = require("./harness.js");
const { near, focused, window_ } = require("./graph.js");

test("200,000 frames: there within a second, 60 pictures a second, each to be found", async browser => {
	/* The best of three: others use the machine too. */
	let page, nodes, time = Infinity;
	for (let i = 0; i < 3; i++) {
		if (page)
			await close(page);
		page = await open(browser, pageOf("huge"));
		const loaded = await page.evaluate(() => [pyprof.graph.panes[0].view.count, performance.getEntriesByName("drawn")[0].startTime]);
		nodes = loaded[0];
		time = Math.min(time, loaded[1]);
	}
	assert.ok(nodes > 190000, `${nodes} frames`);
	assert.ok(time < 1000, `the first picture took ${time.toFixed(0)} ms`);
	const result = await page.evaluate(() => {
		const { graph } = pyprof, pane = graph.panes[0], { view } = pane, whole = view.width[0], times = [], seen = new Set();
		for (let i = 0; i < 120; i++) {
			const width = whole * 0.93 ** (i % 60), from = (whole - width) * (i < 60 ? 0.1 : 0.37);
			pane.window = [from, from + width];
			graph.box.scrollTop = i;
			/* Others use the machine too: what is least disturbed counts. */
			let best = Infinity;
			for (let again = 0; again < 4; again++) {
				const start = performance.now();
				graph.draw();
				/* Waits until it is really drawn. */
				graph.context.getImageData(0, 0, 1, 1);
				best = Math.min(best, performance.now() - start);
			}
			times.push(best);
			seen.add(graph.canvas.toDataURL());
		}
		times.sort((a, b) => a - b);
		graph.reset();
		return { median: times[60], worst: times[119], seen: seen.size };
	});
	console.log(`   first picture ${time.toFixed(0)} ms, a picture ${result.median.toFixed(1)} ms (worst ${result.worst.toFixed(1)} ms)`);
	assert.ok(result.seen > 60, `${result.seen} different pictures`);
	assert.ok(result.median < 16, `a picture takes ${result.median.toFixed(1)} ms`);
	/* A click finds what is drawn there. */
	await page.evaluate(() => pyprof.graph.box.scrollTop = 0);
	await page.waitForTimeout(100);
	const target = await page.evaluate(() => {
		const { view } = pyprof.graph.panes[0];
		for (let i = view.rows[6]; i < view.rows[7]; i++) {
			const box = pyprof.graph.boxOf({ pane: pyprof.graph.panes[0], node: i });
			if (box.width > 6)
				return { node: i, x: box.x + box.width / 2, y: box.y + 8, left: view.x[i], width: view.width[i] };
		}
		return null;
	});
	const canvas = await page.locator("#graph").boundingBox();
	await page.mouse.click(canvas.x + target.x, canvas.y + target.y);
	assert.equal(await page.evaluate(() => pyprof.selected.node), target.node);
	const [from, to] = await window_(page);
	near(from, target.left, 1);
	near(to - from, target.width, 1);
	/* And what is far too narrow to be seen can still be found. */
	await page.keyboard.press("0");
	await page.fill("#search", "needle");
	await page.waitForFunction(() => / in 1$/.test(document.getElementById("found").textContent));
	await page.press("#search", "Enter");
	assert.match(await focused(page), /^needle/);
	assert.ok(await page.evaluate(() => pyprof.graph.boxOf(pyprof.graph.focus).width) > 3);
	await close(page);
});

test("200,000 frames inverted and cut at a range", async browser => {
	const page = await open(browser, pageOf("huge"));
	const sum = await page.evaluate(() => {
		pyprof.option("inverted", true);
		return pyprof.graph.panes[0].view.from.total[0][0];
	});
	assert.equal(sum, 400000);
	/* Had it been cut, as one of more is: what is zoomed to is made anew, and who had the focus keeps it. */
	const view = await page.evaluateHandle(() => (pyprof.graph.panes[0].view.from.cut = true, pyprof.graph.panes[0].view));
	const first = await page.evaluate(() => pyprof.keys.name(pyprof.graph.panes[0].view.key[1]));
	await page.keyboard.press("g");
	await page.keyboard.press("ArrowDown");
	assert.equal((await focused(page)).split(", ")[0], first);
	await page.keyboard.press("Enter");
	assert.equal(await page.evaluate(view => pyprof.graph.panes[0].view !== view, view), true);
	assert.match(await focused(page), /, level 2, 1 of \d+$/);
	assert.equal((await focused(page)).split(", ")[0], first);
	assert.equal(await page.evaluate(() => pyprof.selected?.pane === pyprof.graph.panes[0] && pyprof.selected.node), 1);
	await page.evaluate(() => pyprof.strip.set([0, 1]));
	await page.waitForFunction(() => pyprof.range && pyprof.graph.panes[0].view.from.total[0][0] < 400000);
	await close(page);
});
