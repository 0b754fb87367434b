// SPDX-License-Identifier: Apache-2.0
// The page is whole without this: it adds a search over the results and buttons that open all rows of a matrix.
for (const box of document.querySelectorAll("details.results")) {
  const rows = [...box.querySelectorAll("tbody tr")];
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "Find: fail, kv_, fp8=fnuz240, smoke ...";
  input.setAttribute("aria-label", "Find results");
  const count = document.createElement("span");
  count.className = "soft";
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? ` ${shown} of ${rows.length}` : "";
  });
  box.querySelector("summary").after(input, count);
}
for (const button of document.querySelectorAll("button[data-open]")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const rows = [...button.closest(".card").querySelectorAll("details")];
    const open = rows.some((row) => !row.open);
    for (const row of rows) row.open = open;
    button.textContent = open ? "Close all" : "Open all";
  });
}
