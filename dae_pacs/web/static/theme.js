// Colours, light or dark: set before the first paint, so that nothing flashes. A plain script for that reason.
"use strict";
(() => {
  const KEY = "dae-pacs-theme";
  const ORDER = ["auto", "light", "dark"];
  const WORDS = { auto: "as the system has them", light: "light", dark: "dark" };

  const chosen = () => {
    try {
      const theme = localStorage.getItem(KEY);
      return ORDER.includes(theme) ? theme : "auto";
    } catch {
      return "auto"; // storage is switched off
    }
  };

  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    for (const button of document.querySelectorAll("[data-theme-switch]")) {
      button.title = `Colours: ${WORDS[theme]}`;
      button.setAttribute("aria-label", button.title);
    }
  };

  apply(chosen());
  document.addEventListener("DOMContentLoaded", () => apply(chosen()));
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-theme-switch]")) return;
    const theme = ORDER[(ORDER.indexOf(chosen()) + 1) % ORDER.length];
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // it holds for this page alone
    }
    apply(theme);
  });
})();
