// The console's page: shows what /api/v1/events sends, and posts the actions.
import { at } from '/lamp.js';
import { draw, hue, highlight } from '/ring.js';

const $ = (id) => document.getElementById(id);
const setText = (e, s) => { if (e.textContent !== s) e.textContent = s; };
const make = (name, text, cls) => {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  if (cls) e.className = cls;
  return e;
};

const integer = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 });
const decimal = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 1 });
const num = (n) => (n < 9.95 ? decimal : integer).format(n);
const percent = (n) => `${num(n * 100)} %`;
const mb = (n) => (n > 0 && n < 1e6 ? `${integer.format(Math.ceil(n / 1e3))} kB` : `${(n < 99.5e6 ? decimal : integer).format(n / 1e6)} MB`);
const duration = (s) => (s < 120 ? `${s} s` : s < 7200 ? `${Math.floor(s / 60)} min` : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} days`);
const clock = (d) => d.toLocaleTimeString('en-GB');
const glyphs = { serving: '●', starting: '◔', joining: '◑', draining: '◐', drained: '○', dead: '✕', left: '↩', stopped: '■', paused: '‖' };
const down = new Set(['dead', 'left', 'stopped', 'paused']);

let rack = { boards: [], ring: [] }; // the latest snapshot
let history = []; // responses a second, oldest first
const cards = new Map(); // by board name
let shown = ['', 0]; // epoch and number of the latest event on the page
let picked = '';

// ---- lamps ----------------------------------------------------------------

const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');
const lamps = new Map(); // element → pattern

function play() {
  const now = Date.now();
  for (const [e, p] of lostAt ? [] : lamps) { // a stale panel does not blink
    let level = at(p, now);
    // With reduced motion, steady lamps show as they are and others stay dark: the
    // panel then has its code in words.
    if (reducedMotion.matches && p.steps.length > 1) level = 0;
    if (e.level !== level) {
      e.level = level;
      e.style.setProperty('--l', level / 255);
    }
  }
  requestAnimationFrame(play);
}

// ---- cards ----------------------------------------------------------------

const actions = [
  // [key, label, in which states it is possible, whether it needs the lab]
  ['stop', 'Stop', (s) => !down.has(s), true],
  ['kill', 'Kill', (s) => !down.has(s) || s === 'paused', true],
  ['pause', 'Pause', (s) => !down.has(s), true],
  ['revive', 'Revive', (s) => down.has(s), true],
  ['drain', 'Drain', (s) => !down.has(s), false],
];

function newCard(name) {
  const root = $('board').content.firstElementChild.cloneNode(true);
  const q = (s) => root.querySelector(s);
  const c = { root, tag: q('.tag'), state: q('.state'), panel: q('.panel'), lamp: q('.lamp'), bar: q('.bar'), code: q('.code'),
    summary: q('.summary'), meter: q('meter'), links: q('.links'), acts: q('.acts'), msg: q('.msg'), f: {}, buttons: {} };
  q('h3').textContent = name;
  root.dataset.board = name;
  for (const dd of root.querySelectorAll('[data-f]')) c.f[dd.dataset.f] = dd;
  root.addEventListener('pointerenter', () => pick(name));
  root.addEventListener('pointerleave', () => pick(''));
  root.addEventListener('focusin', () => pick(name));
  root.addEventListener('focusout', () => pick(''));
  for (const [key, label, , lab] of actions) {
    const b = make('button', label);
    b.type = 'button';
    b.dataset.do = key;
    b.setAttribute('aria-label', `${label} ${name}`);
    b.addEventListener('click', () => runAction(name, key, lab, b));
    c.buttons[key] = c.acts.appendChild(b);
  }
  return c;
}

async function runAction(name, key, lab, button) {
  if (button.getAttribute('aria-disabled') === 'true') return;
  const c = cards.get(name);
  const undo = button.dataset.undo === 'yes';
  setText(c.msg, `${button.textContent} …`);
  button.setAttribute('aria-disabled', 'true');
  try {
    await post(lab ? 'lab' : 'drain', lab ? { board: name, action: key } : { board: name, undo });
    setText(c.msg, '');
  } catch (err) {
    setText(c.msg, err.message);
  }
  const now = rack.boards.find((b) => b.name === name);
  if (now) showButtons(c, now);
}

function showButtons(c, b) {
  for (const [key, , can, lab] of actions) {
    const e = c.buttons[key];
    e.hidden = lab ? !rack.can_lab : !rack.can_steer;
    e.setAttribute('aria-disabled', String(!can(b.state)));
  }
  const undo = b.state === 'draining' || b.state === 'drained';
  const d = c.buttons.drain;
  d.dataset.undo = undo ? 'yes' : 'no';
  setText(d, undo ? 'Undo drain' : 'Drain');
  d.setAttribute('aria-label', `${d.textContent} ${b.name}`);
}

function addLink(parent, url, text, label) {
  if (!/^https?:\/\//.test(url || '')) return;
  const a = parent.appendChild(make('a', text));
  a.href = url;
  a.setAttribute('aria-label', label);
}

function showBoard(b, i) {
  let c = cards.get(b.name);
  if (!c) cards.set(b.name, (c = newCard(b.name)));
  c.root.dataset.state = b.state;
  c.tag.dataset.hue = hue(i);
  setText(c.tag, String(i + 1));
  setText(c.state.firstElementChild, b.faults ? '▲' : glyphs[b.state] || '?');
  setText(c.state.lastElementChild, b.state);
  c.root.classList.toggle('fault', !!b.faults);

  const bar = b.panel.bar || [];
  while (c.bar.childElementCount > bar.length) { lamps.delete(c.bar.lastElementChild); c.bar.lastElementChild.remove(); }
  while (c.bar.childElementCount < bar.length) c.bar.appendChild(make('span', '', 'lamp'));
  lamps.set(c.lamp, b.panel.health);
  bar.forEach((p, n) => lamps.set(c.bar.children[n], p));
  const lit = bar.reduce((sum, p) => sum + (p.steps.length === 1 ? p.steps[0].level / 255 : 0), 0);
  setText(c.code, b.panel.health.name);
  c.panel.setAttribute('aria-label', `Panel: ${b.panel.health.name}; load ${bar.length ? percent(lit / bar.length) : 'not shown'}`);
  setText(c.summary, b.panel.summary);

  const v = b.vitals, off = down.has(b.state);
  const put = (k, s) => setText(c.f[k], off ? '–' : s);
  put('rate', num(v.responses_per_second));
  put('cpu', percent(v.cpu_cores));
  put('ratio', v.responses_per_second > 0 ? percent(v.hit_ratio) : '–');
  put('up', duration(v.uptime_seconds));
  put('mem', mb(v.memory_bytes));
  put('conns', integer.format(v.connections));
  put('cache', `${mb(v.cache_bytes)} of ${mb(v.cache_budget_bytes)}`);
  c.meter.value = off || !v.cache_budget_bytes ? 0 : v.cache_bytes / v.cache_budget_bytes;

  const links = [b.http_url, b.console_url, b.pid].join();
  if (c.linked !== links) {
    c.linked = links;
    c.links.replaceChildren();
    addLink(c.links, b.http_url, 'pages', `Pages of ${b.name}`);
    addLink(c.links, b.console_url, 'console', `Console of ${b.name}`);
    if (b.pid) c.links.appendChild(make('span', `process ${b.pid}`));
  }
  showButtons(c, b);
  return c.root;
}

function showBoards() {
  const box = $('boards');
  const want = rack.boards.map(showBoard);
  const names = new Set(rack.boards.map((b) => b.name));
  for (const [name, c] of cards) {
    if (names.has(name)) continue;
    for (const e of c.root.querySelectorAll('.lamp')) lamps.delete(e);
    cards.delete(name);
  }
  if (!want.length) want.push(box.querySelector('.empty') ||
    make('p', "No board yet. Boards with this rack's key appear here as soon as they join.", 'empty'));
  // Only a changed list is replaced: otherwise a focused button would lose its focus.
  if (want.length !== box.children.length || want.some((e, i) => e !== box.children[i])) box.replaceChildren(...want);
  box.className = rack.boards.length > 12 ? 'cards dense' : 'cards';
}

// ---- the whole rack -------------------------------------------------------

function showTotals() {
  const sum = (f) => rack.boards.reduce((n, b) => n + (down.has(b.state) ? 0 : f(b.vitals)), 0);
  const rate = sum((v) => v.responses_per_second);
  setText($('rate'), num(rate));
  setText($('t-boards'), `${rack.boards.filter((b) => b.state === 'serving').length} of ${rack.boards.length}`);
  setText($('t-ratio'), rate > 0 ? percent(sum((v) => v.hit_ratio * v.responses_per_second) / rate) : '–');
  setText($('t-conns'), integer.format(sum((v) => v.connections)));
  const cached = [mb(sum((v) => v.cache_bytes)), mb(sum((v) => v.cache_budget_bytes))];
  setText($('t-cache'), cached.map((s) => s.replace(' ', '\u00a0')).join(' of ')); // no line break before a unit
  setText($('observer'), rack.observer);
  setText($('version'), rack.version);
  return rate;
}

function showLine() {
  const top = Math.max(1, ...history) * 1.08, n = history.length;
  const points = history.map((h, i) => `${120 - n + i} ${(40 - (h / top) * 39).toFixed(2)}`).join('L');
  const [area, stroke] = $('line').children;
  area.setAttribute('d', n > 1 ? `M${120 - n} 40L${points}L119 40Z` : '');
  stroke.setAttribute('d', n > 1 ? `M${points}` : '');
  setText($('peak'), n ? `peak ${num(Math.max(...history))}` : '');
}

function showRing() {
  draw($('ring'), rack.boards.map((b) => b.name), rack.ring, pick);
  const count = {};
  for (const a of rack.ring) count[a.board] = (count[a.board] || 0) + 1;
  $('shares').tBodies[0].replaceChildren(...rack.boards.map((b, i) => {
    const tr = make('tr');
    const th = tr.appendChild(make('th'));
    th.scope = 'row';
    const tag = th.appendChild(make('span', String(i + 1), 'tag'));
    tag.dataset.hue = hue(i);
    const name = th.appendChild(make('button', b.name, 'name'));
    name.type = 'button';
    name.addEventListener('focus', () => pick(b.name));
    name.addEventListener('blur', () => pick(''));
    tr.addEventListener('pointerenter', () => pick(b.name));
    tr.addEventListener('pointerleave', () => pick(''));
    tr.append(make('td', String(count[b.name] || 0)), make('td'));
    return tr;
  }));
  pick(picked);
}

function showShares() {
  const rows = $('shares').tBodies[0].rows;
  rack.boards.forEach((b, i) => rows[i] && setText(rows[i].cells[2], percent(b.ring_share)));
}

function pick(name) {
  picked = name;
  const b = rack.boards.find((x) => x.name === name);
  const on = new Set(rack.ring.map((a) => a.board)).size;
  highlight($('ring'), b ? name : '', b ? name : on ? `${on} ${on === 1 ? 'board' : 'boards'}` : 'empty', b ? percent(b.ring_share) : on ? 'on the ring' : '');
  for (const [n, c] of cards) c.root.classList.toggle('picked', n === name);
  for (const tr of $('shares').tBodies[0].rows) tr.classList.toggle('picked', tr.querySelector('.name').textContent === name);
}

function announceChanges(before) {
  const was = new Map(before.map((b) => [b.name, b.state]));
  const news = rack.boards.filter((b) => was.size && was.get(b.name) !== b.state).map((b) => `${b.name} is ${b.state}`);
  if (news.length) $('status').textContent = news.join(', ');
}

function show(next) {
  const before = rack;
  rack = next;
  rack.boards.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true })); // board-2 before board-10
  if (!rack.ring) rack.ring = before.ring; // left out while it has not changed
  for (const id of ['totals', 'ringbox', 'eventbox']) $(id).hidden = false;
  $('purgebox').hidden = !rack.can_steer;
  showBoards();
  const rate = showTotals();
  if (rack.tick) {
    history = [...history, rate].slice(-120);
    showLine();
  }
  const notes = rack.notices || [];
  if (notes.join('\n') !== (before.notices || []).join('\n') || !before.at) $('notices').replaceChildren(...notes.map((n) => make('li', n)));
  if (next.ring !== before.ring || rack.boards.map((b) => b.name).join() !== before.boards.map((b) => b.name).join()) showRing();
  showShares();
  announceChanges(before.boards);
}

function showEvent(e, id) {
  const [epoch, n] = [id.split('-')[0], Number(id.split('-')[1])];
  if (epoch === shown[0] && n <= shown[1]) return; // sent again after a reconnection
  shown = [epoch, n];
  const li = make('li');
  const when = new Date(e.at);
  const time = li.appendChild(make('time', clock(when)));
  time.dateTime = e.at;
  li.append(make('span', e.kind, 'kind'), make('span', e.text));
  li.dataset.kind = e.kind;
  $('log').prepend(li);
  while ($('log').childElementCount > 100) $('log').lastElementChild.remove();
  $('noevents').hidden = true;
}

// ---- requests and events -------------------------------------------------------------

async function post(what, body) {
  let r;
  try {
    r = await fetch(`/api/v1/${what}`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  } catch {
    throw new Error('the console did not answer: is its board running?');
  }
  const data = r.status === 204 ? {} : await r.json().catch(() => ({}));
  if (!r.ok) throw new Error(data.error || `the console answered ${r.status}`);
  return data;
}

let source, heard = 0, lostAt = null;

function setConnected(ok, why) {
  $('link').dataset.link = ok ? 'live' : 'lost';
  setText($('linkword'), ok ? 'live' : 'no connection');
  document.body.classList.toggle('stale', !ok);
  if (ok) {
    if (lostAt) $('status').textContent = 'connected again';
    lostAt = null;
  } else {
    lostAt ||= new Date();
    setText($('lost'), `${why} This page shows the rack as it was at ${clock(lostAt)}. Reconnecting …`);
  }
  $('lost').hidden = ok;
}

function connect() {
  source?.close();
  heard = Date.now();
  source = new EventSource('/api/v1/events');
  const on = (name, f) => source.addEventListener(name, (m) => f(JSON.parse(m.data), m.lastEventId));
  on('rack', (s) => { heard = Date.now(); setConnected(true); show(s); });
  on('history', (h) => { history = h.responses_per_second || []; showLine(); });
  on('event', showEvent);
  on('trouble', (text) => setConnected(false, `${text}.`));
  source.onerror = () => setConnected(false, 'The connection to the console is lost.');
}

// A browser reconnects by itself after a broken connection, but not after an error
// status, nor if the connection only stays silent.
setInterval(() => {
  const silence = Date.now() - heard;
  if (silence > 6000) setConnected(false, 'The console no longer sends data.');
  if (silence > 6000 || (source.readyState === EventSource.CLOSED && silence > 3000)) connect();
}, 1000);

$('purge').addEventListener('change', () => {
  const what = new FormData($('purge')).get('what');
  $('value').disabled = what === 'all';
  $('value').placeholder = { url: '/status', tag: 'status', all: 'all stored pages' }[what];
});

$('purge').addEventListener('submit', async (e) => {
  e.preventDefault();
  const what = new FormData($('purge')).get('what'), value = $('value').value.trim(), out = $('purge-result');
  if (what !== 'all' && !value) {
    out.replaceChildren(make('p', `Enter the ${what === 'url' ? 'URL' : 'tag'} to purge.`));
    $('value').focus();
    return;
  }
  out.replaceChildren(make('p', 'Purging …'));
  try {
    const r = await post('purge', what === 'all' ? { all: true } : { [what]: value });
    out.replaceChildren(make('p', r.applied.length ? `Applied by ${r.applied.join(', ')}.` : 'No board has applied the purge yet.'));
    if (r.absent?.length) out.append(make('p', `Absent: ${r.absent.join(', ')}. An absent board applies the purge before it serves again.`));
  } catch (err) {
    out.replaceChildren(make('p', err.message));
  }
});

for (const e of document.querySelectorAll('#card [data-lamp]')) {
  const p = { steps: e.dataset.lamp.split(' ').map((s) => ({ level: +s.split(',')[0], ms: +s.split(',')[1] })) };
  $('card').addEventListener('toggle', () => ($('card').open ? lamps.set(e, p) : lamps.delete(e)));
}
setConnected(true);
setText($('linkword'), 'connecting');
connect();
play();
