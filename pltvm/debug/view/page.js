// Shows one run: a step is chosen, and every part of the page shows the machine behind that step.
"use strict";

const { html, render, useState, useEffect, useMemo, useRef } = htmPreact;
const data = JSON.parse(document.getElementById("data").textContent);
const { steps, lanes, pieces, owners } = data;
const PAGE = 4096;
const hex = (number) => "0x" + number.toString(16);
const size = (pages) => {
  const kib = pages * 4;
  return kib >= 1048576 ? kib / 1048576 + " GiB" : kib >= 1024 ? kib / 1024 + " MiB" : kib + " KiB";
};
const plural = (count, word) => count + " " + word + (count === 1 ? "" : "s");

// -- the machine at a moment -------------------------------------------------------------------------------

function begin(from) {
  const state = { owners: new Array(pieces.length).fill(0), states: {}, roots: {}, tables: new Map(), hart: from.hart };
  for (const [piece, owner] of from.owners) state.owners[piece] = owner;
  for (const [lane, root, what] of from.enclaves) {
    state.states[lane] = what;
    state.roots[lane] = root;
  }
  for (const [table, index, count, , pa, flags, va] of from.entries) enter(state, table, index, count, pa, flags, va);
  return state;
}

function enter(state, table, index, count, pa, flags, va) {
  let rows = state.tables.get(table);
  if (!rows) state.tables.set(table, (rows = new Map()));
  for (let at = 0; at < count; at++) {
    if (flags) rows.set(index + at, { pa: pa + at * PAGE, flags, va: at ? null : va });
    else rows.delete(index + at);
  }
}

function apply(state, step) {
  if (step.again) Object.assign(state, begin(step.again));
  for (const [piece, owner] of step.moves) state.owners[piece] = owner;
  for (const [lane, what] of step.states) {
    state.states[lane] = what;
    if (!what) delete state.roots[lane];
  }
  for (const [table, index, count, , pa, flags, va, lane, root] of step.entries) {
    if (root && state.states[lane] !== "") state.roots[lane] = root;
    enter(state, table, index, count, pa, flags, va);
  }
  state.hart = step.hart;
}

// States are made from the start, or from the one that was asked for last if it lies before.
let latest = { at: -1, state: begin(data.start) };
function stateAt(at) {
  if (at < latest.at) latest = { at: -1, state: begin(data.start) };
  while (latest.at < at) apply(latest.state, steps[++latest.at]);
  return latest.state;
}

// -- spans of the timeline ---------------------------------------------------------------------------------

function spans() {
  const open = {}, found = [];
  const say = (lane, what, at) => {
    if (open[lane] && open[lane].what === what) return;
    if (open[lane]) found.push({ lane, what: open[lane].what, from: open[lane].at, to: at });
    open[lane] = what ? { what, at } : null;
  };
  for (const [lane, , what] of data.start.enclaves) say(lane, what, 0);
  say(data.start.hart, "running", 0);
  let hart = data.start.hart;
  steps.forEach((step, at) => {
    for (const [lane, what] of step.states) say(lane, what, at + 1);
    if (step.hart !== hart) {
      if (lanes[hart].kind !== "enclave") say(hart, "", at + 1);
      if (lanes[step.hart].kind !== "enclave") say(step.hart, "running", at + 1);
      hart = step.hart;
    }
  });
  lanes.forEach((_, lane) => say(lane, "", steps.length));
  return found.filter((one) => one.to > one.from);
}
const SPANS = spans();

// -- parts -------------------------------------------------------------------------------------------------

const Swatch = ({ owner }) => html`<span class=${"swatch o" + (owner % 10)} aria-hidden="true"></span>`;

