/* What the flame graph page must do, on recordings.c's recordings. */
"use strict";
const assert = require("node:assert/strict");
const fs = require("node:fs");
const { test, open, close, pageOf, unreadable } = require("./harness.js");
const { stacks, boxOf, drawn, colorAt, near, text, focused, window_, setRange } = require("./graph.js");

test("a page loads, says nothing on the console and asks nobody", async browser => {
	const page = await open(browser, pageOf("known"));
	assert.match(await page.title(), /python app\.py – pyprof/);
	assert.deepEqual(await stacks(page), {
		"loop": 10000, "loop;work": 10000, "<module>": 10000, "<module>;alpha": 8000, "<module>;alpha;beta": 5000,
		"<module>;alpha;gamma": 3000, "<module>;recurse": 2000, "<module>;recurse;recurse": 2000,
		"<module>;recurse;recurse;recurse": 2000, "<module>;recurse;recurse;recurse;beta": 2000,
	});
	assert.match(await text(page, "status"), /20,000 samples · 20\.0 s/);
	await close(page);
});

test("its policy allows its own script and style, and nothing else", async browser => {
	const page = await open(browser, pageOf("known"));
	const policy = await page.getAttribute("meta[http-equiv=Content-Security-Policy]", "content");
	assert.match(policy, /default-src 'none'/);
	assert.doesNotMatch(policy, /unsafe|https?:|\*/);
	const blocked = await page.evaluate(async () => {
		const script = document.createElement("script");
		try {
			script.text = "globalThis.ran = 1";
		} catch {
			/* Trusted types refuse it already. */
		}
		document.body.append(script);
		await fetch("https://example.invalid/").catch(() => 0);
		const image = new Image();
		image.src = "data:image/gif;base64,R0lGODlhAQABAAAAACw=";
		await new Promise(resolve => setTimeout(resolve, 100));
		const seen = globalThis.violations.splice(0).map(v => v.split(" ")[0]);
		return { ran: globalThis.ran, seen };
	});
	assert.equal(blocked.ran, undefined);
	assert.ok(blocked.seen.includes("connect-src") && blocked.seen.includes("img-src"), String(blocked.seen));
	page.faults.length = 0;
	await close(page);
});

test("a click zooms to the frame under it and shows its numbers", async browser => {
	const page = await open(browser, pageOf("known"));
	const before = await drawn(page), box = await boxOf(page, ["<module>", "alpha"]);
	await page.mouse.click(box.middle, box.y + 8);
	const [from, to] = await window_(page);
	near(to - from, 8e9, 1, "zoomed to alpha");
	assert.notEqual(await drawn(page), before);
	assert.match(await text(page, "chosen"), /alpha.*app\.py:10.*8\.00 s · 40\.0 %/s);
	assert.match(await text(page, "chosen"), /8,000 samples/);
	const beta = await boxOf(page, ["<module>", "alpha", "beta"]);
	near(beta.width / (await page.evaluate(() => pyprof.graph.width)), 5 / 8, 0.001);
	await page.keyboard.press("Escape");
	assert.deepEqual(await window_(page), [0, 20e9]);
	await close(page);
});

test("wheel, drag and keys zoom and pan", async browser => {
	const page = await open(browser, pageOf("known"));
	const box = await page.locator("#graph").boundingBox(), x = box.x + box.width / 4, y = box.y + 60;
	await page.mouse.move(x, y);
	await page.keyboard.down("Control");
	await page.mouse.wheel(0, -200);
	await page.keyboard.up("Control");
	await page.waitForFunction(() => pyprof.graph.isZoomed);
	let [from, to] = await window_(page);
	assert.ok(to - from < 15e9);
	/* What was under the pointer still is. */
	near(from + (to - from) / 4, 5e9, 5e7);
	await page.mouse.down();
	await page.mouse.move(x - 100, y, { steps: 4 });
	await page.mouse.up();
	const [moved] = await window_(page);
	near(moved - from, 100 / box.width * (to - from), 1e7, "panned");
	await page.keyboard.press("0");
	assert.deepEqual(await window_(page), [0, 20e9]);
	await page.keyboard.press("+");
	[from, to] = await window_(page);
	near(to - from, 12e9, 1e6);
	await page.keyboard.press("-");
	near((await window_(page))[1] - (await window_(page))[0], 20e9, 1e6);
	await close(page);
});

