// What a fine-tuning came to, or the tables of a suite.

const interval = (low, high) => (low === null ? "" : ` [${low.toFixed(3)}, ${high.toFixed(3)}]`);
const figure = (value) => (value === null ? "–" : value.toFixed(4));

function resultElements(own) {
  return own.tables ? suiteElements(own) : finetuneElements(own);
}

function suiteElements({ name, tables }) {
  return [html("h3", {}, name), ...tables.map((table) =>
    html("div", {}, html("p", {}, `${table.name}: ${plural(table.rows, "data set")}`), new Grid(table, `${name}, ${table.name}`).element))];
}

function finetuneElements(own) {
  const notes = [];
  if (own.problem === "single_label_classification" && own.labels.length === 2)
    notes.push(`Precision, recall, F1 and the curves are those of the class ${own.labels[1]}.`);
  if (own.collapsed.length) notes.push(`Collapsed to one class, so that figures mean little: seed ${own.collapsed.join(", ")}.`);
  if (own.interval !== null) notes.push(`In brackets: ${(100 * own.interval).toFixed(0)} % bootstrap intervals.`);
  const several = own.seeds.length > 1;
  const heads = ["metric", ...(several ? ["mean", "sd"] : []), ...own.seeds.map((seed) => `seed ${seed}`)];
  const rows = own.metrics.map(({ metric, mean, sd, seeds, note }) => {
    const cells = [...(several ? [figure(mean), figure(sd)] : []), ...seeds.map(([value, low, high]) => figure(value) + interval(low, high))];
    return html("tr", { title: note || null }, html("th", { scope: "row" }, metric), cells.map((cell) => html("td", { class: "number" }, cell)));
  });
  const { curves, confusion } = own;
  return [
    html("h3", {}, own.name),
    html("p", { class: "quiet" }, `${own.origin.map(([what, value]) => `${what}: ${value}`).join(". ")}. Figures are of the test split.`),
    curves ? html("div", { class: "curves" },
      curveFigure("ROC", curves.roc, ["false positive rate", "true positive rate"], { diagonal: true }),
      curveFigure("Precision and recall", curves.precision_recall, ["recall", "precision"], { steps: true }),
      curveFigure("Calibration", curves.calibration, ["mean probability", "observed frequency"], { diagonal: true, points: true })) : null,
    html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Figures of ${own.name}` },
      html("table", { class: several ? "" : "plain" },
        html("thead", {}, html("tr", {}, heads.map((head, place) => html("th", { scope: "col", class: place ? "number" : "" }, head)))),
        html("tbody", {}, rows))),
    confusion ? html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Confusion of ${own.name}` },
      html("table", { class: "plain" },
        html("caption", {}, `Confusion on the test split, seed ${confusion.seed}`),
        html("thead", {}, html("tr", {}, confusion.head.map((head, place) => html("th", { scope: "col", class: place ? "number" : "" }, head)))),
        html("tbody", {}, confusion.rows.map(([name, ...cells]) =>
          html("tr", {}, html("th", { scope: "row" }, name), cells.map((cell) => html("td", { class: "number" }, cell))))))) : null,
    ...notes.map((note) => html("p", { class: "quiet" }, note)),
  ];
}