function Timeline({ at, go }) {
  const row = 34, left = 6, room = Math.max(document.documentElement.clientWidth - 290, 320);
  const width = Math.max(room, Math.min(steps.length * 14, 16000));
  const x = (step) => left + (step / Math.max(steps.length, 1)) * width;
  const height = lanes.length * row + 10;
  const box = useRef();
  useEffect(() => {
    const frame = box.current;
    if (!frame) return;
    const here = x(at + 1);
    if (here < frame.scrollLeft + left || here > frame.scrollLeft + frame.clientWidth - 40)
      frame.scrollLeft = Math.max(here - frame.clientWidth / 2, 0);
  }, [at]);
  const pick = (event) => {
    const where = event.currentTarget.getBoundingClientRect();
    const step = Math.floor(((event.clientX - where.left - left) / width) * steps.length);
    if (step >= 0 && step < steps.length) go(step);
  };
  const y = (lane) => lane * row + row / 2 + 4;
  const drawn = useMemo(() => html`
      ${lanes.map((_, number) => html`<line x1=${left} x2=${left + width} y1=${y(number)} y2=${y(number)} class="rail" />`)}
      ${SPANS.map((one) => html`<rect x=${x(one.from)} width=${Math.max(x(one.to) - x(one.from), 1)} y=${y(one.lane) - 10}
        height="20" rx="3" class=${"span " + one.what}><title>${lanes[one.lane].label}: ${one.what}</title></rect>`)}
      ${steps.map((step, number) => step.arrow && html`<g class=${"arrow " + step.kind}>
        <line x1=${x(number + 1)} x2=${x(number + 1)} y1=${y(step.arrow[0])} y2=${y(step.arrow[1])} />
        <circle cx=${x(number + 1)} cy=${y(step.arrow[1])} r="4" /><title>${step.say}</title></g>`)}`, [width]);
  return html`<div class="time"><ul class="lanes" aria-label="Rows of the timeline">${lanes.map((lane) => html`<li title=${lane.label}>${lane.label}</li>`)}</ul>
    <div class="scroll" ref=${box} tabindex="0" role="group" aria-label="Timeline, may be scrolled">
    <svg width=${left + width + 20} height=${height} onClick=${pick} role="img"
      aria-label=${"Who ran and who waited, over " + plural(steps.length, "step") + ". The list below tells the same."}>
      ${drawn}
      <line x1=${x(at + 1)} x2=${x(at + 1)} y1="0" y2=${height} class="now" />
    </svg></div></div>
    <ul class="legend" aria-label="What the bars mean">
      ${["running", "calling", "waiting", "queued", "runnable", "fresh"].map((what) => html`<li><span class=${"key " + what}></span>
        ${{ running: "runs", calling: "has called a server", waiting: "waits for the host", queued: "waits for a server", runnable: "may run", fresh: "has not run" }[what]}</li>`)}
    </ul>`;
}

function Ram({ state, step }) {
  const moved = new Set(step.moves.map(([piece]) => piece));
  const rows = [];
  pieces.forEach(([start, pages, what], number) => {
    const owner = state.owners[number], last = rows[rows.length - 1];
    if (last && last.owner === owner && last.what === what && last.moved === moved.has(number) &&
        last.start + last.pages * PAGE === start) last.pages += pages;
    else rows.push({ start, pages, what, owner, moved: moved.has(number) });
  });
  const weight = (pages) => 1 + Math.log2(pages);
  return html`<div class="ram" aria-hidden="true">${rows.map((row) => html`<span
      class=${"piece o" + (row.owner % 10) + (row.moved ? " moved" : "")} style=${"flex-grow:" + weight(row.pages)}
      title=${owners[row.owner][1] + ", " + size(row.pages) + " at " + hex(row.start)}></span>`)}</div>
    <p class="note">Widths grow with the logarithm of the size. What moved in this step has a frame.</p>
    <div class="scroll" tabindex="0" role="group" aria-label="RAM by owner, may be scrolled"><table><caption class="hidden">RAM by owner at this moment</caption>
    <thead><tr><th scope="col">from</th><th scope="col">pages</th><th scope="col">size</th><th scope="col">owner</th><th scope="col"></th></tr></thead>
    <tbody>${rows.map((row) => html`<tr class=${row.moved ? "changed" : ""}><td><code>${hex(row.start)}</code></td><td class="number">${row.pages}</td>
      <td class="number">${size(row.pages)}</td><td><${Swatch} owner=${row.owner} />${owners[row.owner][1]}</td>
      <td>${row.what}${row.moved ? html` <strong>moved</strong>` : ""}</td></tr>`)}</tbody></table></div>`;
}

function ownerOf(state, pa) {
  let low = 0, high = pieces.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (pieces[middle][0] <= pa) low = middle;
    else high = middle - 1;
  }
  return pieces.length ? state.owners[low] : 0;
}

const vaOf = (base, level, index) => {
  const at = base + (BigInt(index) << BigInt(30 - 9 * level));
  return level === 0 && index >= 256 ? at + (((1n << 25n) - 1n) << 39n) : at;
};

