/* What the timeline, and the threads beside it, must do in the flame graph page. */
"use strict";
const assert = require("node:assert/strict");
const { test, open, close, pageOf } = require("./harness.js");
const { stacks, near, text, setRange } = require("./graph.js");

test("a thread that is left out is left out everywhere", async browser => {
	const page = await open(browser, pageOf("known"));
	assert.match(await text(page, "threads"), /main50\.0 %.*worker50\.0 %/s);
	await page.locator("#threads li", { hasText: "worker" }).locator("input").click();
	assert.equal((await stacks(page))["loop"], undefined);
	assert.equal((await stacks(page))["<module>"], 10000);
	assert.match(await text(page, "hotspots"), /^beta70\.0 %/);
	await page.locator("#threads li", { hasText: "worker" }).locator("button").click();
	assert.deepEqual(await stacks(page), { "loop": 10000, "loop;work": 10000 });
	await page.click("text=some threads ✕");
	assert.equal(Object.keys(await stacks(page)).length, 10);
	await close(page);
});

test("threads tell what they did", async browser => {
	const page = await open(browser, pageOf("known"));
	const worker = await page.locator("#threads li", { hasText: "worker" }).innerText();
	assert.match(worker.replace(/\s+/g, " "), /GIL 0\.00 % waits for GIL 50\.0 % CPU 0\.00 % exception 30\.0 %/);
	const main = await page.locator("#threads li", { hasText: "main" }).first().innerText();
	assert.match(main.replace(/\s+/g, " "), /GIL 100 % CPU 100 %/);
	assert.match(await text(page, "sampling"), /due20,030.*achieved20,000 · 99\.9 %.*missed20.*lost10.*torn10/s);
	await close(page);
});

test("a range dragged on the timeline makes the graph anew", async browser => {
	const page = await open(browser, pageOf("known"));
	const strip = await page.locator("#strip").boundingBox(), left = strip.x + 132, width = strip.width - 132;
	await page.mouse.move(left + 0.2, strip.y + 20);
	await page.mouse.down();
	await page.mouse.move(left + 0.45 * width, strip.y + 20, { steps: 5 });
	await page.mouse.up();
	await page.waitForFunction(() => pyprof.range);
	await page.waitForFunction(() => pyprof.graph.panes[0].view.width[0] < 12e9);
	let now = await stacks(page);
	assert.equal(now["<module>;alpha;gamma"], undefined);
	assert.equal(now["<module>;recurse"], undefined);
	near(now["<module>;alpha;beta"], 4500, 30);
	assert.match(await text(page, "state"), /0 ns – 4\.5\d? s/);
	/* Moved to the end, by its middle. */
	await page.mouse.move(left + 0.2 * width, strip.y + 20);
	await page.mouse.down();
	await page.mouse.move(left + 0.9 * width, strip.y + 20, { steps: 5 });
	await page.mouse.up();
	await page.waitForFunction(() => pyprof.graph.panes[0].view.rows.length > 5);
	now = await stacks(page);
	near(now["<module>;recurse"], 2000, 1);
	near(now["<module>;alpha;gamma"], 2500, 60);
	assert.equal(now["<module>;alpha;beta"], undefined);
	/* What a narrower look shows adds up to the whole. */
	const sums = await page.evaluate(() => {
		const wide = pyprof.data.strip.wide, whole = [0, 0];
		for (let i = 0; i < wide; i++)
			weigh(i);
		function weigh(i) {
			const s = pyprof.data.strip;
			for (let k = s.starts[i]; k < s.starts[i + 1]; k++) {
				whole[0] += s.count[k];
				whole[1] += s.ns[k];
			}
		}
		return whole;
	});
	assert.deepEqual(sums, [20000, 20e9]);
	await page.locator("#strip").dblclick();
	await page.waitForFunction(() => pyprof.graph.panes[0].view.width[0] === 20e9);
	assert.equal((await stacks(page))["<module>"], 10000);
	await close(page);
});

test("what threads and the sampler did is told of the range", async browser => {
	const page = await open(browser, pageOf("known"));
	const states = async name => (await page.locator("#threads li", { hasText: name }).first().innerText()).replace(/\s+/g, " ");
	const share = (text, name) => Number(new RegExp(`${name} ([\\d.]+) %`).exec(text)?.[1]);
	await setRange(page, 0, 5);
	near(share(await states("worker"), "waits for GIL"), 100, 0.5, "worker waits");
	assert.match(await states("main"), /main 50\.\d % .*GIL 100 % CPU 100 %/);
	await setRange(page, 6, 10);
	near(share(await states("worker"), "waits for GIL"), 0, 0.01, "worker sleeps");
	assert.match(await text(page, "threads"), /Of the range: 6\.\d\d s – 10\.00? s/);
	/* Raised, handled or both are one. */
	near(share(await states("worker"), "exception"), 75, 0.5, "an exception in three of four seconds");
	/* Half of four to six. */
	await setRange(page, 4, 6);
	near(share(await states("worker"), "waits for GIL"), 50, 2, "half of it");
	/* Nothing was missed in the fifth second; what was lost was so after the eighth. */
	const sampling = await text(page, "sampling");
	assert.match(sampling, /missed0 · 0\.00 %lost0 · 0\.00 %.*This is of (3\.00|4\.00) s – (6\.00|7\.00) s/);
	assert.match(sampling, /taken free100 %/);
	await setRange(page, 3, 4);
	assert.match(await text(page, "sampling"), /by a stop(100|99\.\d) %/);
	await setRange(page, 8.5, 10);
	assert.match(await text(page, "sampling"), /due4,020.*achieved4,000.*missed10.*lost10 · 0\.25 %.*This is of 8\.00 s – 10\.0 s/);
	await setRange(page, 7.5, 10);
	assert.match(await text(page, "sampling"), /due6,0\d0.*lost10/);
	await page.evaluate(() => pyprof.strip.set(null));
	await page.waitForFunction(() => /due20,030/.test(document.getElementById("sampling").textContent));
	assert.match(await text(page, "sampling"), /by a stop10\.0 %/);
	await close(page);
});

