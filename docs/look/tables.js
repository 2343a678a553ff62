"use strict";
// A table that is wider than the page is set smaller, and where that is not enough it becomes cards, labelled by its headings.
const tables = () => [...document.querySelectorAll(".md-typeset table:not([class])")];

const label = (table) => {
  if (table.dataset.labelled !== undefined) return;
  table.dataset.labelled = "";
  const heads = [...table.querySelectorAll("thead th")].map((th) => th.textContent.trim());
  for (const row of table.querySelectorAll("tbody tr")) {
    [...row.cells].forEach((cell, k) => {
      const held = document.createElement("span");
      held.append(...cell.childNodes);
      cell.append(held);
      cell.dataset.label = heads[k] || "";
    });
  }
};

const fit = () => {
  for (const table of tables()) {
    delete table.dataset.cards;
    delete table.dataset.dense;
    const box = table.closest(".md-typeset__scrollwrap") || table.parentElement;
    const wide = () => box.scrollWidth > box.clientWidth + 1;
    if (wide() && innerWidth > 700) table.dataset.dense = "";
    if (wide()) {
      delete table.dataset.dense;
      label(table);
      table.dataset.cards = "";
    }
  }
};

let width = 0;
addEventListener("load", fit);
addEventListener("resize", () => {
  if (innerWidth !== width) fit();
  width = innerWidth;
});
