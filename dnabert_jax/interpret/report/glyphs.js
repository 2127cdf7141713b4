// The letters of bases as outlines, which are stretched to what they stand for, and the logos made of them.

// In a box of 1 by 1, from its upper left corner.
const OUTLINES = {
  A: "M0,1L.39,0H.61L1,1H.79L.71,.77H.29L.21,1ZM.5,.2L.36,.6H.64Z",
  C: "M.974,.342A.5,.5 0 1 0 .974,.658L.768,.658A.3,.35 0 1 1 .768,.342Z",
  G: "M.974,.342A.5,.5 0 1 0 .9,.8L.974,.72V.48H.54V.63H.775A.3,.35 0 1 1 .768,.342Z",
  T: "M0,0H1V.17H.61V1H.39V.17H0Z",
  N: "M0,1V0H.22L.78,.66V0H1V1H.78L.22,.34V1Z",
};

/** A letter that fills a box. */
const glyph = (base, x, y, width, height) =>
  svg("path", {
    d: OUTLINES[base] ?? OUTLINES.N, class: `base-${base in OUTLINES ? base : "N"}`, "fill-rule": "evenodd",
    transform: `translate(${x.toFixed(2)},${y.toFixed(2)}) scale(${width.toFixed(3)},${height.toFixed(3)})`,
  });

const LOGO = { width: 22, height: 92, left: 30, top: 6, bottom: 18 };

/** The logo of a motif: bits of each base at each place, the commonest on top, against equal odds. */
function logo(name, matrix) {
  const width = LOGO.left + LOGO.width * matrix.length + 4;
  const height = LOGO.top + LOGO.height + LOGO.bottom;
  const base = LOGO.top + LOGO.height;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Logo of ${name}, in bits` });
  for (const bits of [0, 1, 2]) {
    const y = base - (bits / 2) * LOGO.height;
    picture.append(
      svg("line", { class: "axis", x1: LOGO.left - 4, x2: bits ? LOGO.left : width, y1: y, y2: y }),
      svg("text", { class: "quiet", x: LOGO.left - 7, y: y + 4, "text-anchor": "end" }, String(bits)),
    );
  }
  picture.append(svg("line", { class: "axis", x1: LOGO.left, x2: LOGO.left, y1: LOGO.top, y2: base }));
  matrix.forEach((row, place) => {
    const information = 2 + row.reduce((sum, share) => sum + (share > 0 ? share * Math.log2(share) : 0), 0);
    let y = base;
    const letters = row.map((share, index) => ["ACGT"[index], share]).sort((one, other) => one[1] - other[1]);
    for (const [letter, share] of letters) {
      const size = ((share * information) / 2) * LOGO.height;
      if (size < 0.3) continue;
      y -= size;
      picture.append(glyph(letter, LOGO.left + place * LOGO.width + 1, y, LOGO.width - 2, size));
    }
    if (place === 0 || (place + 1) % 5 === 0)
      picture.append(
        svg("text", { class: "quiet", x: LOGO.left + (place + 0.5) * LOGO.width, y: height - 4, "text-anchor": "middle" }, place + 1),
      );
  });
  return picture;
}
