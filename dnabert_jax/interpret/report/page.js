// The sections that there are data for, and the button of the colours.

function motifsAndTracks({ tracks: own, motifs: found }) {
  let motifs = null;
  const tracks = own ? new Tracks(own, found, (motif) => motifs.choose(motif)) : null;
  if (tracks) section("sequences", "Sequences", tracks.element);
  if (found) {
    motifs = new Motifs(found, tracks);
    section("motifs", "Motifs", motifs.element);
  }
}

function variants({ columns, rows, total, rankedBy }) {
  const left = rankedBy
    ? `The ${rows.toLocaleString("en-US")} of ${plural(total, "variant")} with the largest |${rankedBy}|; the others are in the file alone`
    : plural(total, "variant");
  section("variants", "Variants", html("p", { class: "quiet" }, `${left}. A click on a header sorts.`), new Grid({ columns, rows }, "Variants").element);
}

function sources(rows) {
  section("sources", "What this was made of", html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Files" }, html("table", { class: "plain" },
    html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "file"), html("th", { scope: "col" }, "read as"))),
    html("tbody", {}, rows.map(([file, what]) => html("tr", {}, html("td", { title: file }, file), html("td", {}, what)))))));
}

function themes() {
  const names = { "": ["Auto", "as the system"], light: ["Light", "light"], dark: ["Dark", "dark"] };
  const button = document.getElementById("theme");
  const order = Object.keys(names);
  button.addEventListener("click", () => {
    const next = order[(order.indexOf(document.documentElement.dataset.theme ?? "") + 1) % order.length];
    document.documentElement.dataset.theme = next;
    button.textContent = names[next][0];
    button.setAttribute("aria-label", `Colours: ${names[next][1]}`);
  });
}

themes();
motifsAndTracks(data);
if (data.results) section("results", "Results", data.results.map((own) => html("article", {}, resultElements(own))));
if (data.variants) variants(data.variants);
sources(data.sources);