test("where a frame's lines have no text, the panel says why", async browser => {
	const why = async (page, names) => {
		await page.evaluate(names => {
			const pane = pyprof.graph.panes[0], { view } = pane;
			for (let i = 1; i < view.count; i++)
				if (view.keys.name(view.key[i]).startsWith(names))
					pyprof.select(pane, i);
		}, names);
		return (await page.locator("#chosen .no-source").allTextContents()).join();
	};
	let page = await open(browser, pageOf("known"));
	assert.match(await why(page, "alpha"), /^There is no source: the file was not there where this page was made\.$/);
	assert.match(await text(page, "chosen"), /Lines11/);
	await close(page);
	page = await open(browser, pageOf("hostile"));
	assert.match(await why(page, "<img"), /names no file/);
	await close(page);
	page = await open(browser, pageOf("sources"));
	assert.equal(await why(page, "shown"), "");
	assert.match(await text(page, "chosen"), /def shown\(\):/);
	assert.match(await why(page, "changed"), /changed after the recording began/);
	assert.match(await why(page, "behind"), /These lines are not in the file, which has 4: it is not the one that ran/);
	assert.match(await why(page, "binary"), /the file is no text/);
	assert.match(await why(page, "moving"), /moved while it was read/);
	assert.match(await why(page, "frozen"), /frozen/);
	await close(page);
});

/* The frame of the panel, by its name. */
const choose = (page, name) => page.evaluate(name => {
	const pane = pyprof.graph.panes[0], { view } = pane;
	pyprof.select(pane, Array.from(view.key).findIndex((key, i) => i && view.keys.name(key) === name));
}, name);
const table = (page, selector) => page.locator(`${selector} tr`).evaluateAll(rows => rows.map(row => [...row.cells].map(cell =>
	[...cell.childNodes].map(part => part.textContent).filter(Boolean).join("|"))));

test("a frame's instructions are told with their shares and plain forms", async browser => {
	const page = await open(browser, pageOf("opcodes", "--flamegraph", "--opcodes"));
	await choose(page, "leaf");
	assert.deepEqual(await table(page, "#chosen .ops"), [["of the function's time", "itself", "in all"],
		["BINARY_OP_ADD_INT|of BINARY_OP", "40.0 %", "40.0 %"], ["LOAD_ATTR_SLOT|of LOAD_ATTR", "25.0 %", "25.0 %"],
		["LOAD_FAST", "20.0 %", "20.0 %"], ["BINARY_OP", "6.00 %", "6.00 %"], ["<200>", "5.00 %", "5.00 %"], ["not known", "4.00 %", "4.00 %"]]);
	/* Readers of screens find a table with heads. */
	const cdp = await page.context().newCDPSession(page), { nodes } = await cdp.send("Accessibility.getFullAXTree");
	const named = role => nodes.filter(node => node.role?.value === role).map(node => node.name?.value);
	assert.ok(named("rowheader").includes("BINARY_OP_ADD_INT of BINARY_OP"), String(named("rowheader")));
	assert.ok(["itself", "in all"].every(name => named("columnheader").includes(name)));
	/* A caller stands at what calls; nothing of it is its own. */
	await choose(page, "caller");
	assert.deepEqual((await table(page, "#chosen .ops")).slice(1), [["INSTRUMENTED_CALL|of CALL", "0.00 %", "100 %"]]);
	await close(page);
});

