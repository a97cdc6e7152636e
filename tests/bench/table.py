"""What the bench prints: plain tables as the figures come, and the same in Markdown at the end."""


class Table:
    def __init__(self, title, columns):
        self.title, self.columns = title, columns
        self.rows, self.notes = [], []
        self.widths = [max(len(c), 20 if i == 0 else 8) for i, c in enumerate(columns)]
        print(f"\n{title}")
        if columns:
            print(self._line(columns), flush=True)

    def _line(self, cells):
        first, *rest = zip(cells, self.widths)
        return "  " + "  ".join([first[0].ljust(first[1])] + [c.rjust(w) for c, w in rest])

    def row(self, *cells):
        cells = [str(c) for c in cells]
        cells += [""] * (len(self.columns) - len(cells))
        self.rows.append(cells)
        print(self._line(cells), flush=True)

    def note(self, text):
        self.notes.append(text)
        print(f"  {text}", flush=True)

    def markdown(self):
        def line(cells):
            cells = [c.replace("|", "\\|").replace("<", "\\<") for c in cells]
            return "| " + " | ".join(cells) + " |"

        out = [f"**{self.title}**", ""]
        if self.rows:
            out += [line(self.columns), "|" + "---|" + "---:|" * (len(self.columns) - 1)]
            out += [line(r) for r in self.rows] + [""]
        for note in self.notes:
            out += [note, ""]
        return "\n".join(out)


def number(value, digits=0):
    return "-" if value is None else f"{value:,.{digits}f}"


def percent(share, digits=1):
    """A share of 1."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def ratio(a, b):
    return f"{a / b:.2f}x" if a and b else "-"
