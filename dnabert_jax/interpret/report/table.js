// A table of columns that sorts by a click on a header, filters by text or bounds, and shows a page of rows at a time.

const ROWS_AT_ONCE = 50;

class Grid {
  /** @param name of the table, for people who do not see where it is. */
  constructor({ columns, rows }, name) {
    this.columns = columns.map((column) => ({ ...column, values: column.numbers ? unpack(column.numbers) : column.text }));
    this.rows = rows;
    this.sorted = Uint32Array.from({ length: rows }, (_, row) => row);
    this.sort = { column: null, ascending: true };
    this.page = 0;
    this.build(name);
    this.filter();
  }

  build(name) {
    this.headers = this.columns.map((column) =>
      html("th", { scope: "col", "aria-sort": "none", class: column.numbers ? "number" : "" },
        html("button", { type: "button", onclick: () => this.order(column) }, column.name)));
    const input = (column, key, type, label) => html("input", {
      type, placeholder: label, "aria-label": `${column.name}: ${label}`, step: type === "number" ? "any" : null,
      oninput: (event) => {
        column[key] = event.target.value;
        this.filter();
      },
    });
    const filters = this.columns.map((column) =>
      column.numbers
        ? html("th", { class: "number" }, html("div", { class: "bounds" }, input(column, "low", "number", "min"), input(column, "high", "number", "max")))
        : html("th", {}, input(column, "wanted", "search", "contains")));
    this.body = html("tbody");
    this.count = html("span", { class: "range", role: "status" });
    const turn = (text, label, by) => html("button", { type: "button", "aria-label": label, onclick: () => this.turn(by()) }, text);
    this.back = [turn("«", "First rows", () => 0), turn("‹", "Rows before", () => this.page - 1)];
    this.forth = [turn("›", "Next rows", () => this.page + 1), turn("»", "Last rows", () => this.pages - 1)];
    this.element = html("div", {},
      html("div", { class: "controls" }, this.back, this.forth, this.count),
      html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name },
        html("table", { class: "grid" }, html("thead", {}, html("tr", {}, this.headers), html("tr", { class: "filters" }, filters)), this.body)));
  }

  get pages() {
    return Math.max(1, Math.ceil(this.found.length / ROWS_AT_ONCE));
  }

  /** Sorts by a column: numbers from the largest, text from A, then the other way. What is missing comes last. */
  order(column) {
    const ascending = this.sort.column === column ? !this.sort.ascending : !column.numbers;
    this.sort = { column, ascending };
    const { values } = column;
    const missing = column.numbers ? Number.isNaN : (value) => value === "";
    const way = ascending ? 1 : -1;
    // Numbers within names count as such, chr2 before chr10; a collator that does so is slow.
    const keys = column.numbers ? values : (column.keys ??= values.map((own) => own.toLowerCase().replace(/\d+/g, (found) => found.padStart(12, "0"))));
    const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
    this.sorted.sort((one, other) => {
      const [a, b] = [values[one], values[other]];
      return missing(a) - missing(b) || (missing(a) ? 0 : way * compare(keys[one], keys[other])) || one - other;
    });
    this.headers.forEach((header, place) =>
      header.setAttribute("aria-sort", this.columns[place] !== column ? "none" : ascending ? "ascending" : "descending"));
    this.filter();
  }

  filter() {
    const tests = [];
    for (const { values, low, high, wanted } of this.columns) {
      if (low) tests.push((row) => values[row] >= Number(low));
      if (high) tests.push((row) => values[row] <= Number(high));
      if (wanted) tests.push((row) => values[row].toLowerCase().includes(wanted.toLowerCase()));
    }
    this.found = this.sorted.filter((row) => tests.every((test) => test(row)));
    this.turn(0);
  }

  turn(page) {
    this.page = page;
    const first = page * ROWS_AT_ONCE;
    const shown = [...this.found.subarray(first, first + ROWS_AT_ONCE)];
    this.body.replaceChildren(...shown.map((row) => html("tr", {}, this.columns.map(({ values, numbers }) =>
      numbers
        ? html("td", { class: "number", title: Number.isNaN(values[row]) ? null : String(values[row]) }, digits(values[row]))
        : html("td", { title: values[row] }, values[row])))));
    for (const button of this.back) button.disabled = page === 0;
    for (const button of this.forth) button.disabled = page === this.pages - 1;
    const number = (value) => value.toLocaleString("en-US");
    this.count.textContent = this.found.length
      ? `rows ${number(first + 1)} to ${number(first + shown.length)} of ${number(this.found.length)}${this.found.length < this.rows ? ` (filtered from ${number(this.rows)})` : ""}`
      : `no row of ${number(this.rows)} passes the filters`;
  }
}
