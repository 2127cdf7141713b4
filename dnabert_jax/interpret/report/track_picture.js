// What a viewer of tracks is made of: profile, motif instances, bars or letters, heat maps, axis; all of one frame.

const MARGIN = { left: 52, right: 10 };
const HEIGHT = { overview: 22, title: 20, track: 84, cell: 17, lane: 15, letters: 18, axis: 26, gap: 12 };
const LETTER_FROM = 7; // pixels a base from which letters are drawn
const LEVELS = 20; // of the shades of a heat map
const EFFECT_BASES = "ACGT";

/** Where bases are: `x` of a base on a picture of some width that shows [from, to) of a sequence. */
class Frame {
  constructor(width, from, to, bases) {
    Object.assign(this, { width, from, to, bases, left: MARGIN.left, right: width - MARGIN.right });
    this.pixels = (this.right - this.left) / (to - from); // a base
    this.first = Math.floor(from);
    this.last = Math.min(Math.ceil(to), bases.length);
  }

  x(base) {
    return this.left + (base - this.from) * this.pixels;
  }

  /** The base, with its fraction, at an x of the picture. */
  base(x) {
    return this.from + (x - this.left) / this.pixels;
  }

  get letters() {
    return this.pixels >= LETTER_FROM;
  }
}

/** The first track over the whole sequence, and which part of it is shown. */
function drawOverview(frame, { scores, extent: [low, high] }, instances, y) {
  const width = frame.right - frame.left;
  const each = width / scores.length;
  const height = (value) => (value / (Math.max(high, -low) || 1)) * HEIGHT.overview;
  const bars = Array.from(scores, (value, base) =>
    `M${(frame.left + base * each).toFixed(2)},${y + HEIGHT.overview}v${(-height(Math.abs(value))).toFixed(2)}h${each.toFixed(2)}V${y + HEIGHT.overview}z`);
  const at = (base) => frame.left + base * each;
  return svg("g", { class: "whole" },
    svg("rect", { class: "overview", x: frame.left, y, width, height: HEIGHT.overview }),
    svg("path", { class: "profile", d: bars.join("") }),
    instances.map(({ places }) => svg("rect", { fill: "var(--mark)", x: at(places[2]), y: y + HEIGHT.overview, width: Math.max(each * (places[3] - places[2]), 1.5), height: 3 })),
    svg("rect", { class: "window", x: at(frame.from), y, width: each * (frame.to - frame.from), height: HEIGHT.overview }));
}

/** Instances of motifs in their lanes: the window thin, the seed thick with its name where there is room. */
function drawInstances(frame, instances, motifs, chosen, choose, top) {
  const shown = instances.filter(({ places }) => places[1] > frame.from && places[0] < frame.to);
  return svg("g", { "clip-path": "url(#plot)" }, shown.map(({ motif, strand, places, lane }) => {
    const y = top + lane * HEIGHT.lane;
    const box = (name, from, to, height) => svg("rect", {
      class: name, x: frame.x(from), width: Math.max(frame.x(to) - frame.x(from), 1.5), y: y + 7 - height / 2, height, rx: 2,
    });
    const { name } = motifs[motif];
    const text = strand === "-" ? `◂ ${name}` : `${name} ▸`;
    const middle = frame.x((places[2] + places[3]) / 2);
    const fits = 7 * text.length < (places[3] - places[2]) * frame.pixels;
    return svg("g", { class: `instance${motif === chosen ? " chosen" : ""}`, onclick: () => choose(motif) },
      svg("title", {}, `${name}, ${strand} strand, ${places[2]} to ${places[3] - 1}: to its logo`),
      box("flank", places[0], places[1], 5), box("core", places[2], places[3], 13),
      fits ? svg("text", { x: middle, y: y + 10.5, "text-anchor": "middle" }, text) : null);
  }));
}

