/* Drives Chromium: pages of recordings with known answers, and a report of what held.
 *
 * usage: node harness.js PYPROF RECORDINGS REPORT.xml [FILTER]    with playwright-core on NODE_PATH
 */
"use strict";
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { chromium } = require("playwright-core");

const [pyprof, recordings, report, filter = ""] = process.argv.slice(2);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "pyprof-browser-"));
const tests = [];
const made = new Map();

/* A page of a recording; pages are made once. */
function pageOf(recording, ...options) {
	const key = [recording, ...options].join(" ");
	if (!made.has(key)) {
		const out = path.join(folder, `${made.size}.html`);
		execFileSync(pyprof, ["replay", ...options.length ? options : ["--flamegraph"], "-o", out,
			path.join(recordings, `${recording}.pyprof`)], { stdio: ["ignore", "inherit", "pipe"] });
		made.set(key, out);
	}
	return made.get(key);
}

const test = (name, run) => tests.push({ name, run, from });
let from = "";

/* Opens a page and watches it: whatever it says on the console, every violation of its policy and
 * every request ends up in page.faults. */
async function open(browser, file, { width = 1280, height = 800, theme = "light", hash = "", touch = false } = {}) {
	const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, acceptDownloads: true,
		hasTouch: touch, reducedMotion: "reduce" });
	const page = await context.newPage();
	page.faults = [];
	/* Looking at pixels is the tests' own doing. */
	page.on("console", message => ["error", "warning"].includes(message.type()) && !/willReadFrequently/.test(message.text()) &&
		page.faults.push(message.text()));
	page.on("pageerror", error => page.faults.push(String(error)));
	page.on("dialog", dialog => {
		page.faults.push("a dialog");
		dialog.dismiss();
	});
	page.on("request", request => /^(file|blob):/.test(request.url()) || page.faults.push(`asked for ${request.url()}`));
	await page.addInitScript(() => {
		globalThis.violations = [];
		addEventListener("securitypolicyviolation", e => globalThis.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
	});
	await page.goto(`file://${file}${hash}`);
	await page.waitForFunction(() => globalThis.pyprof, null, { timeout: 20000 });
	return page;
}

/* Nothing may have gone wrong on the way. */
async function close(page) {
	const violations = await page.evaluate(() => globalThis.violations);
	await page.context().close();
	if (page.faults.length || violations.length)
		throw new Error(`the page complains: ${[...page.faults, ...violations].join("; ")}`);
}

/* What is hard to read: texts whose contrast with what is behind them is below WCAG's AA, once for each kind.
 * Only what colours say counts, so that pictures and gradients may not lie behind texts. */
const unreadable = page => page.evaluate(() => {
	const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
	const rgba = color => {
		context.clearRect(0, 0, 1, 1);
		context.fillStyle = color;
		context.fillRect(0, 0, 1, 1);
		const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
		return [r, g, b, a / 255];
	};
	const over = (front, back) => [0, 1, 2].map(i => front[i] * front[3] + back[i] * (1 - front[3]));
	const light = color => color.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const found = new Map(), texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const text = texts.currentNode.textContent.trim(), element = texts.currentNode.parentElement;
		if (!text || /^(SCRIPT|STYLE)$/.test(element.tagName) || !element.checkVisibility({ visibilityProperty: true }))
			continue;
		let back = [255, 255, 255], opacity = 1;
		const up = [];
		for (let e = element; e; e = e.parentElement) {
			up.unshift(rgba(getComputedStyle(e).backgroundColor));
			opacity *= Number(getComputedStyle(e).opacity);
		}
		for (const color of up)
			back = over(color, back);
		const color = rgba(getComputedStyle(element).color), front = over([...color.slice(0, 3), color[3] * opacity], back);
		const [dark, bright] = [light(front), light(back)].sort((a, b) => a - b), ratio = (bright + 0.05) / (dark + 0.05);
		if (ratio < 4.5)
			found.set(`${element.tagName}.${element.className} ${front.map(Math.round)} on ${back.map(Math.round)}`, `${ratio.toFixed(2)}: ${text.slice(0, 40)}`);
	}
	return [...found].map(pair => pair.join(" "));
});

const escape = text => String(text).replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, "?").replace(/[&<>"]/g, c => `&#${c.charCodeAt(0)};`);

async function run() {
	const cases = [];
	let failed = 0;
	const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
		args: ["--no-sandbox", "--disable-dev-shm-usage"] });
	for (const { name, run: body, from: file } of tests.filter(t => t.name.includes(filter))) {
		const start = performance.now();
		let error = null;
		try {
			await Promise.race([body(browser), new Promise((_, reject) => setTimeout(() => reject(new Error("still running after 60 s")), 60000).unref())]);
		} catch (e) {
			error = e;
			failed++;
		}
		const seconds = ((performance.now() - start) / 1000).toFixed(2);
		console.log(`${error ? "FAILED" : "ok"} ${name} (${seconds} s)${error ? `: ${error.stack}` : ""}`);
		cases.push(`<testcase classname="${escape(file)}" name="${escape(name)}" time="${seconds}">` +
			`${error ? `<failure message="${escape(error.message.split("\n")[0])}">${escape(error.stack)}</failure>` : ""}</testcase>`);
	}
	await browser.close();
	fs.rmSync(folder, { recursive: true, force: true });
	fs.writeFileSync(report, `<?xml version="1.0"?>\n<testsuite name="browser" tests="${cases.length}" failures="${failed}">\n${cases.join("\n")}\n</testsuite>\n`);
	process.exit(failed ? 1 : 0);
}

module.exports = { test, open, close, pageOf, unreadable, folder };
/* Each file beside this one adds its tests. */
for (const file of fs.readdirSync(__dirname).sort()) {
	if (file.endsWith(".js") && file !== path.basename(__filename)) {
		from = path.basename(file, ".js");
		require(path.join(__dirname, file));
	}
}
run().catch(error => {
	console.error(error);
	process.exit(1);
});
