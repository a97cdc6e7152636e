/* Takes the pictures of the manual: of real programs, in both themes.
 *
 * usage: node take.js PYPROF FOLDER    with playwright-core on NODE_PATH
 */
"use strict";
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { chromium } = require("playwright-core");

const [pyprof, to] = process.argv.slice(2);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "pyprof-pictures-"));
const service = path.join(__dirname, "..", "..", "targets", "service.py");

/* A release: one thing got slower, another faster, one is new. */
const RELEASE = `import hashlib, json, sys, time
def parse(text): return json.loads(text)
def validate(rows): return [r for r in rows if sum(r.values()) % 7]
def render(rows): return "".join(f"<{k}:{v}>" for r in rows for k, v in r.items())
def sign(text): return hashlib.sha256(text.encode() * 40).hexdigest()
def audit(rows): return sorted(rows, key=lambda r: sum(r.values()))
def handle(text, new):
    rows = parse(text)
    for _ in range(4 if new else 1): rows = validate(rows)
    if new: audit(rows)
    for _ in range(1 if new else 3): text = render(rows)
    return sign(text)
def serve(seconds, new):
    text = json.dumps([{"a": i, "b": i * 2, "c": i * 3} for i in range(200)])
    end = time.monotonic() + seconds
    while time.monotonic() < end: handle(text, new)
serve(2, sys.argv[1] == "new")
`;

/* "the time is over" ends the target by a signal, which is run's status: the file says whether it went well. */
function record(name, ...args) {
	const file = path.join(folder, name);
	spawnSync(pyprof, ["run", "--python", "/usr/bin/python3", "-o", file, ...args], { stdio: ["ignore", "ignore", "inherit"] });
	if (!fs.existsSync(file))
		throw new Error(`${name} was not written`);
	return file;
}

async function main() {
	const program = path.join(folder, "release.py");
	fs.writeFileSync(program, RELEASE);
	const served = path.join(folder, "service.py");
	fs.copyFileSync(service, served);
	const flame = record("flame.html", "--flamegraph", "-a", "-r", "5khz", "-d", "3", served);
	const base = record("base.pyprof", "--binary", "-r", "2khz", program, "old");
	const diff = record("diff.html", "--diff-flamegraph", base, "-r", "2khz", program, "new");
	const heat = record("heat", "--heatmap", "-a", "-r", "5khz", "-d", "3", served);
	const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
	for (const [name, file] of [["flamegraph", flame], ["diff-flamegraph", diff]]) {
		for (const theme of ["light", "dark"]) {
			const page = await browser.newPage({ viewport: { width: 1080, height: 600 }, colorScheme: theme, reducedMotion: "reduce" });
			await page.goto(`file://${file}`);
			await page.waitForFunction(() => globalThis.pyprof);
			/* The widest of the program's own functions is chosen. */
			await page.evaluate(() => {
				const pane = pyprof.graph.panes[0], { view } = pane;
				let best = 0;
				for (let i = 1; i < view.count; i++)
					if (pyprof.origins[view.keys.fn[view.key[i]]] === 0 && view.depth[i] > 2 && view.from.self[1][view.raw[i]] > (best && view.from.self[1][view.raw[best]]))
						best = i;
				pyprof.select(pane, best);
			});
			await page.waitForTimeout(200);
			await page.screenshot({ path: path.join(to, `${name}-${theme}.png`) });
			await page.close();
		}
	}
	const pages = fs.readdirSync(heat).filter(name => name.endsWith(".html"));
	const listing = pages.find(name => /<title>[^<]*service\.py/.test(fs.readFileSync(path.join(heat, name), "utf8")));
	for (const [name, page_] of [["heatmap-index", "index.html"], ["heatmap", listing]]) {
		for (const theme of ["light", "dark"]) {
			const page = await browser.newPage({ viewport: { width: 1080, height: 600 }, colorScheme: theme, reducedMotion: "reduce" });
			await page.goto(`file://${path.join(heat, page_)}`);
			/* The hottest line, with what is known of it. */
			if (name === "heatmap") {
				await page.keyboard.press("h");
				await page.keyboard.press("Enter");
			}
			await page.waitForTimeout(200);
			await page.screenshot({ path: path.join(to, `${name}-${theme}.png`) });
			await page.close();
		}
	}
	await browser.close();
	fs.rmSync(folder, { recursive: true, force: true });
}

main().catch(error => {
	console.error(error);
	process.exit(1);
});
