/* What the pages of the heatmap do beyond showing themselves: without it they can be read too. It is
 * loaded before the body, so that nothing is seen in another theme first. */
"use strict";
(() => {
	const KEY = "pyprof-heatmap";
	const root = document.documentElement;
	const choices = {
		theme: ["system", "light", "dark"],
		by: ["self", "total"],
		unit: ["share", "samples", "time"],
		hot: ["no", "yes"],
	};
	const settings = Object.fromEntries(Object.keys(choices).map((k) => [k, choices[k][0]]));

	/* A browser may keep nothing for files: then it is the defaults. */
	const load = () => {
		try {
			const kept = JSON.parse(localStorage.getItem(KEY)) || {};
			for (const k of Object.keys(choices))
				if (choices[k].includes(kept[k]))
					settings[k] = kept[k];
		} catch {
			/* as they are */
		}
	};
	const keep = () => {
		try {
			localStorage.setItem(KEY, JSON.stringify(settings));
		} catch {
			/* for this page only */
		}
	};

	const all = (selector, from) => [...(from || document).querySelectorAll(selector)];
	const make = (name, text) => {
		const e = document.createElement(name);
		if (text)
			e.textContent = text;
		return e;
	};

	const style = () => {
		root.classList.add("js");
		root.classList.toggle("by-self", settings.by === "self");
		root.classList.toggle("by-total", settings.by === "total");
		root.classList.toggle("hot", settings.hot === "yes");
		if (settings.theme === "system")
			delete root.dataset.theme;
		else
			root.dataset.theme = settings.theme;
	};

	/* ---- values ---- */

	const share = (part, whole) => {
		const s = whole ? (100 * part) / whole : 0;
		return part && s < 0.05 ? "<0.1%" : s.toFixed(1) + "%";
	};
	const time = (us) => {
		if (us >= 1e8)
			return (us / 1e6).toFixed(0) + " s";
		if (us >= 1e6)
			return (us / 1e6).toFixed(2) + " s";
		if (us >= 1e3)
			return (us / 1e3).toFixed(1) + " ms";
		return us + " \u00b5s";
	};
	let shown = "share";
	const showUnit = () => {
		const whole = Number(document.body.dataset.samples);

		if (shown === settings.unit)
			return;
		shown = settings.unit;
		for (const e of all("[data-u]")) {
			const n = Number(e.dataset.n);

			e.textContent = shown === "share" ? share(n, whole)
				: shown === "samples" ? n.toLocaleString("en").replaceAll(",", "\u202f")
				: time(Number(e.dataset.u));
		}
	};

	/* ---- the map at the side ---- */

	const level = (row) => {
		const found = row.className.match(settings.by === "self" ? /\bs(\d)/ : /\bt(\d)/);
		return found ? Number(found[1]) : 0;
	};
	let rows = [];
	let map = null;
	let marks = [];
	const visible = (row) => row.offsetParent !== null;

	const measure = () => {
		const lines = document.querySelector(".lines");
		const height = Math.max(lines.offsetHeight, 1);

		marks = rows.map((row) => [level(row), row])
			.filter(([l, row]) => l > 0 && visible(row))
			.map(([l, row]) => [l, row.offsetTop / height])
			.sort((a, b) => a[0] - b[0]);
	};
	const draw = () => {
		const lines = document.querySelector(".lines");
		const top = Math.max(0, document.querySelector("header").getBoundingClientRect().bottom);
		const width = map.clientWidth;
		const height = Math.max(window.innerHeight - top, 50);
		const ratio = window.devicePixelRatio || 1;
		const colours = getComputedStyle(root);
		const at = lines.getBoundingClientRect();
		const scale = height / Math.max(at.height, height);
		const g = map.getContext("2d");

		map.style.top = top + "px";
		map.style.height = height + "px";
		map.width = Math.round(width * ratio);
		map.height = Math.round(height * ratio);
		g.scale(ratio, ratio);
		for (const [l, y] of marks) {
			g.fillStyle = colours.getPropertyValue("--k" + l);
			g.fillRect(0, y * at.height * scale, width, Math.max(2, 20 * scale));
		}
		g.fillStyle = colours.getPropertyValue("--fg");
		g.globalAlpha = 0.12;
		g.fillRect(0, Math.max(0, top - at.top) * scale, width, height * scale);
	};
	let waiting = false;
	const redraw = (again) => {
		if (!map)
			return;
		if (again)
			measure();
		if (waiting)
			return;
		waiting = true;
		requestAnimationFrame(() => {
			waiting = false;
			draw();
		});
	};
	const scrollTo = (event) => {
		const box = map.getBoundingClientRect();
		const lines = document.querySelector(".lines").getBoundingClientRect();
		const scale = Math.max(lines.height, box.height) / box.height;

		window.scrollTo(0, window.scrollY + lines.top + (event.clientY - box.top) * scale -
			window.innerHeight / 2);
	};

	/* ---- from line to line ---- */

	const hotRows = () => {
		const here = rows.filter(visible);
		const most = Math.max(0, ...here.map(level).filter((l) => l > 0));

		/* What is far colder than the hottest is passed by. */
		return here.filter((row) => level(row) >= Math.max(1, most - 2));
	};
	const current = () => document.querySelector(".l:target") ||
		rows.find((row) => visible(row) && row.getBoundingClientRect().top > 0);
	const go = (row) => {
		if (!row)
			return;
		location.replace("#" + row.id);
		const summary = row.querySelector("summary");
		if (summary)
			summary.focus({preventScroll: true});
		row.scrollIntoView({block: "center"});
	};
	const step = (by) => {
		const list = hotRows();
		const from = document.querySelector(".l:target");
		const base = from || current();

		if (!list.length)
			return;
		const follows = (row) => base.compareDocumentPosition(row) & Node.DOCUMENT_POSITION_FOLLOWING;
		const next = list.filter((row) => row !== from && (by > 0
			? follows(row) || (!from && row === base)
			: row !== base && !follows(row)));
		go(by > 0 ? next[0] || list[0] : next[next.length - 1] || list[list.length - 1]);
	};
	const hottest = () => {
		const count = (row) => {
			const e = row.querySelector(settings.by === "self" ? ".vs" : ".vt");
			return Number(e && e.dataset.n || 0);
		};
		const list = hotRows();

		if (list.length)
			go(list.reduce((a, b) => (count(b) > count(a) ? b : a)));
	};

	/* ---- the index ---- */

	const sort = (table, column, ascending) => {
		const body = table.tBodies[0];
		const key = (row) => {
			const cell = row.cells[column];
			return cell.dataset.n === undefined ? cell.textContent : Number(cell.dataset.n);
		};
		const list = [...body.rows].map((row, i) => [key(row), i, row]);

		list.sort(([a, i], [b, k]) => (a < b ? -1 : a > b ? 1 : 0) * (ascending ? 1 : -1) || i - k);
		body.append(...list.map(([, , row]) => row));
		all("th", table).forEach((th, i) => {
			if (i === column)
				th.setAttribute("aria-sort", ascending ? "ascending" : "descending");
			else
				th.removeAttribute("aria-sort");
		});
	};
	const sortAll = () => {
		for (const table of all("table.sortable"))
			sort(table, settings.by === "self" ? 0 : 1, false);
	};
	const search = (text) => {
		const words = text.toLowerCase().split(/\s+/).filter(Boolean);
		let any = false;

		for (const section of all("main section")) {
			let here = false;

			for (const row of all("tbody tr", section)) {
				const found = words.every((w) => row.textContent.toLowerCase().includes(w));

				row.hidden = !found;
				here = here || found;
			}
			section.hidden = !here;
			any = any || here;
		}
		document.getElementById("nothing").hidden = any;
	};
	const startIndex = () => {
		const field = document.getElementById("search");

		for (const th of all("th[data-sort]")) {
			const button = make("button", th.textContent);

			button.type = "button";
			button.addEventListener("click", () => {
				const before = th.getAttribute("aria-sort");
				const name = th.dataset.sort === "3";

				sort(th.closest("table"), Number(th.dataset.sort),
					before ? before === "descending" : name);
			});
			th.replaceChildren(button);
		}
		sortAll();
		field.addEventListener("input", () => search(field.value));
		search(field.value);
	};

	/* ---- settings ---- */

	const themes = {system: "as the system", light: "light", dark: "dark"};
	const showSettings = () => {
		style();
		for (const b of all("[data-set]")) {
			const on = b.dataset.to === "toggle" ? settings[b.dataset.set] === "yes"
				: settings[b.dataset.set] === b.dataset.to;
			b.setAttribute("aria-pressed", String(on));
		}
		for (const b of all('[data-do="theme"]')) {
			b.title = "Theme: " + themes[settings.theme] + " (t)";
			b.setAttribute("aria-label", b.title);
		}
		showUnit();
	};
	const set = (name, value) => {
		const list = choices[name];
		const place = document.querySelector(".l:target");

		settings[name] = value || list[(list.indexOf(settings[name]) + 1) % list.length];
		keep();
		showSettings();
		if (name === "by")
			sortAll();
		redraw(true);
		if (name === "hot" && place)
			place.scrollIntoView({block: "center"});
	};

	const keys = [
		["n", "next hot line", () => step(1), "file"],
		["p", "previous hot line", () => step(-1), "file"],
		["h", "hottest line", hottest, "file"],
		["Enter", "what is known of the line", null, "file"],
		["s", "colour by self or total", () => set("by")],
		["u", "shares, samples or time", () => set("unit")],
		["o", "hot lines only", () => set("hot"), "file"],
		["t", "theme", () => set("theme")],
		["i", "all files", () => location.assign("index.html"), "file"],
		["/", "search", () => document.getElementById("search").focus(), "index"],
		["?", "keys", () => help()],
	];
	const here = () => keys.filter((k) => !k[3] || document.body.classList.contains(k[3]));
	const help = () => {
		let box = document.querySelector("dialog");

		if (!box) {
			const table = make("table");

			box = make("dialog");
			for (const [key, what] of here()) {
				const row = table.insertRow();
				row.insertCell().append(make("kbd", key));
				row.insertCell().textContent = what;
			}
			const title = make("h2", "Keys"), close = make("button", "Close");
			title.id = "keys";
			title.tabIndex = -1;
			title.autofocus = true;
			close.type = "button";
			box.setAttribute("aria-labelledby", title.id);
			box.append(title, table, close);
			box.addEventListener("click", () => box.close());
			document.body.append(box);
		}
		if (box.open)
			box.close();
		else
			box.showModal();
	};
	const onKey = (event) => {
		const typing = event.target instanceof HTMLInputElement;

		if (event.ctrlKey || event.metaKey || event.altKey)
			return;
		if (typing) {
			if (event.key === "Escape")
				event.target.blur();
			return;
		}
		const found = here().find(([key, , run]) => run && key === event.key);
		if (!found)
			return;
		event.preventDefault();
		found[2]();
	};

	const actions = {
		next: () => step(1),
		previous: () => step(-1),
		hottest,
		theme: () => set("theme"),
		help,
	};
	const startFile = () => {
		rows = all(".l[id]").filter((row) => !row.classList.contains("s0") ||
			!row.classList.contains("t0"));
		map = document.getElementById("map");
		map.addEventListener("pointerdown", (event) => {
			map.setPointerCapture(event.pointerId);
			scrollTo(event);
		});
		map.addEventListener("pointermove", (event) => {
			if (event.buttons)
				scrollTo(event);
		});
		addEventListener("scroll", () => redraw(false), {passive: true});
		addEventListener("resize", () => redraw(true));
		addEventListener("toggle", () => redraw(true), true);
		addEventListener("hashchange", () => redraw(true));
		matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw(false));
		/* Selecting text of a line does not open it. */
		document.querySelector(".lines").addEventListener("click", (event) => {
			if (event.target.closest("summary") && !event.target.closest("a") &&
			    String(getSelection()))
				event.preventDefault();
		});
		redraw(true);
		const target = document.querySelector(".l:target");
		if (target)
			target.scrollIntoView({block: "center"});
	};

	load();
	style();
	addEventListener("DOMContentLoaded", () => {
		for (const b of all("[data-set]"))
			b.addEventListener("click", () =>
				set(b.dataset.set, b.dataset.to === "toggle" ? "" : b.dataset.to));
		for (const b of all("[data-do]"))
			b.addEventListener("click", actions[b.dataset.do]);
		addEventListener("keydown", onKey);
		if (document.body.classList.contains("index"))
			startIndex();
		showSettings();
		if (document.body.classList.contains("file"))
			startFile();
	});
	/* Another page may have changed them meanwhile: this one was kept as it was. */
	addEventListener("pageshow", (event) => {
		if (!event.persisted)
			return;
		load();
		showSettings();
		redraw(true);
	});
})();
