// The ring as a drawing. A board is recognised by its lane and its colour, and by
// its number on its longest arc: up to 64 boards differ in lane and colour both.

const LANES = 8, OUTER = 152, PITCH = 16, INNER = 66;
const NS = 'http://www.w3.org/2000/svg';

// hue and lane of the board with index i, the same wherever it is shown.
export const hue = (i) => (i + Math.floor(i / LANES)) % 8;
const lane = (i) => i % LANES;

function el(parent, name, attrs, text) {
  const e = parent.appendChild(document.createElementNS(NS, name));
  for (const k in attrs) e.setAttribute(k, attrs[k]);
  if (text !== undefined) e.textContent = text;
  return e;
}

// point on the circle of radius r at t turns, 0 at the top, clockwise.
const point = (r, t) => `${(r * Math.sin(2 * Math.PI * t)).toFixed(3)} ${(-r * Math.cos(2 * Math.PI * t)).toFixed(3)}`;

function arcPath(r, from, to) {
  const half = (from + to) / 2; // in two parts, because one SVG arc cannot be a full circle
  return `M${point(r, from)}A${r} ${r} 0 0 1 ${point(r, half)}A${r} ${r} 0 0 1 ${point(r, to)}`;
}

// draw draws the ring. names are the boards in order, arcs those of the snapshot; it
// calls pick with a board's name, or '', when the pointer enters or leaves its arcs.
export function draw(svg, names, arcs, pick) {
  svg.replaceChildren();
  svg.classList.toggle('many', names.length > 16); // then only the picked board shows its number
  const lanes = Math.max(1, Math.min(LANES, names.length));
  const pitch = Math.min(PITCH, (OUTER - INNER) / lanes);
  const radius = (i) => OUTER - pitch * (lane(i) + 0.5);
  for (let i = 0; i < lanes; i++) el(svg, 'circle', { r: radius(i), class: 'lane', 'stroke-width': pitch - 2 });

  names.forEach((name, i) => {
    const own = arcs.filter((a) => a.board === name).map((a) => [a.from, a.to < a.from ? a.to + 1 : a.to]);
    if (!own.length) return;
    const r = radius(i);
    const g = el(svg, 'g', { class: 'arcs', 'data-board': name, 'data-hue': hue(i) });
    el(g, 'path', { d: own.map(([f, t]) => arcPath(r, f, t)).join(''), 'stroke-width': pitch - 2 });
    const [f, t] = own.reduce((a, b) => (b[1] - b[0] > a[1] - a[0] ? b : a));
    const [x, y] = point(r, (f + t) / 2).split(' ');
    el(g, 'text', { x, y, 'font-size': Math.min(11, pitch - 2) }, i + 1);
    g.addEventListener('pointerenter', () => pick(name));
    g.addEventListener('pointerleave', () => pick(''));
  });
  el(svg, 'text', { class: 'mid name', y: -4 });
  el(svg, 'text', { class: 'mid part', y: 18 });
}

// highlight highlights the arcs of one board; '' ends that.
export function highlight(svg, name, line1, line2) {
  svg.classList.toggle('picking', name !== '');
  for (const g of svg.querySelectorAll('.arcs')) g.classList.toggle('picked', g.dataset.board === name);
  const [a, b] = svg.querySelectorAll('.mid');
  if (a) { a.textContent = line1; b.textContent = line2; }
}