test("instructions can be folded, and all be had, by keys", async browser => {
	const page = await open(browser, pageOf("opcodes", "--flamegraph", "--opcodes"));
	await choose(page, "many");
	const names = async () => (await table(page, "#chosen .ops")).slice(1).map(([name]) => name);
	assert.equal((await names()).length, 12);
	assert.equal((await names())[0], "RETURN_VALUE");
	await page.locator("#chosen .part summary").focus();
	await page.keyboard.press("Tab");
	assert.equal(await page.evaluate(() => document.activeElement.textContent), "All 15 instructions");
	await page.keyboard.press("Enter");
	assert.deepEqual((await names()).slice(-3), ["STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL"]);
	assert.equal(await page.locator("#chosen .part button").count(), 0);
	/* What was added is read next. */
	assert.match(await page.evaluate(() => document.activeElement.textContent), new RegExp(`^${(await names())[12]}`));
	await page.locator("#chosen .part summary").focus();
	await page.keyboard.press("Enter");
	assert.equal(await page.locator("#chosen .ops").isVisible(), false);
	await choose(page, "leaf");
	assert.equal(await page.locator("#chosen .part").count(), 1);
	assert.equal(await page.locator("#chosen .ops").isVisible(), false);
	/* Where nothing is known of them, nothing is told. */
	await close(page);
	const plain = await open(browser, pageOf("opcodes"));
	await choose(plain, "leaf");
	assert.equal(await plain.locator("#chosen .part").count(), 0);
	await close(plain);
});

test("long names of instructions are not cut", async browser => {
	const page = await open(browser, pageOf("opcodes", "--flamegraph", "--opcodes"), { width: 400 });
	await choose(page, "many");
	await page.click("#side-toggle");
	assert.deepEqual(await page.evaluate(() => [...document.querySelectorAll(".ops code, .ops small, .ops td")].filter(e =>
		e.scrollWidth > e.clientWidth || e.getBoundingClientRect().right > document.getElementById("side").getBoundingClientRect().right)
		.map(e => e.textContent)), []);
	await close(page);
});

test("texts can be read in both themes", async browser => {
	for (const theme of ["light", "dark"]) {
		const page = await open(browser, pageOf("opcodes", "--flamegraph", "--opcodes"), { theme });
		await choose(page, "leaf");
		assert.deepEqual(await unreadable(page), []);
		/* And those on the canvas, on each colour that boxes have. */
		const bad = await page.evaluate(() => {
			const { theme } = pyprof.look(), context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
			const light = (back, front) => {
				for (const color of [back, front]) {
					context.fillStyle = color;
					context.fillRect(0, 0, 1, 1);
				}
				return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => v / 255)
					.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
			};
			return [...theme.origins.flat(), ...theme.heat, ...theme.change, theme.dim, theme.back].flatMap(back => ["text", "faint"].map(name => {
				const [a, b] = [light(back, back), light(back, theme[name])].sort((a, b) => a - b), ratio = (b + 0.05) / (a + 0.05);
				return ratio < 4.45 ? `${name} on ${back}: ${ratio.toFixed(2)}` : "";
			})).filter(Boolean);
		});
		assert.deepEqual(bad, []);
		await close(page);
	}
});

test("searching finds names, file:line and patterns, and tells their share once", async browser => {
	const page = await open(browser, pageOf("known"));
	const search = async (what, expected) => {
		await page.fill("#search", what);
		await page.waitForFunction(expected => document.getElementById("found").textContent === expected, expected, { timeout: 3000 });
	};
	const before = await drawn(page);
	await search("beta", "35.0 % in 1");
	assert.notEqual(await drawn(page), before);
	/* Its boxes are marked, others are dim. */
	assert.equal(await colorAt(page, await boxOf(page, ["<module>", "alpha", "beta"])), "#7c2fd0");
	assert.equal(await colorAt(page, await boxOf(page, ["loop"])), "#e9e7e2");
	await search("recurse", "10.0 % in 1");
	await search("app.py:21", "35.0 % in 1");
	await search("json.gamma", "15.0 % in 1");
	await page.click("#regex");
	await search("^(alpha|recurse)$", "50.0 % in 2");
	await search("(", "not a pattern");
	assert.equal(await page.getAttribute("#search", "aria-invalid"), "true");
	await page.click("#regex");
	await search("work", "50.0 % in 1");
	await page.press("#search", "Enter");
	assert.match(await focused(page), /^work, pkg\.w:5, 10\.0 s, 50\.0 %/);
	await close(page);
});