test("a page of a part of a recording says that its sampling is of the whole", async browser => {
	let page = await open(browser, pageOf("known", "--flamegraph", "--from", "2", "--to", "5"));
	assert.match(await text(page, "sampling"), /^Of the whole recording, 10\.0 s; the page is of 3\.00 s of it\.due20,030/);
	await close(page);
	page = await open(browser, pageOf("known"));
	assert.match(await text(page, "sampling"), /^due20,030/);
	await close(page);
});

test("of tasks that wait a range has the part of it in which they did", async browser => {
	const page = await open(browser, pageOf("waiting", "--flamegraph", "--async-aware", "--async-mode", "all"));
	assert.deepEqual(await stacks(page), { "outer": 10000, "outer;main": 10000, "outer;main;inner": 10000,
		"outer;main;inner;connect": 6000, "outer;main;inner;receive": 4000 });
	await setRange(page, 4, 8);
	const now = await stacks(page);
	near(now["outer;main;inner;connect"], 2000, 10);
	near(now["outer;main;inner;receive"], 2000, 10);
	assert.match(await text(page, "status"), /4,0\d\d samples|3,99\d samples/);
	const whole = await page.evaluate(() => pyprof.data.strip.count.reduce((a, b) => a + b, 0));
	assert.equal(whole, 10000);
	await close(page);
});

test("the timeline obeys keys", async browser => {
	const page = await open(browser, pageOf("known"));
	await page.locator("#strip").focus();
	await page.keyboard.press("ArrowRight");
	await page.keyboard.press("Shift+ArrowRight");
	await page.waitForFunction(() => pyprof.graph.panes[0].view.width[0] < 3e9);
	assert.match(await text(page, "state"), /0 ns – 1\.[01]\d? s/);
	await page.keyboard.press("Escape");
	await page.waitForFunction(() => !pyprof.range);
	await close(page);
});

/* Rows of the timeline as they are on the canvas: those with a name's ink, and those with a colour of what was done. */
const stripRows = page => page.evaluate(() => {
	const { strip } = pyprof, ratio = devicePixelRatio || 1, { theme } = pyprof.look();
	const hex = (r, g, b) => "#" + [r, g, b].map(n => n.toString(16).padStart(2, "0")).join("");
	const has = (x, y, w, h, test) => {
		const { data } = strip.context.getImageData(x * ratio, y * ratio, w * ratio, h * ratio);
		for (let i = 0; i < data.length; i += 4)
			if (test(hex(data[i], data[i + 1], data[i + 2])))
				return true;
		return false;
	};
	return strip.rows.map((row, i) => {
		const top = 18 + i * strip.rowHeight;
		return { label: row.label,
			named: strip.left ? has(6, top, strip.left - 10, 15, color => color === theme.text) : has(6, top, 90, 14, color => color === theme.text),
			free: strip.left ? true : !has(0, top + 1, strip.width, 12, color => theme.doing.includes(color)),
			done: has(strip.left, top + strip.lead + 2, strip.width - strip.left, 10, color => theme.doing.includes(color)) };
	});
});

test("rows of the timeline have their threads' names, on a telephone above them", async browser => {
	for (const [width, theme] of [[400, "light"], [400, "dark"], [1280, "light"]]) {
		const page = await open(browser, pageOf("known"), { width, theme, touch: width < 500 });
		assert.deepEqual(await stripRows(page), [{ label: "main", named: true, free: true, done: true }, { label: "worker", named: true, free: true, done: true }]);
		assert.equal(await page.getAttribute("#strip", "aria-description"), "main, worker");
		/* All of it is seen; what is touched is told. */
		const box = await page.locator("#strip").boundingBox(), outer = await page.locator("#strip-box").boundingBox();
		assert.ok(box.height <= outer.height + 1, `${box.height} in ${outer.height}`);
		if (width < 500) {
			await page.touchscreen.tap(box.x + 100, box.y + 70);
			assert.match(await text(page, "status"), /^worker, 2\.\d+ s: waits for the GIL \d+$/);
		} else {
			await page.mouse.move(box.x + 300, box.y + 25);
			assert.match(await text(page, "status"), /^main, [\d.]+ s: Python \(has the GIL\) \d+$/);
			await page.mouse.move(box.x + 300, box.y + 300);
			assert.doesNotMatch(await text(page, "status"), /^main, [\d.]+ s: /);
		}
		await close(page);
	}
});
