/* Draws trees: on a canvas, or on anything with the same few methods. */

/* On a very large screen everything is larger. */
const LARGE = innerWidth >= 2600, ROW = LARGE ? 24 : 19;
const FONT = `${LARGE ? 15 : 12}px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace`;
/* Narrower boxes, px, are drawn as one with their neighbours. */
const NARROW = 1.5, LABEL = 22;

let letter = 0;

function letterWidth() {
	if (!letter) {
		const context = document.createElement("canvas").getContext("2d");
		context.font = FONT;
		letter = context.measureText("MMMMMMMMMM").width / 10;
	}
	return letter;
}

/* A tree where it is drawn: window is the part of its width that is seen; rows go down from top, or
 * up from it. skip: the row of the root is drawn by another pane. */
class Pane {
	constructor(view, up, skip) {
		this.view = view;
		this.up = up;
		this.skip = skip;
		this.window = [0, view.width[0]];
	}

	get rows() {
		return this.view.rows.length - 1;
	}

	/* The top of a row, from that of the root's row. */
	offset(row) {
		return (this.up ? -row : row) * ROW;
	}
}

const isPlain = text => /^[\x20-\x7e]*$/.test(text);

function fit(text, room) {
	if (room < 2)
		return "";
	return text.length <= room ? text : text.slice(0, room - 1) + "…";
}

/* look: { theme, colors (by key), shadow (by node, or null), matches (by key, or null), paths, faded }.
 * top: where the row of the root is. Returns how many boxes were drawn. */
function paintPane(context, pane, look, top, width, height) {
	const { view, window: [from, to] } = pane, { keys } = view, { theme } = look;
	const scale = width / (to - from || 1), chars = letterWidth();
	let style = "", drawn = 0;
	const use = color => {
		if (color !== style)
			context.fillStyle = style = color;
	};
	const labels = [];
	for (let row = pane.skip ? 1 : 0; row < pane.rows; row++) {
		const y = top + pane.offset(row);
		if (y + ROW <= 0 || y >= height)
			continue;
		const end = view.rows[row + 1];
		let runFrom = 0, runTo = -1, runColor = "";
		const flush = () => {
			if (runTo > runFrom) {
				use(runColor);
				context.fillRect(runFrom, y, runTo - runFrom, ROW - 1);
				drawn++;
			}
			runTo = -1;
		};
		for (let i = lowerBound(view, view.rows[row], end, from); i < end; i++) {
			const x = (view.x[i] - from) * scale, w = view.width[i] * scale;
			if (x >= width)
				break;
			const key = view.key[i];
			const match = look.matches && key > 0 ? look.matches[key] : 0;
			const color = look.matches && !match ? theme.dim : match ? theme.mark :
				look.ofNode ? look.ofNode(view, i) : key < 0 ? theme.dim : look.colors[key];
			if (w < NARROW) {
				const left = Math.floor(x), right = Math.max(left + 1, Math.ceil(x + w));
				if (runTo < left || runColor !== color) {
					flush();
					runFrom = Math.max(left, runTo);
					runColor = color;
				}
				runTo = Math.max(runTo, right);
				/* The next box that reaches beyond this pixel. */
				i = lowerBound(view, i + 1, end, from + right / scale) - 1;
				continue;
			}
			flush();
			const left = Math.max(0, x), right = Math.min(width, x + w);
			use(color);
			context.fillRect(left, y, right - left - (w > 3 ? 1 : 0.4), ROW - 1);
			drawn++;
			if (look.pale && pane.window[0] >= view.x[i] && pane.window[1] <= view.x[i] + view.width[i] && w > width + 1) {
				use(look.pale);
				context.fillRect(left, y, right - left, ROW - 1);
			}
			if (right - left > LABEL)
				labels.push(i, left, right - left, y, match);
		}
		flush();
	}
	context.textBaseline = "middle";
	context.font = FONT;
	for (let k = 0; k < labels.length; k += 5) {
		const key = view.key[labels[k]], x = labels[k + 1] + 4, room = Math.floor((labels[k + 2] - 8) / chars);
		const name = fit(key < 0 ? look.rootName : keys.name(key), room), y = labels[k + 3] + ROW / 2;
		const bright = labels[k + 4] && look.markText;
		use(bright || theme.text);
		if (isPlain(name))
			context.fillText(name, x, y);
		else
			context.fillText(name, x, y, labels[k + 2] - 8);
		if (key > 0 && room > name.length + 6) {
			const place = fit(look.place(key), room - name.length - 2);
			use(bright || theme.faint);
			context.fillText(place, x + (name.length + 2) * chars, y, Math.max(1, labels[k + 2] - 8 - (name.length + 2) * chars));
		}
	}
	return drawn;
}

/* The same methods, for a picture of lines and letters. */
class SvgContext {
	constructor(width, height) {
		this.width = width;
		this.height = height;
		this.parts = [];
	}

	static escape(text) {
		const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
		return text.replace(/[&<>"]/g, c => names[c]).replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, "\ufffd");
	}

	color() {
		const alpha = /^#([0-9a-f]{6})([0-9a-f]{2})$/.exec(this.fillStyle);
		return alpha ? `fill="#${alpha[1]}" fill-opacity="${(parseInt(alpha[2], 16) / 255).toFixed(2)}"` : `fill="${this.fillStyle}"`;
	}

	fillRect(x, y, w, h) {
		this.parts.push(`<rect x="${x.toFixed(2)}" y="${y.toFixed(1)}" width="${w.toFixed(2)}" height="${h}" ${this.color()}/>`);
	}

	fillText(text, x, y) {
		this.parts.push(`<text x="${x.toFixed(1)}" y="${(y + 4).toFixed(1)}" ${this.color()}>${SvgContext.escape(text)}</text>`);
	}

	toString(title) {
		return `<svg xmlns="http://www.w3.org/2000/svg" width="${this.width}" height="${this.height}" ` +
			`viewBox="0 0 ${this.width} ${this.height}" font-family="monospace" font-size="${LARGE ? 15 : 12}">` +
			`<title>${SvgContext.escape(title)}</title>\n${this.parts.join("\n")}\n</svg>\n`;
	}
}