test("on paper it is light and whole, and as before afterwards", async browser => {
	const page = await open(browser, pageOf("known"), { theme: "dark", height: 200 });
	const before = await drawn(page), size = () => page.evaluate(() => [document.getElementById("graph").clientHeight, pyprof.graph.contentHeight]);
	await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
	assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
	const [height, content] = await size();
	assert.equal(height, content);
	await page.emulateMedia({ media: "print", colorScheme: "dark" });
	assert.equal(await page.locator("nav").isVisible(), false);
	assert.equal(await page.locator("#side").isVisible(), true);
	await page.emulateMedia({ media: "screen", colorScheme: "dark" });
	await page.evaluate(() => dispatchEvent(new Event("afterprint")));
	assert.equal(await drawn(page), before);
	await close(page);
});

test("the list of keys begins at its title", async browser => {
	const page = await open(browser, pageOf("known"), { width: 400, height: 500 });
	await page.keyboard.press("?");
	assert.equal(await page.locator("#help").evaluate(e => e.scrollTop), 0);
	assert.equal(await page.evaluate(() => document.activeElement.textContent), "Keys");
	await page.keyboard.press("Tab");
	assert.equal(await page.evaluate(() => document.activeElement.textContent), "Close");
	await close(page);
});

test("inverted, it begins with what ran and goes to who called it", async browser => {
	const page = await open(browser, pageOf("known"));
	await page.keyboard.press("i");
	const now = await stacks(page);
	assert.equal(now["beta"], 7000);
	assert.equal(now["beta;alpha"], 5000);
	assert.equal(now["beta;recurse;recurse;recurse;<module>"], 2000);
	assert.equal(now["work;loop"], 10000);
	assert.equal(now["alpha"], undefined);
	assert.equal((await window_(page))[1], 20e9);
	await page.keyboard.press("i");
	assert.equal((await stacks(page))["<module>"], 10000);
	await close(page);
});

test("callers and callees of a function, a recursive one once", async browser => {
	const page = await open(browser, pageOf("known"));
	const box = await boxOf(page, ["<module>", "recurse"]);
	await page.mouse.dblclick(box.middle, box.y + 8);
	await page.waitForFunction(() => pyprof.root);
	const panes = await page.evaluate(() => pyprof.graph.panes.map(({ view, up }) => ({ up, total: view.from.total[0][0],
		names: Array.from(view.key.subarray(1, view.count), key => view.keys.name(key)) })));
	assert.deepEqual(panes, [{ up: true, total: 2000, names: ["<module>"] },
		{ up: false, total: 2000, names: ["recurse", "recurse", "beta"] }]);
	await page.keyboard.press("Escape");
	await page.locator("#hotspots button", { hasText: "beta" }).click();
	const callers = await page.evaluate(() => {
		const { view } = pyprof.graph.panes[0];
		return Array.from(view.key.subarray(1, 1 + view.children[0]), (key, i) => [view.keys.name(key), view.from.total[0][view.raw[1 + i]]]);
	});
	assert.deepEqual(callers, [["alpha", 5000], ["recurse", 2000]]);
	await close(page);
});