// Entries that follow each other, lead to pages that do, and allow the same, are one row.
function runs(rows) {
  const found = [];
  for (const index of [...rows.keys()].sort((a, b) => a - b)) {
    const row = rows.get(index), last = found[found.length - 1];
    if (last && row.flags !== "table" && last.flags === row.flags && last.index + last.count === index &&
        last.pa + last.count * PAGE === row.pa) last.count++;
    else found.push({ index, count: 1, pa: row.pa, flags: row.flags });
  }
  return found;
}

function Table({ state, table, level, base, changed, path }) {
  const rows = state.tables.get(table);
  if (!rows || level > 2) return html`<p class="note">no entries</p>`;
  return html`<ul class="tree">${runs(rows).map((row) => {
    const va = vaOf(base, level, row.index), touched = changed.has(table + ":" + row.index);
    if (row.flags === "table" && level < 2) {
      return html`<li key=${row.index}><details open><summary class=${touched ? "changed" : ""}>[${row.index}] <code>0x${va.toString(16)}</code> →
        table at <code>${hex(row.pa)}</code>${touched ? html` <strong>new</strong>` : ""}</summary>
        <${Table} state=${state} table=${row.pa} level=${level + 1} base=${va} changed=${changed} path=${path + row.index + "/"} /></details></li>`;
    }
    const owner = ownerOf(state, row.pa);
    return html`<li key=${row.index} class=${touched ? "changed" : ""}>[${row.index}${row.count > 1 ? "–" + (row.index + row.count - 1) : ""}]${" "}
      <code>0x${va.toString(16)}</code> → <code>${hex(row.pa)}</code>, ${plural(row.count, "page")}, <code>${row.flags}</code>, ${" "}
      <${Swatch} owner=${owner} />${owners[owner][1]}${touched ? html` <strong>new</strong>` : ""}</li>`;
  })}</ul>`;
}

function Tables({ state, step }) {
  const living = Object.keys(state.roots).map(Number).filter((lane) => state.states[lane] !== undefined);
  const [chosen, choose] = useState(null);
  const lane = living.includes(chosen) ? chosen : living.includes(state.hart) ? state.hart : living[0];
  const changed = new Set();
  for (const [table, index, count] of step.entries) for (let at = 0; at < count; at++) changed.add(table + ":" + (index + at));
  if (lane === undefined) return html`<p>No enclave exists at this moment.</p>`;
  return html`<p><label>Of <select aria-label="Page table of" value=${lane} onChange=${(event) => choose(Number(event.target.value))}>
      ${living.map((one) => html`<option value=${one} selected=${one === lane}>${lanes[one].label}</option>`)}</select></label>
      ${chosen === null ? "" : html` <button onClick=${() => choose(null)}>Follow the hart</button>`}</p>
    <div class="scroll tall" tabindex="0" role="group" aria-label="Page table, may be scrolled">
    <p>Root table at <code>${hex(state.roots[lane])}</code></p>
    <${Table} state=${state} table=${state.roots[lane]} level=${0} base=${0n} changed=${changed} path="" /></div>`;
}

function Source({ step }) {
  const places = [step.where, step.then].filter(Boolean).map((where) => / \(([^()/]+):(\d+)\)$/.exec(where)).filter(Boolean);
  const place = places.find((one) => data.sources[one[1]] && !one[1].endsWith(".h")) || places[0];
  const here = useRef();
  useEffect(() => {
    const line = here.current, frame = line && line.parentElement;
    if (frame) frame.scrollTop = line.offsetTop - frame.clientHeight / 2;
  });
  if (!step.where) return html`<p>The host has the hart here: it is not part of the guest's code.</p>`;
  const lines = place && data.sources[place[1]];
  if (!lines) return html`<p><code>${step.where}</code></p><p class="note">Its source was not found (--source DIR).</p>`;
  const wanted = Number(place[2]), from = Math.max(wanted - 12, 1);
  return html`<p><code>${step.where}</code>${place.input !== step.where ? html`, goes on at <code>${step.then}</code>` : ""}</p><pre class="source" tabindex="0" role="group" aria-label=${"Source of " + place[1] + " around line " + wanted}>
    ${lines.slice(from - 1, wanted + 12).map((text, number) => {
      const line = from + number, now = line === wanted;
      return html`<span ref=${now ? here : null} class=${now ? "line now" : "line"}><span class="no">${line}${now ? " ▶" : "  "}</span>${text + "\n"}</span>`;
    })}</pre>`;
}

