"use strict";
(() => {
  // Draws the graph in the page's data block. Everything that comes from the data is put in as text, never as markup.
  const graph = JSON.parse(document.getElementById("graph").textContent);
  const { nodes, links } = graph;
  const count = nodes.kind.length;
  const SVG = "http://www.w3.org/2000/svg";
  const FEW = 60; // graphs of at most so many neurons are shown whole
  const MANY = 240; // a first view shows at most so many
  const QUIET_LINKS = 120; // links drawn while no node is chosen
  const LISTED = 15; // links listed per direction

  const html = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);
  function build(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  const number = (value) => (value === null ? "unknown" : value === 0 ? "0" : Math.abs(value) >= 1e4 || Math.abs(value) < 1e-3
    ? value.toExponential(1) : String(Number(value.toPrecision(3))));
  const signed = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + number(Math.abs(value));
  const percent = (value) => (value === null ? "unknown" : value === 0 ? "0 %" : value < 0.0005 ? `${(100 * value).toPrecision(1)} %`
    : `${(100 * value).toFixed(value < 0.0995 || (value > 0.9905 && value < 1) ? 1 : 0)} %`);
  const tone = (value) => (value > 0 ? "plus" : value < 0 ? "minus" : "none");
  const visible = (text) => [...text].map((c) => (c === " " ? "\u00a0" : c === "\n" ? "⏎" : c === "\t" ? "⇥" : c)).join("");
  const cut = (text, length) => ([...text].length > length ? [...text].slice(0, length - 1).join("") + "…" : text);

  const answers = new Map(graph.answers.map((answer) => [answer.node, answer]));
  const title = (node) => nodes.kind[node] === "logit" ? `answer “${answers.get(node).token}”`
    : nodes.kind[node] === "embedding" ? `token “${nodes.name[node]}”` : nodes.name[node];
  const place = (node) => `at “${visible(graph.tokens[nodes.position[node]])}” (${nodes.position[node]})`;

  const incoming = Array.from({ length: count }, () => []);
  const outgoing = Array.from({ length: count }, () => []);
  links.source.forEach((source, link) => { outgoing[source].push(link); incoming[links.target[link]].push(link); });
  const largestFlow = links.flow.reduce((most, flow) => Math.max(most, Math.abs(flow)), 0) || 1;
  const largestRelevance = nodes.relevance.reduce(
    (most, value, node) => (nodes.kind[node] === "neuron" ? Math.max(most, Math.abs(value)) : most), 0) || 1;
  const neurons = nodes.kind.flatMap((kind, node) => (kind === "neuron" ? [node] : []));
  const byInfluence = [...neurons].sort((a, b) => nodes.influence[a] - nodes.influence[b]);
  const byRelevance = [...neurons].sort((a, b) => Math.abs(nodes.relevance[b]) - Math.abs(nodes.relevance[a]));

  const state = { chosen: null, share: firstShare(), words: "" };
  function firstShare() {
    if (neurons.length <= FEW) return 1;
    const limit = nodes.influence[byInfluence[Math.min(MANY, byInfluence.length) - 1]];
    return Math.min(0.8, Math.floor(limit * 100) / 100);
  }
  const isShown = (node) => nodes.kind[node] === "logit" || (nodes.kind[node] === "embedding" && nodes.position[node] <= graph.position)
    || (nodes.kind[node] === "neuron" && (nodes.influence[node] <= state.share + 1e-9 || node === state.chosen
      || touches(node, state.chosen)));
  const touches = (node, other) => other !== null && (incoming[other].slice(0, LISTED).some((link) => links.source[link] === node)
    || outgoing[other].slice(0, LISTED).some((link) => links.target[link] === node));
  const isFound = (node) => state.words !== "" && nodes.kind[node] === "neuron"
    && `${nodes.name[node]} ${nodes.label[node]}`.toLowerCase().includes(state.words);

  // ------------------------------------------------------------------------------------------------ the page's frame
  const drawing = html("div", { class: "drawing" });
  const panel = html("aside", { "aria-live": "polite" });
  const shown = html("output", {});
  const slider = html("input", { type: "range", min: "0", max: "100", step: "1", value: String(Math.round(state.share * 100)) });
  slider.addEventListener("input", () => { state.share = Number(slider.value) / 100; draw(); });
  const search = html("input", { type: "search", placeholder: "Find a neuron or label" });
  search.addEventListener("input", () => { state.words = search.value.trim().toLowerCase(); choose(null); });
  document.getElementById("app").append(header(), html("div", { class: "stage" }, html("div", { class: "controls" },
    html("label", { title: "Neurons are ranked by their share of all influence on the answer" }, "Show the most influential", slider, shown),
    search, html("div", { class: "key" }, html("span", { class: "plus" }, "raises the answer"), html("span", { class: "minus" }, "lowers it"))),
  drawing), panel);

  function header() {
    const goal = { contrast: "difference of", tokens: "answers", top_k: "top answers", direction: "direction" }[graph.goal] || graph.goal;
    const chips = graph.answers.map((answer) => html("span", { class: `answer ${answer.weight < 0 ? "minus" : ""}`,
      title: `logit ${number(answer.logit)}${answer.weight < 0 ? ", counted against" : ""}` },
    `${answer.weight < 0 ? "− " : ""}“${visible(answer.token)}” `, html("b", {}, percent(answer.probability))));
    const facts = [`${neurons.length} neurons`, `${links.source.length + graph.links_left_out} links`,
      `completeness ${percent(graph.scores.completeness)}`, `replacement ${percent(graph.scores.replacement)}`, graph.rules, graph.model];
    const row = html("div", { class: "row" }, html("span", {}, goal), html("span", { class: "answers" }, ...chips),
      html("span", { title: "completeness: influence-weighted share of inflow that comes from what is shown; replacement: share of influence that reaches the answer from the prompt's tokens without passing what is not shown" }, facts.filter(Boolean).join(" · ")));
    const notes = [graph.note, graph.links_left_out ? `${graph.links_left_out} weaker links are left out` : ""].filter(Boolean);
    return html("header", {}, html("h1", {}, graph.prompt || "(empty prompt)"), row,
      ...(notes.length ? [html("div", { class: "note" }, notes.join(" · "))] : []));
  }

  // ------------------------------------------------------------------------------------------------ the drawing
  function layout() {
    const cells = new Map();
    for (let node = 0; node < count; node++) {
      if (!isShown(node)) continue;
      const key = `${nodes.layer[node]},${nodes.position[node]}`;
      if (!cells.has(key)) cells.set(key, []);
      cells.get(key).push(node);
    }
    const layers = [...new Set([...cells.keys()].map((key) => Number(key.split(",")[0])))].sort((a, b) => a - b);
    const columns = [];
    let right = 4;
    for (let position = 0; position <= graph.position; position++) {
      const most = Math.max(1, ...layers.filter((layer) => layer >= 0 && layer < graph.layers)
        .map((layer) => (cells.get(`${layer},${position}`) || []).length));
      const text = Math.min(14, [...graph.tokens[position]].length) * 7.4 + 18;
      const width = Math.max(46, text, Math.min(most, 14) * 15 + 12);
      columns.push({ left: right, width, middle: right + width / 2 });
      right += width + 6;
    }
    const lines = (layer) => Math.max(1, ...columns.map((_, position) => Math.ceil((cells.get(`${layer},${position}`) || []).length / 14)));
    const heights = layers.map((layer) => (layer === graph.layers ? 40 : lines(layer) * 15 + 11));
    const spare = Math.max(0, drawing.clientHeight - 50 - heights.reduce((sum, height) => sum + height, 0)) / layers.length;
    const chips = (cells.get(`${graph.layers},${graph.position}`) || []).map((node) => ({ node, width: [...answerText(node)].length * 7.2 + 16 }));
    const chipsWidth = chips.reduce((sum, chip) => sum + chip.width + 8, -8);
    const width = Math.max(right, chipsWidth + 8);
    const places = new Map();
    const rows = [];
    let base = 0;
    for (const layer of [...layers].reverse()) {
      const height = heights[layers.indexOf(layer)] + Math.min(spare, 64);
      if (layer === graph.layers) {
        // Answers stand side by side around the traced token, within the drawing.
        let left = Math.min(Math.max(columns[graph.position].middle - chipsWidth / 2, 4), width - chipsWidth - 4);
        for (const chip of chips) {
          places.set(chip.node, { x: left + chip.width / 2, y: base + 20, width: chip.width });
          left += chip.width + 8;
        }
      } else {
        columns.forEach((column, position) => (cells.get(`${layer},${position}`) || []).forEach((node, index, cell) => {
          const line = Math.floor(index / 14);
          const inLine = Math.min(14, cell.length - line * 14);
          places.set(node, { x: column.middle + ((index % 14) - (inLine - 1) / 2) * 15, y: base + (height - lines(layer) * 15) / 2 + 7.5 + line * 15 });
        }));
      }
      base += height;
      rows.push({ layer, middle: layer === graph.layers ? 20 : base - height / 2, bottom: base });
    }
    return { columns, rows, places, width, height: base + 26 };
  }
  const answerText = (node) => `${cut(visible(answers.get(node).token), 16)}  ${percent(answers.get(node).probability)}`;

  function draw() {
    const { columns, rows, places, width, height } = layout();
    const around = state.chosen === null ? null : new Set([state.chosen,
      ...incoming[state.chosen].map((link) => links.source[link]), ...outgoing[state.chosen].map((link) => links.target[link])]);
    const canvas = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "attribution graph" });
    columns.forEach((column, position) => {
      canvas.append(svg("rect", { class: "column", x: column.left, y: 4, width: column.width, height: height - 30, rx: 6 }));
      canvas.append(build(svg("text", { class: "token", x: column.middle, y: height - 8, "text-anchor": "middle" }), {},
        [cut(visible(graph.tokens[position]), 14), svg("title", {}, `${graph.tokens[position]} (position ${position})`)]));
    });
    const names = svg("svg", { class: "names", width: 46, height, "aria-hidden": "true" });
    for (const row of rows) {
      const name = row.layer < 0 ? "tokens" : row.layer === graph.layers ? "answer" : `L${row.layer}`;
      names.append(svg("text", { x: 0, y: row.middle + 4 }, name));
      if (row.layer >= 0) canvas.append(svg("line", { class: "rule", x1: 0, x2: width, y1: row.bottom, y2: row.bottom }));
    }
    for (const link of linksToDraw(places)) canvas.append(curve(link, places));
    for (const [node, at] of places) canvas.append(mark(node, at, around));
    const from = drawing.scrollLeft;
    drawing.replaceChildren(html("div", { class: "canvas" }, names, canvas));
    drawing.scrollLeft = from;
    const seen = [...places.keys()].filter((node) => nodes.kind[node] === "neuron").length;
    shown.value = `${Math.round(state.share * 100)} % · ${seen} of ${neurons.length}`;
  }

  function linksToDraw(places) {
    const isDrawn = (link) => places.has(links.source[link]) && places.has(links.target[link]);
    if (state.chosen !== null) return [...incoming[state.chosen], ...outgoing[state.chosen]].filter(isDrawn).reverse();
    const found = [];
    for (let link = 0; link < links.flow.length && found.length < QUIET_LINKS; link++) if (isDrawn(link)) found.push(link);
    return found.reverse(); // links come strongest first; the strongest are drawn last
  }

  function curve(link, places) {
    const from = places.get(links.source[link]);
    const to = places.get(links.target[link]);
    const strength = Math.abs(links.flow[link]) / largestFlow;
    const bend = (from.y - to.y) * 0.45;
    return svg("path", { class: `link ${tone(links.flow[link])}`, "stroke-width": (0.7 + 4.3 * Math.sqrt(strength)).toFixed(2),
      "stroke-opacity": (state.chosen === null ? 0.12 + 0.5 * Math.sqrt(strength) : 0.35 + 0.6 * Math.sqrt(strength)).toFixed(2),
      d: `M${from.x},${from.y}C${from.x},${from.y - bend} ${to.x},${to.y + bend} ${to.x},${to.y}` });
  }

  function mark(node, at, around) {
    const kind = nodes.kind[node];
    const classes = ["node", tone(nodes.relevance[node])];
    if (node === state.chosen) classes.push("chosen");
    if (isFound(node)) classes.push("found");
    if (nodes.activation[node] < 0 && kind === "neuron") classes.push("hollow");
    if ((around !== null && !around.has(node)) || (around === null && state.words !== "" && kind === "neuron" && !isFound(node))) classes.push("away");
    const group = svg("g", { class: classes.join(" "), transform: `translate(${at.x},${at.y})`, tabindex: "0", role: "button", "aria-label": title(node) });
    if (kind === "logit") {
      group.append(svg("rect", { class: "shape answer", x: -at.width / 2, y: -11, width: at.width, height: 22, rx: 11 }),
        svg("text", { "text-anchor": "middle", y: 4 }, answerText(node)));
    } else if (kind === "embedding") {
      group.append(svg("rect", { class: "shape", x: -6, y: -6, width: 12, height: 12, rx: 2 }));
    } else {
      group.append(svg("circle", { class: "shape", r: (3.6 + 3.2 * Math.sqrt(Math.abs(nodes.relevance[node]) / largestRelevance)).toFixed(2) }));
    }
    const label = nodes.label[node] ? `\n${nodes.label[node]}` : "";
    group.append(svg("title", {}, `${title(node)}${kind === "neuron" ? ` ${place(node)}` : ""}${label}\nrelevance ${signed(nodes.relevance[node])} logits, activation ${signed(nodes.activation[node])}`));
    group.addEventListener("click", () => choose(node === state.chosen ? null : node));
    group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(node); } });
    return group;
  }

  // ------------------------------------------------------------------------------------------------ the panel
  function choose(node) {
    state.chosen = node;
    draw();
    list();
    panel.scrollTop = 0;
  }

  function item(node, value, largest, hint) {
    const name = html("span", { class: "name" }, visibleName(node));
    const detail = [nodes.label[node], hint].filter(Boolean).join(" · ");
    if (detail) name.append(html("br"), html("small", {}, detail));
    const bar = html("span", { class: "bar" });
    bar.style.width = `${Math.max(1, (100 * Math.abs(value)) / largest)}%`;
    const button = html("button", { class: `item ${tone(value)}`, type: "button" }, name, html("span", { class: "value" }, signed(value)), bar);
    button.addEventListener("click", () => choose(node));
    return button;
  }
  const visibleName = (node) => (nodes.kind[node] === "neuron" ? nodes.name[node] : title(node));

  function list() {
    if (state.chosen === null) return overview();
    const node = state.chosen;
    const clear = html("button", { class: "clear", type: "button" }, "back");
    clear.addEventListener("click", () => choose(null));
    const facts = [["relevance", `${signed(nodes.relevance[node])} logits`]];
    if (nodes.kind[node] === "neuron") facts.push(["direct part of it", `${signed(nodes.direct[node])} logits`],
      ["activation", signed(nodes.activation[node])], ["inflow that is not kept", signed(nodes.error[node])]);
    if (nodes.kind[node] === "logit") facts.push(["logit", number(answers.get(node).logit)], ["probability", percent(answers.get(node).probability)]);
    const where = nodes.kind[node] === "logit" ? [] : [html("div", { class: "hint" }, place(node))];
    const text = nodes.label[node] ? [html("div", { class: "label" }, nodes.label[node])] : [];
    panel.replaceChildren(clear, html("div", { class: "title" }, title(node)), ...text, ...where,
      html("dl", {}, ...facts.flatMap(([name, value]) => [html("dt", {}, name), html("dd", {}, value)])),
      ...section("Driven by", incoming[node], (link) => links.source[link]), ...section("Acts on", outgoing[node], (link) => links.target[link]));
  }

  function section(heading, some, other) {
    if (!some.length) return [];
    const largest = Math.max(...some.map((link) => Math.abs(links.flow[link]))) || 1;
    const more = some.length > LISTED ? [html("div", { class: "hint" }, `and ${some.length - LISTED} weaker`)] : [];
    return [html("h2", {}, `${heading} (flow in logits)`), html("div", { class: "list" }, ...some.slice(0, LISTED).map((link) =>
      item(other(link), links.flow[link], largest, nodes.kind[other(link)] === "neuron" ? place(other(link)) : ""))), ...more];
  }

  function overview() {
    const found = state.words === "" ? byRelevance : byRelevance.filter(isFound);
    const listed = found.slice(0, 25);
    panel.replaceChildren(html("div", { class: "hint" }, "Choose a node to see what drives it and what it acts on. A filled circle fires positively, a hollow one negatively; size is relevance."),
      html("h2", {}, state.words === "" ? "Strongest neurons (relevance in logits)" : `${found.length} found`),
      html("div", { class: "list" }, ...listed.map((node) => item(node, nodes.relevance[node], largestRelevance, place(node)))),
      ...(neurons.length ? [] : [html("div", { class: "hint" }, "No neuron passed the threshold.")]));
  }

  document.addEventListener("keydown", (event) => { if (event.key === "Escape") choose(null); });
  window.addEventListener("resize", draw);
  draw();
  drawing.scrollLeft = drawing.scrollWidth; // a long prompt is seen from its end, where the answer is
  list();
})();