test("time and samples, lines, paths, order", async browser => {
	const page = await open(browser, pageOf("known"));
	await page.keyboard.press("u");
	assert.equal((await window_(page))[1], 20000);
	assert.match(await text(page, "status"), /widths are samples/);
	await page.keyboard.press("u");
	await page.keyboard.press("l");
	assert.equal(await page.evaluate(() => pyprof.place(pyprof.graph.panes[0].view.key[1]).split(":")[1] > 0), true);
	await page.keyboard.press("l");
	await page.keyboard.press("o");
	assert.equal(await page.evaluate(() => pyprof.keys.name(pyprof.graph.panes[0].view.key[1])), "<module>");
	await page.keyboard.press("p");
	assert.equal(await page.evaluate(() => pyprof.place(pyprof.graph.panes[0].view.key[1])), "/srv/app/app.py");
	await close(page);
});

test("the theme follows the system until one is chosen, which is remembered", async browser => {
	const page = await open(browser, pageOf("known"), { theme: "dark" });
	const theme = () => page.evaluate(() => document.documentElement.dataset.theme);
	assert.equal(await theme(), "dark");
	const dark = await drawn(page);
	await page.emulateMedia({ colorScheme: "light" });
	await page.waitForFunction(() => document.documentElement.dataset.theme === "light");
	assert.notEqual(await drawn(page), dark);
	await page.click("#theme");
	assert.equal(await theme(), "dark");
	await page.reload();
	await page.waitForFunction(() => globalThis.pyprof);
	assert.equal(await theme(), "dark");
	await close(page);
});

test("pictures: SVG that is well formed, and PNG", async browser => {
	const page = await open(browser, pageOf("known"));
	const get = async id => {
		await page.click("text=Save");
		const [download] = await Promise.all([page.waitForEvent("download"), page.click(id)]);
		return fs.readFileSync(await download.path());
	};
	const svg = (await get("#svg")).toString();
	const parsed = await page.evaluate(svg => {
		const parsed = new DOMParser().parseFromString(globalThis.trustedTypes ? trustedTypes.createPolicy("test", { createHTML: s => s }).createHTML(svg) : svg, "image/svg+xml");
		return { wrong: parsed.querySelectorAll("parsererror").length, rects: parsed.querySelectorAll("rect").length,
			texts: [...parsed.querySelectorAll("text")].map(t => t.textContent) };
	}, svg).catch(error => ({ error: String(error) }));
	assert.equal(parsed.error, undefined);
	assert.equal(parsed.wrong, 0);
	assert.ok(parsed.rects >= 12);
	assert.ok(parsed.texts.includes("beta") && parsed.texts.includes("<module>"));
	const png = await get("#png");
	assert.equal(png.subarray(1, 4).toString(), "PNG");
	assert.ok(png.length > 2000);
	await close(page);
});