/** Bars from zero, or letters of their height. */
function drawTrack(frame, { label, scores, effects, extent: [low, high] }, top) {
  const { first, last, bases } = frame;
  const y0 = top + HEIGHT.title;
  const span = high - low || 1;
  const y = (value) => y0 + ((high - value) / span) * HEIGHT.track;
  const across = { x1: frame.left, x2: frame.right };
  const parts = [
    svg("text", { class: "label", x: frame.left, y: top + 12 }, effects ? `Mean loss: ${label}` : label),
    svg("line", { class: "axis", ...across, y1: y(0), y2: y(0) }),
  ];
  for (const value of new Set([high, low, 0]))
    if (value === 0 || Math.abs(y(value) - y(0)) > 12)
      parts.push(svg("text", { class: "quiet", x: frame.left - 6, y: y(value) + 4, "text-anchor": "end" }, digits(Number(value.toPrecision(2)))));
  const drawn = svg("g", { "clip-path": "url(#plot)" });
  if (frame.letters) {
    for (let base = first; base < last; base += 1) {
      const size = Math.abs(y(scores[base]) - y(0));
      if (size > 0.2) drawn.append(glyph(bases[base], frame.x(base) + 0.5, Math.min(y(scores[base]), y(0)), frame.pixels - 1, size));
    }
  } else {
    const gap = frame.pixels > 3 ? 0.5 : 0;
    for (const name of ["positive", "negative"]) {
      let d = "";
      for (let base = first; base < last; base += 1)
        if (scores[base] > 0 === (name === "positive"))
          d += `M${frame.x(base).toFixed(2)},${y(0).toFixed(2)}V${y(scores[base]).toFixed(2)}h${(frame.pixels - gap).toFixed(2)}V${y(0).toFixed(2)}z`;
      drawn.append(svg("path", { class: name, d }));
    }
  }
  return [...parts, drawn];
}

/** Rows of A, C, G and T; cells of one shade are one path, so that there are few elements. */
function drawEffects(frame, { label, effects, most }, top) {
  const { first, last, bases } = frame;
  const y0 = top + HEIGHT.title;
  const shades = new Map();
  let dots = "";
  const dot = Math.min(2.2, frame.pixels / 3);
  for (let base = first; base < last; base += 1)
    for (let row = 0; row < 4; row += 1) {
      const value = effects[4 * base + row];
      const shade = Math.round((value / (most || 1)) * LEVELS);
      const [x, y] = [frame.x(base), y0 + row * HEIGHT.cell];
      if (bases[base] === EFFECT_BASES[row]) {
        if (frame.pixels >= 3) dots += `M${(x + frame.pixels / 2 - dot).toFixed(2)},${y + HEIGHT.cell / 2}a${dot},${dot} 0 1 0 ${2 * dot},0a${dot},${dot} 0 1 0 ${-2 * dot},0`;
      } else if (shade) shades.set(shade, `${shades.get(shade) ?? ""}M${x.toFixed(2)},${y}h${frame.pixels.toFixed(2)}v${HEIGHT.cell}H${x.toFixed(2)}z`);
    }
  return [
    svg("text", { class: "label", x: frame.left, y: top + 12 }, `Substitutions, ±${digits(most)}: ${label}`),
    [...EFFECT_BASES].map((letter, row) => svg("text", { class: `base-${letter}`, x: frame.left - 6, y: y0 + row * HEIGHT.cell + 13, "text-anchor": "end" }, letter)),
    svg("g", { "clip-path": "url(#plot)", class: "heat" },
      [...shades].map(([shade, d]) => svg("path", { class: shade < 0 ? "negative" : "positive", "fill-opacity": Math.abs(shade) / LEVELS, d })),
      svg("path", { class: "reference", d: dots })),
    svg("rect", { class: "frame", x: frame.left, y: y0, width: frame.right - frame.left, height: 4 * HEIGHT.cell }),
  ].flat();
}

/** The letters of the sequence. */
function drawBases(frame, y) {
  const { first, last, bases } = frame;
  return svg("g", { "clip-path": "url(#plot)" }, [...bases.slice(first, last)].map((base, place) => svg("text", {
    class: `base-${base in OUTLINES ? base : "N"}`, x: frame.x(first + place + 0.5), y, "text-anchor": "middle",
  }, base)));
}

function drawAxis(frame, y) {
  const { first, last } = frame;
  const parts = [svg("line", { class: "axis", x1: frame.left, x2: frame.right, y1: y, y2: y })];
  for (const base of ticks(first, last - 1, (frame.right - frame.left) / 80)) {
    const x = frame.x(base + 0.5);
    if (x >= frame.left && x <= frame.right)
      parts.push(svg("line", { class: "axis", x1: x, x2: x, y1: y, y2: y + 4 }), svg("text", { class: "quiet", x, y: y + 16, "text-anchor": "middle" }, base.toLocaleString("en-US")));
  }
  return parts;
}
