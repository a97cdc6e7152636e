/* What the pages of the heatmap do in a browser, from file:// as they are opened. */
"use strict";
const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const harness = require("./harness.js");

const pyprof = process.argv[2];

const MAIN = `import time
import helper

def work(n):
    return helper.inner(n) + helper.inner(n // 2) + sum(range(20))

# a line that is never run
${"\n".repeat(120)}
def main(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        work(40)

main(1.0)
`;
const HELPER = `def inner(n):
    total = 0
    for i in range(n):
        total += i * i % 7
    return total
`;
const CALL = 132;   // the line of work(40) in MAIN

let folder, page;

/* One folder for all tests: of a real program, whose lines are known. */
function make() {
	const directory = path.join(harness.folder, "heatmap");

	fs.mkdirSync(directory);
	fs.writeFileSync(path.join(directory, "main.py"), MAIN);
	fs.writeFileSync(path.join(directory, "helper.py"), HELPER);
	execFileSync(pyprof, ["run", "--heatmap", "--opcodes", "-r", "2khz", "-o", path.join(directory, "out"),
		path.join(directory, "main.py")], { stdio: ["ignore", "ignore", "pipe"] });
	return path.join(directory, "out");
}

/* A test with a page of its own. Nothing may be said on the console, no error and no word of the
 * policy, and nothing outside of the folder asked for. */
const test = (name, run, options = {}) => harness.test(`heatmap: ${name}`, async browser => {
	const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
	const said = [];

	folder ??= make();
	page = await context.newPage();
	page.on("console", m => said.push(m.text()));
	page.on("pageerror", e => said.push(String(e)));
	page.on("request", r => r.url().startsWith("file://" + harness.folder) || r.url().startsWith("data:") ||
		said.push("asked for " + r.url()));
	page.on("requestfailed", r => said.push("failed: " + r.url()));
	try {
		await run();
	} finally {
		await context.close();
	}
	assert.deepEqual(said, []);
});

const url = (name) => "file://" + path.join(folder, name);
const show = (name) => page.goto(url(name));
const pageOf = (title) => fs.readdirSync(folder).filter((n) => /^\d+\.html$/.test(n))
	.find((n) => fs.readFileSync(path.join(folder, n), "utf8").includes(`<title>${title} - `));
const colour = (selector) => page.locator(selector).first()
	.evaluate((e) => getComputedStyle(e).backgroundColor);
/* As the page has it: what the driver knows of it comes later. */
const address = () => page.evaluate(() => location.href);
const hash = () => page.evaluate(() => location.hash);

test("the index leads to files and lines", async () => {
	await show("index.html");
	await page.locator(".top a", {hasText: "helper.py:4"}).click();
	assert.strictEqual(await address(), url(pageOf("helper.py")) + "#L4");
	await page.locator("#L4").waitFor({state: "visible"});
	await page.locator(".home").click();
	await page.locator(".files a", {hasText: "main.py"}).click();
	assert.strictEqual(await address(), url(pageOf("main.py")));
});

test("callers and callees are links between files", async () => {
	await show(pageOf("main.py"));
	await page.locator("#L5 > summary .g").click();
	await page.locator("#L5 .p a", {hasText: "inner"}).first().click();
	assert.strictEqual(await address(), url(pageOf("helper.py")) + "#L1");
	await page.locator("#L1 > summary .g").click();
	await page.locator("#L1 .p a", {hasText: "main.py:5"}).first().click();
	assert.strictEqual(await address(), url(pageOf("main.py")) + "#L5");
});

test("a line of the address is brought into view", async () => {
	await show(pageOf("main.py") + "#L" + CALL);
	const box = await page.locator("#L" + CALL).boundingBox();
	assert.ok(box.y > 100 && box.y < 780, String(box.y));
	assert.notStrictEqual(await page.locator("#L" + CALL).evaluate((e) =>
		getComputedStyle(e).boxShadow), "none");
});

test("self and total colour other lines, and are remembered", async () => {
	await show(pageOf("main.py"));
	const row = "#L" + CALL;
	const plain = await colour("#L7");
	assert.strictEqual(await page.locator(row + " > summary .vs").textContent() === "", false);
	const own = await colour(row);
	await page.getByRole("button", {name: "Total", exact: true}).click();
	const total = await colour(row);
	assert.notStrictEqual(total, own);
	assert.notStrictEqual(total, plain);
	assert.strictEqual(await colour("#L7"), plain);
	await show(pageOf("helper.py"));
	assert.ok(await page.locator("html.by-total").count());
	await page.keyboard.press("s");
	assert.ok(await page.locator("html.by-self").count());
});

test("hot only hides what has no samples", async () => {
	await show(pageOf("main.py"));
	assert.ok(await page.locator("#L7").isVisible());
	await page.getByRole("button", {name: "Hot only"}).click();
	assert.ok(!await page.locator("#L7").isVisible());
	assert.ok(await page.locator("#L" + CALL).isVisible());
	await page.keyboard.press("o");
	assert.ok(await page.locator("#L7").isVisible());
});