test("the address says what is shown", async browser => {
	let page = await open(browser, pageOf("known"));
	const box = await boxOf(page, ["<module>", "alpha"]);
	await page.mouse.click(box.middle, box.y + 8);
	await page.fill("#search", "beta");
	await page.evaluate(() => pyprof.strip.set([0, Math.floor(pyprof.data.strip.wide / 2)]));
	await page.waitForFunction(() => /range=/.test(location.hash) && /q=beta/.test(location.hash) && /at=/.test(location.hash));
	await page.waitForTimeout(400);
	const [hash, before, seen] = await page.evaluate(() => [location.hash, pyprof.range, pyprof.graph.panes[0].window]);
	await close(page);
	page = await open(browser, pageOf("known"), { hash });
	assert.deepEqual(await page.evaluate(() => pyprof.range), before);
	assert.deepEqual(await window_(page), seen);
	assert.equal(await page.inputValue("#search"), "beta");
	await close(page);
	/* A part of the width that is no box's, and the frame of the panel; callers and callees too. */
	for (const root of [false, true]) {
		page = await open(browser, pageOf("known"));
		await page.evaluate(root => {
			if (root)
				pyprof.sandwich(pyprof.keys.fn.findIndex((fn, key) => pyprof.keys.name(key) === "recurse"));
			const pane = pyprof.graph.panes.at(-1), whole = pane.view.width[0];
			pyprof.graph.goTo(pane, 0.11 * whole, 0.52 * whole, true);
			pyprof.select(pane, pane.view.count - 1);
		}, root);
		await page.waitForFunction(() => /win=/.test(location.hash) && /sel=/.test(location.hash));
		const shown = page => page.evaluate(() => [pyprof.graph.panes.map(p => p.window.map(x => Math.round(x / 1000))), document.getElementById("chosen").textContent,
			pyprof.selected.node, pyprof.root]);
		const [link, was] = [await page.evaluate(() => location.hash), await shown(page)];
		await close(page);
		page = await open(browser, pageOf("known"), { hash: link });
		assert.deepEqual(await shown(page), was);
		assert.equal(await page.evaluate(() => location.hash), link);
		await close(page);
	}
	for (const strange of ["#win=1-0_a&sel=1.zz&of=1", "#win=-1-5&sel=9.1&at=1", "#win=0.5-0.50000000001&sel=0.", "#range=9-1&at=zz.zz&of=zzzz&not=-1.99", "#range=a&unit=&view=,,&re=(", "#at=1.1.1.1.1.1&%"]) {
		page = await open(browser, pageOf("known"), { hash: strange });
		assert.equal((await window_(page))[1] > 0, true);
		await close(page);
	}
});

/* What the browser tells of the page to readers of screens: the trees' items in their order. */
async function spoken(page) {
	await page.waitForTimeout(200);
	const cdp = await page.context().newCDPSession(page), { nodes } = await cdp.send("Accessibility.getFullAXTree");
	const known = new Map(nodes.map(node => [node.nodeId, node])), trees = [];
	for (const node of nodes.filter(node => node.role?.value === "tree")) {
		const items = [], walk = id => {
			const item = known.get(id), properties = Object.fromEntries((item.properties ?? []).map(p => [p.name, p.value.value]));
			if (item.role?.value === "treeitem")
				items.push({ name: item.name.value, ...properties });
			(item.childIds ?? []).forEach(walk);
		};
		node.childIds.forEach(walk);
		trees.push({ name: node.name.value, items });
	}
	await cdp.detach();
	return trees;
}

test("keys: every frame can be reached and is told", async browser => {
	const page = await open(browser, pageOf("known"));
	await page.keyboard.press("g");
	assert.match(await focused(page), /^all, .*, 2 callees, level 1, 1 of 1$/);
	await page.keyboard.press("ArrowDown");
	assert.match(await focused(page), /^(<module>|loop), .*, level 2, 1 of 2$/);
	await page.keyboard.press("ArrowRight");
	assert.match(await focused(page), /, level 2, 2 of 2$/);
	for (let i = 0; i < 3 && !/^<module>/.test(await focused(page)); i++)
		await page.keyboard.press("ArrowLeft");
	await page.keyboard.press("ArrowDown");
	assert.match(await focused(page), /^alpha, app:10, 8\.00 s, 40\.0 %, itself 0\.00 %, 2 callees, level 3, 1 of 2$/);
	await page.keyboard.press("Enter");
	near((await window_(page))[1] - (await window_(page))[0], 8e9, 1);
	assert.match(await focused(page), /^alpha/);
	await page.keyboard.press("Backspace");
	near((await window_(page))[1] - (await window_(page))[0], 20e9, 1);
	await page.keyboard.press("End");
	assert.match(await focused(page), /^work, .*level 3|^recurse, .*level 3/);
	await page.keyboard.press("Home");
	assert.match(await focused(page), /^all, /);
	await page.keyboard.press("?");
	assert.equal(await page.locator("#help").isVisible(), true);
	assert.ok(await page.locator("#help-keys tr").count() > 15);
	await page.keyboard.press("Escape");
	const unnamed = await page.evaluate(() => [...document.querySelectorAll("button, canvas:not([aria-hidden]), input, summary, [role=treeitem], [role=tree]")]
		.filter(e => !(e.textContent.trim() || e.ariaLabel || e.title || e.labels?.length)).map(e => e.outerHTML));
	assert.deepEqual(unnamed, []);
	await close(page);
});

