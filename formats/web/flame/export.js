/* Pictures of the whole graph as it stands, not only of the part that the window shows. */

function save(name, blob) {
	const url = URL.createObjectURL(blob), link = make("a", { href: url, download: name });
	link.click();
	setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function paintAll(context, graph, look, width, height) {
	const above = graph.panes.find(p => p.up);
	const top = !above ? PAD : graph.panes.length > 1 ? PAD + (above.rows - 1) * ROW : height - PAD - ROW;
	context.fillStyle = look.theme.back;
	context.fillRect(0, 0, width, height);
	for (const pane of graph.panes)
		paintPane(context, pane, look, top, width, height);
}

function svgOf(graph, look, title) {
	const context = new SvgContext(graph.width, graph.contentHeight);
	paintAll(context, graph, look, context.width, context.height);
	return context.toString(title);
}

/* Canvases have limits: what is higher is cut at the deep end. */
const MOST_PIXELS = 16000;

function pngOf(graph, look) {
	const ratio = Math.min(2, MOST_PIXELS / Math.max(graph.width, graph.contentHeight));
	const canvas = make("canvas"), height = graph.contentHeight;
	canvas.width = graph.width * ratio;
	canvas.height = height * ratio;
	const context = canvas.getContext("2d");
	context.setTransform(ratio, 0, 0, ratio, 0, 0);
	paintAll(context, graph, look, graph.width, height);
	return new Promise(resolve => canvas.toBlob(resolve, "image/png"));
}
