// Curves of a classifier on axes from 0 to 1; the nearest point is read out.

const PLOT = { size: 300, left: 44, top: 10, right: 10, bottom: 42 };
const COLORS = 7;
const NAMED_CURVES = 12;

/** A figure of the curves of each class. */
function curveFigure(title, curves, [across, up], { diagonal = false, steps = false, points = false }) {
  const x = (value) => PLOT.left + value * PLOT.size;
  const y = (value) => PLOT.top + (1 - value) * PLOT.size;
  const picture = svg("svg", {
    viewBox: `0 0 ${PLOT.left + PLOT.size + PLOT.right} ${PLOT.top + PLOT.size + PLOT.bottom}`, tabindex: "0", role: "application",
    "aria-label": `${title}: ${curves.slice(0, NAMED_CURVES).map(({ label, figure }) => `${label} ${figure}`).join("; ")}. ` +
      "Left and right arrows read the points, up and down change the curve.",
  });
  for (const tick of [0, 0.25, 0.5, 0.75, 1])
    picture.append(
      svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: y(0), y2: y(1) }),
      svg("line", { class: "axis", x1: x(0), x2: x(1), y1: y(tick), y2: y(tick) }),
      svg("text", { class: "quiet", x: x(tick), y: y(0) + 16, "text-anchor": "middle" }, tick),
      svg("text", { class: "quiet", x: x(0) - 6, y: y(tick) + 4, "text-anchor": "end" }, tick));
  picture.append(
    svg("text", { x: x(0.5), y: y(0) + 35, "text-anchor": "middle" }, across),
    svg("text", { x: 11, y: y(0.5), "text-anchor": "middle", transform: `rotate(-90 11 ${y(0.5)})` }, up));
  if (diagonal) picture.append(svg("line", { class: "chance", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }));
  const lines = curves.map((curve, number) => {
    const color = `color-${number % COLORS}`;
    const d = curve.x.map((value, place) => (place === 0 ? "M" : steps ? `H${x(value).toFixed(2)}V` : "L") +
      (place && steps ? y(curve.y[place]).toFixed(2) : `${x(value).toFixed(2)},${y(curve.y[place]).toFixed(2)}`));
    const line = svg("path", { class: `curve ${color}${curves.length > NAMED_CURVES ? " thin" : ""}`, d: d.join("") });
    picture.append(line);
    if (points) picture.append(svg("g", { class: color }, curve.x.map((value, place) => svg("circle", { class: "point", cx: x(value), cy: y(curve.y[place]), r: 3 }))));
    return line;
  });
  const mark = svg("circle", { r: 4.5, class: "point", visibility: "hidden" });
  picture.append(mark);
  const readout = html("output", { class: "readout" }, html("span", { class: "key" }, "Point at a curve to read it, or use the arrow keys."));
  const drawn = [...curves.keys()].filter((number) => curves[number].x.length);
  let read = null;
  const choose = (curve, place) => {
    if (curve === undefined) return;
    read = { curve, place: clamp(place, 0, curves[curve].x.length - 1) };
    const { label, x: xs, y: ys } = curves[curve];
    const [own, height] = [xs[read.place], ys[read.place]];
    lines.forEach((line, number) => line.classList.toggle("chosen", number === curve));
    fill(mark, { cx: x(own), cy: y(height), visibility: "visible", class: `point color-${curve % COLORS}` }, []);
    readout.replaceChildren(html("b", {}, label), html("span", {}, `${across} ${digits(own)}`), html("span", {}, `${up} ${digits(height)}`));
  };
  const leave = () => {
    mark.setAttribute("visibility", "hidden");
    lines.forEach((line) => line.classList.remove("chosen"));
  };
  picture.addEventListener("pointermove", (event) => {
    const place = svgPoint(picture, event);
    choose(...nearest(curves, (place.x - PLOT.left) / PLOT.size, 1 - (place.y - PLOT.top) / PLOT.size));
  });
  picture.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [along, over] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], Home: [-Infinity, 0], End: [Infinity, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if ((!along && !over) || !drawn.length) return;
    event.preventDefault();
    if (!read) choose(drawn[0], along === Infinity ? along : 0);
    else if (along) choose(read.curve, read.place + along);
    else {
      // On the next curve the point that is nearest.
      const own = curves[read.curve];
      const next = drawn[(drawn.indexOf(read.curve) + over + drawn.length) % drawn.length];
      choose(next, nearest([curves[next]], own.x[read.place], own.y[read.place])[1]);
    }
  });
  picture.addEventListener("pointerleave", leave);
  picture.addEventListener("blur", leave);
  return html("figure", {}, html("figcaption", {}, title), picture, readout,
    html("ul", { class: "legend", tabindex: "0", "aria-label": `Curves of ${title}` }, curves.map(({ label, figure }, number) =>
      html("li", {}, html("span", { class: `swatch color-${number % COLORS}` }), html("span", {}, `${label}: ${figure}`)))));
}

function svgPoint(picture, event) {
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
}

/** Numbers of the curve, and of its point, that is closest to a place; none if no curve has a point. */
function nearest(curves, x, y) {
  let best = [];
  let least = Infinity;
  curves.forEach((curve, number) => curve.x.forEach((value, place) => {
    const distance = (value - x) ** 2 + (curve.y[place] - y) ** 2;
    if (distance < least) [least, best] = [distance, [number, place]];
  }));
  return best;
}