test("readers of screens find a tree of what is drawn, in step with it", async browser => {
	const page = await open(browser, pageOf("known"));
	let [tree] = await spoken(page);
	assert.match(tree.name, /^Flame graph, 20\.0 s\./);
	const level = items => items.map(item => `${item.level} ${item.name.split(",")[0]}`);
	assert.deepEqual(level(tree.items).sort(), ["1 all", "2 <module>", "2 loop", "3 alpha", "3 recurse", "3 work", "4 beta", "4 gamma",
		"4 recurse", "5 recurse", "6 beta"].sort());
	/* Callers come before what they call, and what they call follows at once. */
	const names = level(tree.items), module = names.indexOf("2 <module>");
	assert.deepEqual(names.slice(module, module + 4), ["2 <module>", "3 alpha", "4 beta", "4 gamma"]);
	assert.equal(tree.items[0].expanded, true);
	assert.equal(tree.items.find(item => /^gamma/.test(item.name)).expanded, undefined);
	assert.equal(tree.items.filter(item => item.focusable).length, tree.items.length);
	assert.equal(await page.locator("#trees [tabindex='0']").count(), 1);
	/* Its items lie on the boxes. */
	const box = await boxOf(page, ["<module>", "alpha"]), item = await page.getByRole("treeitem", { name: /^alpha/ }).boundingBox();
	near(item.x, box.x, 1);
	near(item.y, box.y, 1);
	near(item.width, box.width, 1);
	/* Pressed, it is chosen. */
	await page.getByRole("treeitem", { name: /^alpha/ }).dispatchEvent("click");
	assert.match(await text(page, "chosen"), /^alpha/);
	near((await window_(page))[1], 8e9, 1e9 * 12);
	[tree] = await spoken(page);
	assert.equal(tree.items.find(item => item.focused).name.split(",")[0], "alpha");
	assert.equal(tree.items.filter(item => item.selected).length, 1);
	/* What is asked for anew is told anew, and who had the focus keeps it. */
	await page.keyboard.press("Escape");
	await setRange(page, 0, 4.5);
	[tree] = await spoken(page);
	assert.ok(!level(tree.items).includes("4 gamma"), String(level(tree.items)));
	assert.match(await focused(page), /^alpha, app:10, 4\.\d+ s/);
	await page.evaluate(() => pyprof.strip.set(null));
	await page.keyboard.press("i");
	[tree] = await spoken(page);
	assert.match(tree.name, /^Inverted/);
	assert.ok(level(tree.items).includes("2 beta") && level(tree.items).includes("3 alpha"));
	await page.keyboard.press("i");
	await page.evaluate(() => pyprof.sandwich(pyprof.keys.fn.findIndex((fn, key) => pyprof.keys.name(key) === "beta")));
	const trees = await spoken(page);
	assert.deepEqual(trees.map(tree => tree.name), ["Callers of beta", "Callees of beta"]);
	assert.deepEqual(level(trees[0].items).slice(0, 2), ["1 alpha", "2 <module>"]);
	assert.deepEqual(level(trees[1].items), ["1 beta"]);
	await close(page);
});

