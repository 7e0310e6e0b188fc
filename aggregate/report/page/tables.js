// Search, sorting, filters and pages of the tables that ask for them. The library is DataTables, out of itables' bundle.
const bundle = new Blob([document.getElementById("datatables").textContent], { type: "text/javascript" });
const { jQuery } = await import(URL.createObjectURL(bundle));
for (const table of document.querySelectorAll("table[data-enhance=datatable]")) {
  const api = jQuery(table).DataTable({
    order: [], autoWidth: false, pageLength: Number(table.dataset.pageLength ?? 25), lengthMenu: [10, 25, 100, { label: "all", value: -1 }],
    layout: { topStart: "search", topEnd: "pageLength", bottomStart: "info", bottomEnd: "paging" },
    language: { search: "Search", lengthMenu: "_MENU_ rows a page" },
  });
  const filters = Object.assign(document.createElement("div"), { className: "filters" });
  api.columns("[data-filter=select]").every(function () {
    const of = (row) => api.cell(row, this.index()).node().textContent.trim();
    const values = [...new Set(api.rows().indexes().toArray().map(of))];
    if (values.length < 2) return;
    const label = Object.assign(document.createElement("label"), { textContent: this.title().trim() + " " });
    const select = label.appendChild(document.createElement("select"));
    select.append(new Option("all", ""), ...values.map((v) => new Option(v, v)));
    select.addEventListener("change", () =>
      this.search.fixed("chosen", select.value ? (_text, _data, row) => of(row) === select.value : null).draw());
    filters.append(label);
  });
  if (filters.children.length) table.closest(".dt-container").prepend(filters);
  const shown = api.page.len();
  addEventListener("beforeprint", () => api.page.len(-1).draw(false));
  addEventListener("afterprint", () => api.page.len(shown).draw(false));
}
