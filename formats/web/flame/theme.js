/* Colours of what is drawn, in both themes, and words for numbers and names. */

/* Where code is from. */
const APP = 0, PACKAGE = 1, STDLIB = 2, MACHINERY = 3, GARBAGE = 4, OTHER = 5;
const ORIGIN_NAMES = ["your code", "packages", "standard library", "import and runtime",
	"garbage collection", "native, moving, process"];

const hsl = (h, s, l) => `hsl(${h} ${s}% ${l}%)`;
/* Hue and strength of each origin; four shades part neighbours. */
const ORIGIN_HUES = [[28, 78], [208, 52], [158, 30], [220, 9], [328, 42], [262, 20]];
const SHADES = [[0, 0], [5, 3.5], [-5, -3], [9, 1.5]];
const shades = (light, factor) => ORIGIN_HUES.map(([h, s]) =>
	SHADES.map(([dh, dl]) => hsl(h + dh, Math.round(s * factor), light + dl)));

const THEMES = {
	light: {
		back: "#fdfcfa", text: "#1f2229", faint: "#1f2229d0", line: "#fdfcfa", mark: "#7c2fd0",
		focus: "#14161a", dim: "#e9e7e2", origins: shades(76, 1),
		heat: ["#f3ead9", "#f6dfb8", "#f8cf93", "#f7b971", "#f2a05c", "#ec8a52"],
		change: ["#d5d4d0", "#f6c9bd", "#ee9d8a", "#e88777", "#c3d6ef", "#93b6e4", "#7aa6e2", "#c3a2e0", "#c3a2e0"],
		doing: ["#dcdad4", "#e9e7e2", "#8fb8dc", "#c8d3de", "#e8b04b", "#5fb07f", "#c76fa4"],
		shade: "#1f222914", hold: "#fdfcfab8", axis: "#6c6f78",
	},
	dark: {
		back: "#16181d", text: "#f1f0ec", faint: "#f1f0ecd4", line: "#16181d", mark: "#c79bff",
		focus: "#ffffff", dim: "#272a31", origins: shades(28, 0.72),
		heat: ["#3a3833", "#4b4132", "#614a2f", "#7a5029", "#894d20", "#934616"],
		change: ["#41444b", "#5e4440", "#85463d", "#993c30", "#3c4a60", "#3d5c8c", "#305b9f", "#684789", "#684789"],
		doing: ["#33363d", "#262930", "#41698c", "#3a4654", "#a87a25", "#3b7f57", "#8d4672"],
		shade: "#ffffff12", hold: "#16181db8", axis: "#9a9da6",
	},
};
const DOING_NAMES = ["not known", "off CPU", "C code, on CPU", "without the GIL", "waits for the GIL",
	"Python (has the GIL)", "garbage collection"];
const DOING_ORDER = [5, 6, 4, 2, 3, 1, 0];
const CHANGE_NAMES = ["same, or within the noise", "more, below +25 %", "more, below +100 %", "more, +100 % and up",
	"less, above −20 %", "less, above −50 %", "less, −50 % and down", "new: not in the base", "elided: only in the base"];
/* Classes of changeClass() as places in these. */
const CHANGE_PLACE = { 0: 0, 1: 1, 2: 2, 3: 3, "-1": 4, "-2": 5, "-3": 6, 4: 7, 5: 8 };

/* Frames that are no Python function, as enum stream_frame_kind has them. */
const KIND_MOVING = 1, KIND_GC = 4;

function originOf(data, fn) {
	const kind = data.functionKind[fn], file = data.text(data.functionFile[fn]);
	if (kind === KIND_GC)
		return GARBAGE;
	if (kind || !file)
		return OTHER;
	if (file.startsWith("<"))
		return file.startsWith("<frozen") ? MACHINERY : APP;
	if (/\/(site|dist)-packages\//.test(file))
		return PACKAGE;
	return /\/lib(64)?\/python\d[^/]*\/|\/Lib\/[^/]+(\/|\.py$)/.test(file) ? STDLIB : APP;
}

/* What the paths of all of one's own code begin with. */
let ownFolder = "";

function findOwnFolder(data) {
	const files = new Set();
	for (let fn = 1; fn < data.functionName.length; fn++)
		if (data.functionFile[fn] && originOf(data, fn) === APP)
			files.add(data.text(data.functionFile[fn]));
	const paths = [...files].filter(file => file.startsWith("/"));
	let common = paths[0] ?? "";
	for (const path of paths)
		while (!path.startsWith(common))
			common = common.slice(0, -1);
	ownFolder = common.slice(0, common.lastIndexOf("/") + 1);
}

/* The dotted name of a file's module, as far as the path tells where its package begins. */
function moduleOf(file) {
	if (!file || file.startsWith("<"))
		return file;
	const below = /\/(?:site|dist)-packages\/(.+)$/.exec(file) ?? /\/lib(?:64)?\/python\d[^/]*\/(?:lib-dynload\/)?(.+)$/.exec(file);
	const path = below ? below[1] : ownFolder && file.startsWith(ownFolder) ? file.slice(ownFolder.length) :
		file.split("/").slice(-2).join("/").replace(/^\//, "");
	return path.replace(/\.pyw?$/, "").replace(/\/__init__$/, "").replace(/\//g, ".") || file;
}

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const showCount = n => grouped.format(n);

function showTime(ns) {
	const size = Math.abs(ns);
	for (const [unit, factor] of [["h", 3.6e12], ["min", 6e10], ["s", 1e9], ["ms", 1e6], ["µs", 1e3]])
		if (size >= factor * (unit === "min" ? 2 : unit === "h" ? 2 : 1))
			return `${(ns / factor).toFixed(size / factor < 10 ? 2 : size / factor < 100 ? 1 : 0)} ${unit}`;
	return `${Math.round(ns)} ns`;
}

function showShare(part, whole) {
	const share = whole ? 100 * part / whole : 0;
	return `${share >= 99.95 ? "100" : share >= 10 ? share.toFixed(1) : share >= 0.095 || !share ? share.toFixed(2) :
		share >= 0.001 ? share.toFixed(3) : "< 0.001"} %`;
}

const showWeight = (value, kind) => kind % 2 === COUNT ? showCount(value) + (value === 1 ? " sample" : " samples") : showTime(value);

/* Long names are shown by their ends. */
const shorten = (text, most) => text.length <= most ? text : text.slice(0, most / 2 | 0) + "…" + text.slice(-(most / 2 | 0));

/* An element with attributes, handlers (functions) and children; texts are texts. */
function make(tag, attributes, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes ?? {})) {
		if (typeof value === "function")
			element.addEventListener(name, value);
		else if (value !== false && value !== undefined && value !== null)
			element.setAttribute(name, value === true ? "" : value);
	}
	element.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
	return element;
}