test("samples and time are shown as asked for", async () => {
	await show(pageOf("helper.py"));
	const cell = page.locator("#L4 > summary .vs");
	assert.match(await cell.textContent(), /^[\d.]+%$/);
	await page.getByRole("button", {name: "Samples"}).click();
	const n = Number((await cell.textContent()).replace(/\D/g, ""));
	assert.strictEqual(n, Number(await cell.getAttribute("data-n")));
	await page.getByRole("button", {name: "Time"}).click();
	assert.match(await cell.textContent(), /^[\d.]+ (s|ms)$/);
});

test("keys lead from hot line to hot line", async () => {
	await show(pageOf("helper.py"));
	await page.keyboard.press("h");
	const hottest = await hash();
	assert.match(hottest, /^#L[34]$/);
	await page.keyboard.press("n");
	await page.keyboard.press("p");
	assert.strictEqual(await hash(), hottest);
	await page.keyboard.press("Enter");
	assert.ok(await page.locator(hottest + " .p").isVisible());
	assert.ok(await page.locator(hottest + " .ops").isVisible());
	await page.keyboard.press("?");
	assert.ok(await page.locator("dialog").isVisible());
	await page.getByRole("button", {name: "Close"}).click();
	assert.ok(!await page.locator("dialog").isVisible());
	await page.keyboard.press("i");
	await page.waitForURL(url("index.html"));
});

/* A heatmap of a recording with known answers, instead of the program's. */
async function known(recording, run, ...options) {
	const before = folder;

	folder = path.join(harness.folder, recording);
	execFileSync(pyprof, ["replay", "--heatmap", ...options, "-o", folder, path.join(process.argv[3], `${recording}.pyprof`)],
		{ stdio: ["ignore", "ignore", "pipe"] });
	try {
		await run();
	} finally {
		folder = before;
	}
}

test("a line's instructions are told with their shares and plain forms", () => known("opcodes", async () => {
	const open = async (line) => {
		await show(pageOf("app.py"));
		await page.locator(`#L${line} > summary`).focus();
		await page.keyboard.press("Enter");
		return page.locator(`#L${line} .ops`);
	};
	const rows = (box) => box.locator("tr").evaluateAll((all) => all.map((row) =>
		[...row.cells].map((cell) => cell.textContent).concat(row.className)));
	let box = await open(21);

	assert.deepEqual(await rows(box), [["self", "total", "instruction", ""],
		["40.0%", "40.0%", "BINARY_OP_ADD_INT of BINARY_OP", "special"], ["25.0%", "25.0%", "LOAD_ATTR_SLOT of LOAD_ATTR", "special"],
		["20.0%", "20.0%", "LOAD_FAST", "plain"], ["6.0%", "6.0%", "BINARY_OP", "plain"], ["5.0%", "5.0%", "<200>", "plain"]]);
	/* 650 of the 910 whose names are known. */
	assert.match(await box.textContent(), /71\.4% of the line's own samples are at specialised instructions$/);
	assert.deepEqual(await box.locator("th").evaluateAll((all) => all.map((e) => e.scope)), ["col", "col", "col"]);
	assert.equal(await page.getByRole("table", {name: "Instructions"}).count(), 1);
	/* What is watched is not specialised. */
	box = await open(11);
	assert.deepEqual((await rows(box)).slice(1), [["0.0%", "100.0%", "INSTRUMENTED_CALL of CALL", "plain"]]);
}, "--opcodes"));

test("texts can be read in both themes, and no share is parted", async () => {
	for (const theme of ["light", "dark"]) {
		await page.emulateMedia({colorScheme: theme});
		for (const [name, keys] of [["index.html", []], [pageOf("helper.py"), ["h", "Enter"]], [pageOf("main.py"), ["h", "Enter"]]]) {
			await show(name);
			for (const key of keys)
				await page.keyboard.press(key);
			assert.deepEqual(await harness.unreadable(page), [], `${name} ${theme}`);
		}
	}
	await page.setViewportSize({width: 400, height: 800});
	assert.deepEqual(await page.locator(".p td:not(:last-child)").evaluateAll((cells) => cells.filter((e) => {
		const range = document.createRange();
		range.selectNodeContents(e);
		return e.checkVisibility() && range.getClientRects().length > 1;
	}).map((e) => e.textContent)), []);
});

test("on paper it is light, without what only a screen has", async () => {
	await page.emulateMedia({media: "print", colorScheme: "dark"});
	await show(pageOf("helper.py"));
	assert.equal(await colour("body"), "rgb(252, 252, 250)");
	for (const what of [".tools", "#map", ".home"])
		assert.ok(!await page.locator(what).isVisible(), what);
	assert.ok(await page.locator("#L4").isVisible());
});

test("expressions have a colour of their own", async () => {
	await show(pageOf("main.py"));
	await page.keyboard.press("s");
	const marks = page.locator("#L5 mark", {hasText: /^helper\.inner\(n\)$/});
	if (await marks.count() === 0)
		return;     // before 3.11 there are no columns
	assert.match(await marks.first().getAttribute("title"), /total [\d.]+% of this line/);
	assert.notStrictEqual(await marks.first().evaluate((e) => getComputedStyle(e).boxShadow), "none");
});

test("the theme is the system's until it is chosen", async () => {
	await show("index.html");
	const dark = await colour("body");
	await page.emulateMedia({colorScheme: "light"});
	const light = await colour("body");
	assert.notStrictEqual(dark, light);
	await page.keyboard.press("t");     // light
	await page.keyboard.press("t");     // dark
	assert.strictEqual(await colour("body"), dark);
	await show(pageOf("main.py"));
	assert.strictEqual(await colour("body"), dark);
}, { colorScheme: "dark" });

test("the index is searched and sorted", async () => {
	await show("index.html");
	await page.keyboard.press("/");
	await page.keyboard.type("helper");
	const rows = page.locator("main tbody tr:visible");
	assert.ok(await rows.count() > 0);
	for (const text of await rows.allTextContents())
		assert.match(text, /helper/);
	await page.locator("#search").fill("nothing is called this");
	assert.ok(await page.locator("#nothing").isVisible());
	await page.locator("#search").fill("");
	const table = page.locator("table.sortable").first();
	for (const order of ["ascending", "descending"]) {
		await table.locator("th button", {hasText: "file"}).click();
		assert.strictEqual(await table.locator("th").last().getAttribute("aria-sort"), order);
		const names = await table.locator("td.name").allTextContents();
		const sorted = [...names].sort();
		assert.deepStrictEqual(names, order === "ascending" ? sorted : sorted.reverse());
	}
});

test("the map at the side shows and scrolls", async () => {
	await show(pageOf("main.py"));
	await page.waitForTimeout(100);
	const drawn = await page.locator("#map").evaluate((c) => {
		const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		return d.some((v, i) => i % 4 === 3 && v === 255);
	});
	assert.ok(drawn);
	const box = await page.locator("#map").boundingBox();
	await page.mouse.click(box.x + 3, box.y + box.height * 0.7);
	assert.ok(await page.evaluate(() => scrollY) > 300);
});

test("a narrow screen does not scroll sideways but for the code", async () => {
	for (const name of ["index.html", pageOf("main.py")]) {
		await page.setViewportSize({width: 400, height: 800});
		await show(name);
		assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 400, name);
		/* Nor do its tools have to be looked for. */
		assert.deepEqual(await page.evaluate(() => [...document.querySelectorAll("header button")].filter((b) => {
			const box = b.getBoundingClientRect();
			return box.left < 0 || box.right > innerWidth;
		}).map((b) => b.textContent + b.title)), []);
	}
	assert.ok(!await page.locator("#L5 > summary .vt").isVisible());
});

test("without scripts it can be read", async () => {
	await show(pageOf("helper.py") + "#L4");
	assert.ok(await page.locator("#L4").isVisible());
	assert.ok(!await page.getByRole("button", {name: "Total"}).isVisible());
	await page.locator("#L4 > summary .g").click();
	assert.ok(await page.locator("#L4 .p").isVisible());
}, { javaScriptEnabled: false });

test("what a target is called does nothing", async () => {
	const directory = path.join(harness.folder, "hostile"), out = path.join(directory, "out");
	const names = ["<img src=x onerror=alert(1)>.py", "\"><script>alert(1)</script>.py", "javascript:alert(1)",
		"a\" onmouseover=\"alert(1)", "</title><script>alert(2)</script>"];

	fs.mkdirSync(directory);
	fs.writeFileSync(path.join(directory, "main.py"), `import time
for name in ${JSON.stringify(names)}:
    exec(compile("import time; time.sleep(.3)  # </code><script>alert(3)</script>", name, "exec"))
`);
	execFileSync(pyprof, ["run", "--heatmap", "-o", out, path.join(directory, "main.py")], { stdio: "ignore" });
	const before = folder;
	folder = out;
	try {
		page.on("dialog", dialog => assert.fail(dialog.message()));
		for (const name of ["1.html", "2.html", "3.html", "4.html", "5.html", "index.html"]) {
			await show(name);
			assert.equal(await page.evaluate(() => document.scripts.length), 1, name);
			assert.equal(await page.locator("img, iframe").count(), 0, name);
		}
		for (const name of names)
			assert.ok(await page.getByText(name.split("/").pop(), { exact: true }).count(), name);
	} finally {
		folder = before;
	}
});
