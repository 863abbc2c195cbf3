"use strict";
// Draws the charts along time of the monitoring and release pages with uPlot: values under the pointer, at the same time in all
// of them, and a part of the period by dragging over it. The numbers are those of the tables below the charts; the
// pictures of the server stay where this script or uPlot is missing.

(() => {
  const HEIGHT = { drift: 130, accuracy: 170, evidence: 150 };
  const drawn = new Map(); // By the element with the table: the chart, its place, and the numbers as text.

  const number = (cell) => {
    const text = cell.textContent.trim();
    const value = Number.parseFloat(text.replace(/[<>,\s]/g, "").replace("−", "-"));
    return Number.isNaN(value) ? null : value;
  };

  // The table's columns, times first, from the oldest on. A part of the period without rows is a gap, and no line.
  const numbers = (table, step) => {
    const rows = [...table.tBodies[0].rows].map((row) => {
      const [time, ...cells] = row.cells;
      const at = Date.parse(time.textContent.trim().replace(" UTC", "Z").replace(" ", "T")) / 1000;
      // An interval is two numbers in one cell.
      return [at, ...cells.flatMap((cell) => cell.textContent.split(" – ").map((text) => number({ textContent: text })))];
    });
    rows.sort((one, other) => one[0] - other[0]);
    const width = rows[0]?.length ?? 0;
    for (let at = rows.length - 1; at > 0; at--) {
      if (rows[at][0] - rows[at - 1][0] < 1.5 * step) continue;
      rows.splice(at, 0, [rows[at - 1][0] + step, ...new Array(width - 1).fill(null)]);
    }
    return rows.length ? rows[0].map((_, column) => rows.map((row) => row[column])) : [];
  };

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const day = new Intl.DateTimeFormat(document.documentElement.lang, { timeZone: "UTC", day: "numeric", month: "short" });
  const tick = (at) => (at % 86400 === 0 ? day.format(at * 1000) : new Date(at * 1000).toISOString().slice(11, 16));

  const axes = (percent) => {
    const stroke = colour("--soft");
    const grid = { stroke: colour("--rule"), width: 1 };
    return [
      { stroke, grid: { show: false }, ticks: grid, values: (_, ticks) => ticks.map(tick) },
      { stroke, grid, ticks: { show: false }, size: 56, values: (_, ticks) => ticks.map((tick) => `${tick}${percent}`) },
    ];
  };

  const line = (label, more) => ({ label, stroke: colour("--live"), width: 1.75, points: { size: 4 }, ...more });

  const kinds = {
    drift: (data, heads) => ({
      data: [data[0], data[2], data[1]], // The first is below the others.
      series: [
        { label: heads[2], stroke: colour("--reference-edge"), fill: colour("--reference"), points: { show: false } },
        line(heads[1], { fill: colour("--live-fill") }),
      ],
      scales: { y: { range: (_, low, high) => [0, Math.max(0.1, high)] } },
      axes: axes(""),
    }),
    evidence: (data, heads) => ({
      data: [data[0], data[2], data[3], data[0].map(() => 100)],
      series: [
        line(heads[2], { stroke: colour("--bad") }),
        line(heads[3], { stroke: colour("--good") }),
        { label: "100 %", stroke: colour("--bad"), dash: [3, 2], width: 1.25, points: { show: false } },
      ],
      scales: { y: { range: (_, low, high) => [0, Math.min(200, Math.max(110, high))] } },
      axes: axes(" %"),
    }),
    accuracy: (data, heads, reference, name) => ({
      data: [data[0], data[1], data[2], data[3], data[0].map(() => reference)],
      series: [
        line(heads[1]),
        line(`${heads[2]} ↓`, { width: 0, points: { show: false } }),
        line(`${heads[2]} ↑`, { width: 0, points: { show: false } }),
        { label: name, stroke: colour("--reference-edge"), dash: [5, 3], points: { show: false }, show: reference !== null },
      ],
      bands: [{ series: [3, 2], fill: colour("--live-fill") }],
      axes: axes(" %"),
    }),
  };

  const draw = (details) => {
    const table = details.querySelector("table");
    const picture = document.getElementById(`${details.dataset.chart}-title`)?.closest("svg") ?? null;
    const data = numbers(table, Number(details.dataset.step ?? Infinity));
    const before = drawn.get(details);
    const text = `${table.textContent}${picture?.textContent}`;
    if (before?.text === text) return;
    before?.plot.destroy();
    before?.place.remove();
    drawn.delete(details);
    if (picture === null) return;
    picture.toggleAttribute("data-own-hidden", data.length > 0 && data[0].length > 1);
    if (data.length === 0 || data[0].length < 2) return; // A point is no line: the server's picture has it.
    const place = document.createElement("div");
    place.className = "plot";
    place.setAttribute("data-own", "");
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", [...picture.querySelectorAll("title, desc")].map((each) => each.textContent).join(". "));
    details.before(place);
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    const reference = details.dataset.reference ? number({ textContent: details.dataset.reference }) : null;
    const kind = details.dataset.kind;
    const { data: values, series, ...more } = kinds[kind](data, heads, reference, details.dataset.line);
    const options = {
      width: place.clientWidth,
      height: HEIGHT[kind],
      cursor: { sync: { key: "time" }, points: { size: 6 } },
      legend: { live: true },
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"), // As in the tables.
      series: [{ label: heads[0], value: "{YYYY}-{MM}-{DD} {HH}:{mm} UTC" }, ...series],
      ...more,
    };
    drawn.set(details, { plot: new uPlot(options, values, place), place, text });
  };

  const drawAll = () => {
    for (const [details, { plot }] of drawn) {
      if (details.isConnected) continue;
      plot.destroy();
      drawn.delete(details);
    }
    document.querySelectorAll("details[data-chart]").forEach(draw);
  };

  const resize = () => {
    for (const { plot, place } of drawn.values()) {
      if (place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height: plot.height });
    }
  };

  const again = () => {
    for (const each of drawn.values()) each.text = "";
    drawAll();
  };

  drawAll();
  document.addEventListener("lading:displayed", drawAll);
  addEventListener("resize", resize);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
})();