test("of 200,000 frames only those that are seen or near are in the document", async browser => {
	const page = await open(browser, pageOf("huge"));
	const [tree] = await spoken(page);
	assert.ok(tree.items.length > 15 && tree.items.length < 400, `${tree.items.length} items`);
	await page.fill("#search", "needle");
	await page.waitForFunction(() => / in 1$/.test(document.getElementById("found").textContent));
	await page.press("#search", "Enter");
	assert.match(await focused(page), /^needle, .*, level \d+, \d+ of \d+$/);
	/* From there every step leads to where the canvas says. */
	const path = [];
	for (let i = 0; i < 60 && !/^all,/.test(await focused(page)); i++) {
		path.push(await focused(page));
		await page.keyboard.press("ArrowUp");
	}
	assert.match(await focused(page), /^all,/);
	assert.deepEqual(path.map(item => Number(/level (\d+)/.exec(item)[1])), path.map((item, i) => path.length + 1 - i));
	const times = await page.evaluate(() => {
		const { graph } = pyprof, pane = graph.panes[0], whole = pane.view.width[0], times = [];
		for (let i = 0; i < 40; i++) {
			const width = whole * 0.9 ** i;
			pane.window = [(whole - width) * 0.3, (whole - width) * 0.3 + width];
			const start = performance.now();
			graph.items.update();
			times.push(performance.now() - start);
		}
		return times.sort((a, b) => a - b);
	});
	assert.ok(times[20] < 16, `the tree takes ${times[20].toFixed(1)} ms`);
	await close(page);
});

test("it fits a telephone and a wall", async browser => {
	for (const [width, height] of [[400, 800], [3840, 2160]]) {
		const page = await open(browser, pageOf("known"), { width, height, touch: width < 500 });
		assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), width);
		const outside = await page.evaluate(() => [...document.querySelectorAll("header button, header input, header summary")]
			.filter(e => e.checkVisibility()).filter(e => {
				const box = e.getBoundingClientRect();
				return box.left < 0 || box.right > innerWidth;
			}).map(e => e.id));
		assert.deepEqual(outside, []);
		await page.click("#side-toggle");
		await page.waitForTimeout(50);
		if (width < 500) {
			assert.equal(await page.locator("#side").isVisible(), true);
			await page.click("#close-side");
			const box = await boxOf(page, ["<module>", "alpha"]);
			await page.touchscreen.tap(box.middle, box.y + 8);
			near((await window_(page))[1] - (await window_(page))[0], 8e9, 1);
		}
		await close(page);
	}
});

test("names are never taken for anything else", async browser => {
	for (const hash of ["", "#view=paths,lines", "#view=inverted&q=img"]) {
		const page = await open(browser, pageOf("hostile"), { hash });
		const count = await page.evaluate(() => pyprof.graph.panes[0].view.count);
		for (let i = 1; i < count; i++) {
			await page.evaluate(i => {
				const pane = pyprof.graph.panes[0];
				pyprof.select(pane, i);
				pyprof.hovered({ pane, node: i }, { clientX: 5, clientY: 5 }, false);
			}, i);
		}
		await page.evaluate(() => pyprof.sandwich(1));
		const found = await page.evaluate(() => ({
			hacked: globalThis.hacked, elements: document.querySelectorAll("img, svg, iframe, object, style ~ style").length,
			scripts: document.scripts.length, on: document.querySelectorAll("[onerror], [onload], [onmouseover]").length,
			text: document.body.innerText, names: pyprof.keys.fn.map((fn, key) => pyprof.keys.name(key)).join("\n"),
		}));
		assert.equal(found.hacked, undefined);
		assert.equal(found.elements + found.on, 0);
		assert.equal(found.scripts, 1);
		assert.doesNotMatch(found.text + found.names + await page.title(), /[\u202a-\u202e\u2066-\u2069\0]/);
		assert.match(found.names, /bidi\\u202eevil\\u2066/);
		assert.match(found.names, /new\\nline\\r\\ttab/);
		assert.match(found.names, /in\\xffvalid\\xc3/);
		assert.match(found.names, /A{1900,2000}…/);
		assert.match(found.names, /__proto__\nconstructor|__proto__/);
		await page.evaluate(() => pyprof.saveSvg());
		await close(page);
	}
});
