// Motifs as cards: logo, what the table says, what known motif it is like, and where it is on the sequences shown.

const CARDS_AT_ONCE = 24;
const CHIPS_AT_ONCE = 40;
const MATCHES_SHOWN = 5;
const LONG_FACT = 60; // letters, which may be more than a card shows without scrolling

class Motifs {
  /** @param tracks of the sequences, or null; a place of a motif is shown there. */
  constructor(own, tracks) {
    this.own = own;
    this.tracks = tracks;
    this.cards = html("div", { class: "cards" });
    this.drawn = 0;
    this.more = html("button", { type: "button", onclick: () => this.draw(this.drawn + CARDS_AT_ONCE) }, "More motifs");
    const here = own.instances.length;
    const text = !tracks ? "" : here === 0 && own.total
      ? ` None of the ${plural(own.total, "instance")} is on a sequence shown above.`
      : ` ${here.toLocaleString("en-US")} of ${plural(own.total, "instance")} are on the sequences shown above.`;
    this.element = html("div", {}, html("p", { class: "quiet" }, own.motifs.length ? `${plural(own.motifs.length, "motif")}, by p-value; heights are bits.${text}` : "No motif was found."), this.cards, this.more);
    this.draw(CARDS_AT_ONCE);
  }

  draw(until) {
    const end = Math.min(until, this.own.motifs.length);
    for (; this.drawn < end; this.drawn += 1) this.cards.append(this.card(this.drawn));
    this.more.hidden = end === this.own.motifs.length;
  }

  card(number) {
    const { name, facts, matrix } = this.own.motifs[number];
    const rows = this.own.columns.map((column, place) => [html("dt", {}, column.replaceAll("_", " ")), html("dd", { tabindex: facts[place].length > LONG_FACT ? "0" : null }, this.fact(facts[place]))]);
    const places = this.tracks ? this.own.instances.filter((one) => one.motif === number) : [];
    const chips = html("div", { class: "chips" });
    const chip = (one) => html("button", {
      type: "button", title: "Show it on the sequence",
      onclick: () => this.goto(one),
    }, `${this.tracks.sequences[one.sequence].id}:${one.places[2]} ${one.strand}`);
    chips.append(...places.slice(0, CHIPS_AT_ONCE).map(chip));
    if (places.length > CHIPS_AT_ONCE) chips.append(html("span", { class: "quiet" }, `and ${places.length - CHIPS_AT_ONCE} more`));
    return html("article", { class: "card", id: `motif-${number}`, tabindex: "-1", "aria-label": `Motif ${name}` },
      html("h3", { class: "dna" }, name), logo(name, matrix), html("dl", {}, rows), this.matches(name), places.length ? chips : null);
  }

  /** Numbers of few digits, words of a list with spaces between. */
  fact(text) {
    return text !== "" && Number.isFinite(Number(text)) ? digits(Number(text)) : text.replaceAll(";", " ");
  }

  matches(name) {
    if (!this.own.matches) return null;
    const { columns, rows } = this.own.matches;
    const own = Object.hasOwn(rows, name) ? rows[name] : [];
    if (!own.length) return html("p", { class: "quiet" }, "Like no known motif.");
    return html("div", { class: "scroll matches", tabindex: "0", role: "region", "aria-label": `Known motifs like ${name}` }, html("table", {},
      html("thead", {}, html("tr", {}, columns.map((column) => html("th", { scope: "col" }, column.replaceAll("_", " "))))),
      html("tbody", {}, own.slice(0, MATCHES_SHOWN).map((row) => html("tr", {}, row.map((cell) => html("td", { title: cell }, this.fact(cell))))))));
  }

  goto({ sequence, motif, places }) {
    this.tracks.motif = motif;
    this.tracks.show(sequence, places[0] - 12, places[1] + 12);
    this.tracks.element.scrollIntoView({ block: "start" });
    this.tracks.canvas.focus({ preventScroll: true });
  }

  /** Comes to the card of a motif. */
  choose(number) {
    if (number >= this.drawn) this.draw(number + 1);
    this.cards.querySelector(".chosen")?.classList.remove("chosen");
    const card = document.getElementById(`motif-${number}`);
    card.classList.add("chosen");
    card.scrollIntoView({ block: "nearest" });
    card.focus({ preventScroll: true });
  }
}