const KINDS = { all: null, calls: new Set(["call", "return", "fault"]) };

function List({ at, go, shown }) {
  const near = shown.findIndex((one) => one >= at), middle = near < 0 ? shown.length - 1 : near;
  const from = Math.max(middle - 7, 0);
  return html`<ol class="steps" aria-label="Steps around this one">${shown.slice(from, from + 15).map((one) => html`<li key=${one}>
    <button aria-current=${one === at ? "step" : null} onClick=${() => go(one)}><span class="no">${one + 1}</span>
    <span class="who">${lanes[steps[one].lane].label}</span> ${steps[one].say}</button></li>`)}</ol>`;
}

// -- the page ----------------------------------------------------------------------------------------------

function App() {
  const [at, setAt] = useState(() => Math.min(Math.max((parseInt(location.hash.slice(1), 10) || 1) - 1, 0), steps.length - 1));
  const [only, setOnly] = useState("all");
  const [theme, setTheme] = useState("");
  const shown = useMemo(() => steps.map((_, number) => number).filter((one) => !KINDS[only] || KINDS[only].has(steps[one].kind)), [only]);
  const go = (step) => setAt(Math.min(Math.max(step, 0), steps.length - 1));
  const next = (by) => setAt((now) => {  // keys may come faster than the page is drawn
    const rest = by > 0 ? shown.filter((one) => one > now) : shown.filter((one) => one < now).reverse();
    return rest.length ? rest[0] : now;
  });
  useEffect(() => {
    const press = (event) => {
      if (event.target.closest("input, select, textarea, .scroll, .source") || event.altKey || event.ctrlKey || event.metaKey) return;
      const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!move) return;
      event.preventDefault();
      next(move);
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  });
  useEffect(() => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  }, [theme]);
  if (!steps.length) return html`<main><h1>${data.title}</h1><p>Nothing has happened in this run.</p></main>`;
  const step = steps[at], state = stateAt(at);
  return html`<header><h1>${data.title}</h1>
      <label>Colours <select value=${theme} onChange=${(event) => setTheme(event.target.value)}>
        <option value="">as the system</option><option value="light">light</option><option value="dark">dark</option></select></label></header>
    <main>
    <section aria-labelledby="h-step" class="wide"><h2 id="h-step">Step ${at + 1} of ${steps.length}</h2>
      <div class="controls"><button onClick=${() => next(-1)} disabled=${!shown.some((one) => one < at)}>◀ Back</button>
        <button onClick=${() => next(1)} disabled=${!shown.some((one) => one > at)}>Next ▶</button>
        <input type="range" min="1" max=${steps.length} value=${at + 1} aria-label="Moment of the run"
          aria-valuetext=${"step " + (at + 1) + ": " + step.say} onInput=${(event) => go(Number(event.target.value) - 1)} />
        <label>Stop at <select value=${only} onChange=${(event) => setOnly(event.target.value)}>
          <option value="all">every step</option><option value="calls">calls and returns</option></select></label></div>
      <div class="story" aria-live="polite" aria-atomic="true"><p class="say">${step.say}</p></div>
      <p class="note">Arrow keys go from step to step. ${data.cut ? "The trace goes on: only its first steps are shown." : ""}</p></section>
    <section aria-labelledby="h-time" class="wide"><h2 id="h-time">Who runs, who waits</h2><${Timeline} at=${at} go=${go} /></section>
    <section aria-labelledby="h-why"><h2 id="h-why">What came of it</h2>
      ${step.effects.length ? html`<ul class="effects">${step.effects.map(([kind, text]) => html`<li class=${kind}>${text}</li>`)}</ul>`
        : html`<p>Nothing moved, and nobody else has the hart.</p>`}</section>
    <section aria-labelledby="h-source"><h2 id="h-source">Source</h2><${Source} step=${step} /></section>
    <section aria-labelledby="h-ram"><h2 id="h-ram">RAM by owner</h2><${Ram} state=${state} step=${step} /></section>
    <section aria-labelledby="h-table"><h2 id="h-table">Page table</h2><${Tables} state=${state} step=${step} /></section>
    <section aria-labelledby="h-list" class="wide"><h2 id="h-list">Steps</h2><${List} at=${at} go=${go} shown=${shown} /></section>
    </main>`;
}

const page = document.getElementById("page");
page.textContent = "";
render(html`<${App} />`, page);
