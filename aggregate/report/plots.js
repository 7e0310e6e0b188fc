// The selects above a plot: put another panel's lines, or another map, into the figure, or change its axis.
// Every line is a slice of the figure's pool of columns; the figure has as many slots as its fullest panel has lines.
(() => {
  "use strict";

  // Columns that would repeat a few texts are stored as positions in a list of them.
  const taken = (pool, texts, from, to) => {
    const columns = {};
    for (const [name, column] of Object.entries(pool)) {
      const part = column.slice(from, to);
      columns[name] = name in texts ? Array.from(part, (at) => texts[name][at]) : part;
    }
    return columns;
  };

  const placed = (columns, line, unit) => {
    const { length } = columns.k ?? columns.x;
    for (const name of ["label", "about"]) columns[name] = Array(length).fill(line[name]);
    columns.size = Array(length).fill(length <= 40 ? 7 : 3);
    if (columns.k !== undefined) {
      columns.fraction = Array.from(columns.k, (k) => k / line.width);
      columns.x = unit === 0 ? columns.fraction : columns.k;
    }
    return columns;
  };

  const parsed = new Map();
  const described = (figure) => {
    if (!parsed.has(figure.id)) parsed.set(figure.id, JSON.parse(figure.tags[0].text));
    return { ...figure.tags[0], ...parsed.get(figure.id) };
  };

  const show = (figure, chosen) => {
    const { panels, lines, points, dots, texts, job, slots, scales, units } = described(figure);
    const members = panels[chosen.panel ?? 0];
    slots.forEach((slot, at) => {
      const used = at < members.length;
      const line = lines[used ? members[at] : members[0]];
      slot.points.data = placed(taken(points, texts, ...(used ? line.points : [0, 0])), line, chosen.x ?? 0);
      if (slot.dots) {
        slot.dots.data = placed(taken({ ...dots, job }, texts, ...(used ? line.dots : [0, 0])), line, chosen.x ?? 0);
      }
      slot.whole.data = { y: used && line.whole !== null ? [line.whole] : [] };
      slot.item.label = { value: line.label };
      slot.item.visible = used;
    });
    if (chosen.scale !== undefined) {
      figure.x_scale = scales[chosen.scale].scale;
      figure.x_range.scale_hint = chosen.scale === 0 ? "log" : "auto";
      for (const axis of figure.below.filter((shown) => "ticker" in shown)) axis.ticker = scales[chosen.scale].ticker;
    }
    if (chosen.x !== undefined) {
      for (const axis of figure.below.filter((shown) => "ticker" in shown)) axis.axis_label = units[chosen.x];
    }
    figure.reset.emit(); // fits the ranges to what is shown now
  };

  const showMap = (figure, at) => {
    const { maps, accuracy, source } = described(figure);
    const { start, classes, sizes, fraction, k, seeds, ticks } = maps[at];
    const cells = Array.from({ length: classes.length * sizes.length }, (_, cell) => cell);
    const x = cells.map((cell) => cell % sizes.length);
    const y = cells.map((cell) => Math.floor(cell / sizes.length));
    source.data = {
      x,
      y,
      accuracy: accuracy.slice(start, start + cells.length),
      class: y.map((row) => classes[row]),
      k: x.map((column) => k[column]),
      fraction: x.map((column) => fraction[column]),
      seeds: x.map((column) => seeds[column]),
    };
    figure.x_range.setv({ start: -0.5, end: sizes.length - 0.5 });
    figure.y_range.setv({ start: classes.length - 0.5, end: -0.5 });
    figure.below[0].ticker.ticks = sizes.map((_, column) => column);
    figure.below[0].major_label_overrides = new Map(sizes.map((text, column) => [column, text]));
    figure.left[0].ticker.ticks = ticks;
    figure.left[0].major_label_overrides = new Map(classes.map((text, row) => [row, text]));
  };

  document.addEventListener("change", (event) => {
    const id = event.target.dataset?.plot;
    if (id === undefined) return;
    const figure = Bokeh.documents.map((shown) => shown.get_model_by_name(id)).find((found) => found !== null);
    const chosen = {};
    for (const select of document.querySelectorAll(`select[data-plot="${id}"]`)) {
      chosen[select.dataset.control] = Number(select.value);
    }
    if (chosen.map === undefined) show(figure, chosen);
    else showMap(figure, chosen.map);
  });
})();
